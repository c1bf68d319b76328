"""The tables of docs/reliability.md, of what runs told and of what they did not."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

CI = Path(__file__).parent.parent / "ci"


@pytest.fixture
def page(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(CI))
    reliability = importlib.import_module("reliability")
    stored = tmp_path / "reliability.json"
    monkeypatch.setattr(reliability, "STORED", stored)
    yield importlib.import_module("reliability_page"), stored
    for name in ("reliability", "reliability_page"):
        sys.modules.pop(name, None)


def test_figures_that_no_run_told_say_so(page):
    tables, _ = page
    assert tables.table("")[1][0][0] == "not run"
    assert tables.table("bad-inputs") == (["bad inputs"], [["not run"]])


def test_a_figure_stands_in_the_column_of_its_release(page):
    tables, stored = page
    faults = {"2.9.1": {"faults": {"survived": 17}}, "2.15.0": {"cost": {"late, s": 0.5}}}
    stored.write_text(json.dumps(faults))
    header, body = tables.table("")
    assert [line[0] for line in body] == ["2.9.1", "2.15.0"]
    assert [line[header.index("faults survived")] for line in body] == ["17", "not run"]
    assert tables.table("cost") == (["cost", "2.15.0"], [["late, s", "0.5"]])
