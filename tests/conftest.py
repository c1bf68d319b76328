"""What all tests share: the report's header, worlds, and the table of known differences."""

from __future__ import annotations

import importlib.metadata
import platform
import warnings
from pathlib import Path

import pytest
import torch

from meshcompat import UntestedTorchWarning, _eras, _release
from meshcompat.testing import GlooPool, fake_world
from tests.known_differences import KNOWN_DIFFERENCES, stale
from tests.support.consumer_report import ConsumerReport
from tests.support.figures import PROPERTY, Figures

TESTS = Path(__file__).parent
PLUGIN = "meshcompat._pytest_plugin"

# Where meshcompat is installed, pytest has found the plugin of the kit by itself.
_found = {entry.value for entry in importlib.metadata.entry_points(group="pytest11")}
pytest_plugins = [] if PLUGIN in _found else [PLUGIN]


def pytest_report_header() -> str:
    """Say what is tested."""
    era = _eras.era()
    return f"torch {torch.__version__}, era {era.name!r}, python {platform.python_version()}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a long run be cut into parts whose programs are numbered, and consumers be told of."""
    group = parser.getgroup("meshcompat")
    group.addoption("--consumers-json", help="write the verdicts of ci/consumers.py to this file")
    group.addoption("--programs", type=int, default=2000, help="programs to check where soak runs")
    group.addoption("--first-program", type=int, default=0, help="number of the first of them")


def pytest_configure(config: pytest.Config) -> None:
    """Gather the figures of long tests, and what consumers did; workers tell the main process."""
    # A torch that is not in the matrix yet warns once, and a warning would be an error in some test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UntestedTorchWarning)
        _eras.era()
    if hasattr(config, "workerinput"):
        return
    config.pluginmanager.register(Figures())
    verdicts = config.getoption("consumers_json")
    if verdicts:
        config.pluginmanager.register(ConsumerReport(verdicts))


@pytest.hookimpl(tryfirst=True)  # before -k and -m take tests away
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect what is known to differ; refuse rows that nothing needs."""
    minor = _release.minor_of(_release.installed_torch())
    for item in items:
        for row in KNOWN_DIFFERENCES:
            if row.holds_on(minor) and row.is_about(item.nodeid):
                reason = f"{row.reason} - {row.link}"
                item.add_marker(pytest.mark.xfail(strict=True, reason=reason))
    old = stale(KNOWN_DIFFERENCES, (item.nodeid for item in items))
    if old and _is_whole_suite(config):
        lines = "\n".join(f"  {row}" for row in old)
        raise pytest.UsageError(f"rows of tests/known_differences.py that match no test:\n{lines}")


@pytest.fixture
def figure(record_property):
    """Tell a figure of this test: `figure(section, name, value)`."""

    def tell(section: str, name: str, value: float | str) -> None:
        record_property(PROPERTY, (section, name, value))

    return tell


@pytest.fixture(scope="session")
def pool_of_the_run():
    """Eight real ranks, for all tests of the run."""
    # What DTensor imports at its first use takes seconds: once for all ranks, not in each.
    preload = ("torch.distributed.tensor.parallel", "torch.distributed.fsdp", "torch._dynamo")
    with GlooPool(world_size=8, preload=preload) as pool:
        yield pool


@pytest.fixture(scope="module")
def pool(pool_of_the_run):
    """The pool of the run, with new processes after each module.

    DTensor keeps every mesh that it has cached something of, from 2.11 on with its groups. Each
    group of gloo has a thread that wakes a hundred times a second.
    """
    yield pool_of_the_run
    pool_of_the_run.restart()


@pytest.fixture
def world():
    """Rank 5 of a fake world of 8."""
    with fake_world(8, rank=5):
        yield


def _is_whole_suite(config: pytest.Config) -> bool:
    here = config.invocation_params.dir
    wanted = [(here / argument).resolve() for argument in config.args]
    is_cut = (
        config.getoption("ignore")
        or config.getoption("ignore_glob")
        or config.getoption("lf", False)
    )
    return not is_cut and any(TESTS.is_relative_to(folder) for folder in wanted)
