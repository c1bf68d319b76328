"""The tables of docs/performance.md say what the runs say: shown on a run that is made up here."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ABOUT = {
    "torch": "2.9.1",
    "python": "3.11.9",
    "date": "2026-01-02",
    "cpu": "Abacus",
    "cores": 2,
}
CALLS = ("get_flat_mesh", "get_submesh", "get_root_mesh", "get_axis_size")
VERBS = ("flatten", "unflatten", "concatenate", "get_submesh", "get_ranks", "get_group")


@pytest.fixture(scope="module", autouse=True)
def _path():
    sys.path.insert(0, str(ROOT / "ci"))
    yield
    sys.path.remove(str(ROOT / "ci"))


@pytest.fixture(scope="module")
def performance(_path):
    return importlib.import_module("performance")


@pytest.fixture(scope="module")
def tables(_path):
    return importlib.import_module("performance_page")


def timed(topic, seconds, **about):
    sides = {side: {"min": s, "median": 9.0} for side, s in seconds.items()}
    if "torch" in sides:
        sides["ours"]["of torch"] = seconds["ours"] / seconds["torch"]
    return {"topic": topic, **about, "sides": sides}


def made_up(release="2.9.1", ours=1e-7):
    """Return a run in which a look-up takes *ours* seconds, in a second thread three times as long."""
    rows = [
        timed(
            "again",
            {"ours": factor * ours, "torch": world * 2e-6, "limit": 5e-8},
            call=call,
            world=world,
            thread=thread,
        )
        for world in (64, 16384)
        for call in CALLS
        for thread, factor in (("main", 1), ("second", 3))
    ]
    rows += [
        timed("first", {"ours": 3e-5, "torch": 4e-5}, call=call, world=world, thread=thread)
        for world in (64, 16384)
        for call in CALLS[:2]
        for thread in ("main", "second")
    ]
    rows += [timed("verb", {"ours": 1e-6, "limit": 5e-8}, call=call) for call in VERBS]
    for project, torch, mine, floor in (("titan", 9, 5, 5), ("giant", 4, 4, 3)):
        counts = {
            "torch": torch,
            "ours": mine,
            "ours, all shared": floor,
            "ours, none shared": 7,
            "ours, root and flattened": mine,
            "floor, root and flattened": floor,
            "floor": floor,
        }
        rows.append({"topic": "groups", "project": project, "shape": "2x8", "counts": counts})
    for size_1 in ("none", "dp_replicate, cp"):
        for world, seconds in ((64, 1.5), (16384, 1.0), (131072, 0.08)):
            about = {"world": world, "size_1": size_1}
            rows.append(timed("build", {"ours": seconds, "torch": 2.0}, **about))
            calls = {
                side: {"new_group": calls, "functions": 100 * calls}
                for side, calls in (("ours", 20), ("torch", 2 * world))
            }
            rows.append({"topic": "calls", **about, "counts": calls})
    grown = {"ours": {"peak": 30.0, "after": 20.0}, "torch": {"peak": 40.0, "after": 25.0}}
    largest = [{"world": 131072, "size_1": size_1} for size_1 in ("none", "dp_replicate, cp")]
    rows += [
        *({"topic": "memory", **about, "counts": grown} for about in largest),
        timed("import", {"ours": 0.0012, "every name": 0.04}),
        timed("help", {"ours": 0.16, "python": 0.02}),
        timed("verify", {"ours": 3.21}),
        timed("agreement", {"ours": 2e-3, "root, compared": 0.02, "root, not compared": 0.01}),
        {"topic": "destroy", "counts": {"groups": 0, "threads": 0, "MiB": 0.5}},
        {"topic": "help imports", "counts": {"modules": 100, "of torch": 0}},
    ]
    return {"run": {**ABOUT, "torch": release}, "rows": rows}


@pytest.fixture
def stored(tmp_path):
    for release, ours in (("2.10.0", 1e-7), ("2.9.1", 2e-7)):
        path = tmp_path / f"{release}.json"
        path.write_text(json.dumps(made_up(release, ours)), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (8.04e-8, "0.080 µs"),
        (4e-9, "0.004 µs"),
        (2.345e-6, "2.35 µs"),
        (0.02654, "26.5 ms"),
        (0.1234, "123 ms"),
        (5.2391, "5.24 s"),
    ],
)
def test_a_time_is_told_with_its_unit(tables, seconds, words):
    assert tables.told(seconds) == words


def test_a_large_number_is_told_with_three_digits(tables):
    assert tables.digits(267_812.0) == "268,000"


def test_releases_come_in_their_order(performance, stored):
    assert [run.release for run in performance.runs(stored)] == ["2.9.1", "2.10.0"]


def test_look_ups_are_told_by_release_and_world(performance, tables, stored):
    header, body = tables.table("lookups", performance.runs(stored))
    assert [line[:2] for line in body] == [
        ["2.9.1", "64"],
        ["2.9.1", "16,384"],
        ["2.10.0", "64"],
        ["2.10.0", "16,384"],
    ]
    assert body[1][2:] == ["32.8 ms", "0.200 µs to 0.600 µs", "0.750"]
    assert len(header) == len(body[1])


def test_groups_are_told_once_where_releases_agree(performance, tables):
    older, newer = made_up("2.9.1"), made_up("2.10.0")
    (changed,) = (row for row in older["rows"] if row.get("project") == "titan")
    changed["counts"]["torch"] = 13
    measured = [performance.Run(run["run"], run["rows"]) for run in (older, newer)]
    _, body = tables.table("groups", measured)
    assert body == [
        ["titan", "2 x 8", "13 (2.9.1), 9 (2.10.0)", "5", "5", "5"],
        ["giant", "2 x 8", "4", "4", "3", "3"],
    ]


def test_aims_that_were_missed_stand_out(performance, tables, stored):
    header, body = tables.of_targets(performance.runs(stored))
    assert header == ["aim", "2.9.1", "2.10.0"]
    reached = {words: cells for words, *cells in body}
    assert [cells for words, cells in reached.items() if "0.3 µs" in words] == [
        ["**0.400 µs, misses**", "0.200 µs"]
    ]
    assert [cells for words, cells in reached.items() if "groups than sets" in words] == [
        ["**1, misses**"] * 2
    ]
    assert [cells for words, cells in reached.items() if "share_groups" in words] == [["0", "0"]]
    assert [cells for words, cells in reached.items() if words.startswith("a build")] == [
        ["0.750"] * 2,
        ["**0.500, misses**"] * 2,
        ["0.040"] * 2,
    ]
    assert [cells for words, cells in reached.items() if "--help" in words] == [
        ["**160 ms, misses**"] * 2,
    ]


def test_every_table_can_be_written(performance, tables, stored):
    for name in tables.NAMES:
        header, body = tables.table(name, performance.runs(stored))
        assert body
        assert all(len(line) == len(header) for line in body)


def test_a_run_that_lacks_something_is_named(performance):
    run = performance.Run(ABOUT, [])
    with pytest.raises(LookupError, match=r"2\.9\.1 has 0 rows about verify"):
        run.one("verify")


def test_the_page_shows_every_table_and_picture(performance, tables):
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    for name in tables.NAMES:
        assert page.count(f"<!-- table: performance-{name} -->") == 1
    for name in performance.PICTURES:
        assert f"](performance/{name}.svg)" in page


def test_the_pictures_show_the_stored_figures(performance):
    assert performance.stale_pictures() == []


def test_a_picture_of_other_figures_is_found(performance, stored):
    for name in performance.PICTURES:
        picture = stored / f"{name}.svg"
        picture.write_text(f"<svg>{performance.digest(stored)}</svg>", encoding="utf-8")
    assert performance.stale_pictures(stored, stored) == []
    newest = stored / "2.10.0.json"
    newest.write_text(json.dumps(made_up("2.10.0", 3e-7)), encoding="utf-8")
    assert len(performance.stale_pictures(stored, stored)) == 2
    (stored / "lookups.svg").unlink()
    assert len(performance.stale_pictures(stored, stored)) == 2
