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
    stored.write_text("{}")
    monkeypatch.setattr(reliability, "STORED", stored)
    yield reliability, stored
    sys.modules.pop("reliability")


COLUMNS = ["value", "on the releases"]


def test_figures_that_no_run_told_say_so(page):
    tables, _ = page
    assert {line[1] for line in tables.table("")[1]} == {"not run"}
    assert tables.table("bad-inputs") == (["bad inputs", *COLUMNS], [["not run", "", ""]])


def test_a_figure_tells_its_releases(page):
    tables, stored = page
    faults = {"2.9.1": {"faults": {"survived": 17}}, "2.15.0": {"cost": {"late, s": 0.5}}}
    stored.write_text(json.dumps(faults))
    assert ["faults survived", "17", "2.9.1"] in tables.table("")[1]
    assert tables.table("cost") == (["cost", *COLUMNS], [["late, s", "0.5", "2.15.0"]])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"2.2.2": 304, "2.15.0": 304}, "304"),
        ({"2.2.2": 2.6, "2.5.1": 2.8, "2.15.0": 2.7}, "2.6 to 2.8"),
        ({"2.2.2": 0.0, "2.8.0": 4.5, "2.15.0": 0.1}, "0.0 to 0.1, 4.5 on 2.8.0"),
        ({"2.2.2": 2000, "2.8.0": 2000, "2.15.0": 20000}, "2000, 20000 on 2.15.0"),
        ({"2.2.2": "refused", "2.15.0": "refused"}, "refused"),
    ],
)
def test_a_line_has_the_range_and_what_does_not_fit_in(page, values, told):
    tables, stored = page
    stored.write_text(
        json.dumps({release: {"a": {"b": value}} for release, value in values.items()})
    )
    assert tables.table("a")[1] == [["b", told, "all " + str(len(values))]]
