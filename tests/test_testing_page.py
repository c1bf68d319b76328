"""docs/testing.md is a suite that passes, and names no option that the kit has not."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import meshcompat.testing
from meshcompat.testing import GlooPool
from tests.test_testing_plugin import run_suite

PAGE = Path(__file__).parent.parent / "docs" / "testing.md"


@pytest.mark.once
@pytest.mark.multiprocess
def test_the_page_is_a_suite_that_passes(tmp_path):
    blocks = re.findall(r"<!-- suite -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    ended = run_suite(tmp_path, "".join(blocks), "-W", "error")
    assert "9 passed" in ended.stdout, ended.stdout


@pytest.mark.once
def test_the_page_tells_the_options_and_defaults_of_the_pool():
    told = dict(re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \|$", PAGE.read_text(), re.MULTILINE))
    parameters = dict(inspect.signature(GlooPool).parameters)
    del parameters["world_size"]
    assert set(told) == set(parameters)
    for name in ("timeout", "grace"):
        assert float(told[name]) == parameters[name].default


@pytest.mark.once
def test_the_page_tells_of_every_name_of_the_kit():
    text = PAGE.read_text()
    untold = {"GroupRecord", "RankError"}  # a record is described, and so are the kinds of errors
    assert [name for name in meshcompat.testing.__all__ if f"`{name}" not in text] == sorted(untold)
