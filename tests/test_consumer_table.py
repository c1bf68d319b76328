"""docs/data/consumers.json, which the tables of docs/consumers.md are made of, against what runs must say."""

from __future__ import annotations

import json
from pathlib import Path

from meshcompat import _release
from tests.support.consumer_report import CANNOT, OK, ROWS, SHORT
from tests.test_eras import rows

STORED = Path(__file__).parent.parent / "docs" / "data" / "consumers.json"


def stored():
    return json.loads(STORED.read_text(encoding="utf-8"))


def test_every_consumer_was_asked_on_every_minor_of_the_matrix():
    minors = {_release.minor_of(row["version"]) for row in rows()}
    assert [row["name"] for row in stored()] == [row.name for row in ROWS]
    for row in stored():
        assert {_release.minor_of(release) for release in row["releases"]} == minors, row["name"]


def test_we_fall_short_of_nothing():
    verdicts = {
        (row["name"], release, found["verdict"])
        for row in stored()
        for release, found in row["releases"].items()
    }
    assert [verdict for verdict in verdicts if verdict[2] == SHORT] == []


def test_what_a_release_cannot_has_a_reason_and_a_link():
    for row in stored():
        for release, found in row["releases"].items():
            assert found["verdict"] in {OK, CANNOT}
            told = bool(found["reason"]) and found["link"].startswith("https://github.com/")
            assert told == (found["verdict"] == CANNOT), (row["name"], release)
