"""A headless Chromium, and pages to look at with it."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from meshcompat import _layout
from meshcompat._drawing.drawing import Drawing
from meshcompat._drawing.picture import MeshDim, Picture, boxes_of

NAMES = ("pp", "dp", "tp")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium of this machine; nothing is fetched."""
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    program = next(filter(None, found), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("needs chromium and chromedriver on the PATH (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync"),
        *("disable-background-networking", "disable-component-update", "hide-scrollbars"),
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture
def look(browser, tmp_path, request):
    """Return a function that opens a drawing at a width, in light or dark, by suffix.

    Where MESHCOMPAT_PICTURES names a folder, what is seen at the end of the test goes there.
    """

    def look(drawing, suffix, *, width=1000, scheme="light"):
        path = tmp_path / f"mesh{suffix}"
        drawing.save(path)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get(path.as_uri())
        return browser

    yield look
    folder = os.environ.get("MESHCOMPAT_PICTURES")
    if folder:
        name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
        browser.save_screenshot(str(Path(folder, f"{name}.png")))


@pytest.fixture
def small():
    """A mesh of 32 ranks on 4 nodes."""
    return drawing_of((2, 4, 4), rank=5)


@pytest.fixture
def large():
    """A mesh of 131,072 ranks, most of which are left out."""
    return drawing_of((8, 4096, 4), rank=70001)


def drawing_of(shape, rank):
    """Return what `meshcompat.show` draws of nodes of eight ranks, which would import torch."""
    everyone = range(math.prod(shape))
    dims = tuple(map(MeshDim, ("",) * len(shape), NAMES, _layout.dims_of(shape)))
    boxes = boxes_of(everyone, 8)
    return Drawing(Picture("a mesh", everyone, dims, dims, boxes, rank=rank))
