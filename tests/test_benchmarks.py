"""Every benchmark runs: each side once, in the smallest world, and no time is looked at."""

from __future__ import annotations

import functools
import json

import pytest

from benchmarks import (
    many_ranks,
    memory,
    record,
    test_agreement,
    test_building,
    test_destroying,
    test_groups,
    test_lookups,
    test_processes,
    turns,
    worlds,
)
from tests.support import native
from tests.support.layout_table import LAYOUTS

SMALL = 64


@pytest.fixture
def rows():
    return []


@pytest.fixture
def in_turns(rows):
    def drive(turn, _):
        turn()

    def measure(sides, rounds, **about):
        rows.append({**about, "sides": turns.in_turns(sides, rounds, drive)})

    return measure


@pytest.fixture(autouse=True)
def _torch_as_it_was():
    yield
    native.forget()


def drive(turn, rounds):
    for _ in range(rounds):
        turn()


def seconds(row):
    return {side: figures["median"] for side, figures in row["sides"].items()}


@pytest.mark.parametrize("thread", ["main", "second"])
def test_lookups_are_measured_on_every_side(rows, in_turns, thread):
    test_lookups.test_lookup_again(in_turns, SMALL, "get_flat_mesh", thread)
    test_lookups.test_lookup_first(in_turns, SMALL, "get_flat_mesh", thread)
    again, first = rows
    assert seconds(again).keys() == {"ours", "torch", "limit"}
    assert seconds(first).keys() == {"ours", "torch"}
    assert all(value > 0 for row in rows for value in seconds(row).values())


@pytest.mark.parametrize("call", test_lookups.VERBS)
def test_repeated_verbs_are_measured(rows, in_turns, call):
    test_lookups.test_verb_again(in_turns, call)
    assert seconds(rows[0]).keys() == {"ours", "limit"}


@pytest.mark.parametrize(
    ("size_1", "partitions"),
    [
        # Of 2 * 2 * 2 * 2 * 4 ranks: five dims, three flattened ones, and two for the experts.
        (worlds.IN_USE, 10),
        # Of 2 * 1 * 8 * 1 * 4: three dims, one for those of size 1, and two for the experts.
        (worlds.OF_SIZE_1, 6),
    ],
)
def test_builds_are_measured_and_counted(rows, in_turns, size_1, partitions):
    test_building.test_build(in_turns, SMALL, size_1)
    test_building.test_calls_of_the_build(rows.append, SMALL, size_1)
    measured, counted = rows
    assert seconds(measured).keys() == counted["counts"].keys()
    # A call for this rank's group of each partition, and one for the last of the others.
    ours = counted["counts"]["ours"]
    assert ours["new_group"] == 2 * partitions
    assert ours["functions"] > 1000


def test_groups_are_counted(rows):
    (layout,) = (each for each in LAYOUTS if each.project == "NeMo Automodel, FSDP2")
    test_groups.test_groups_of_a_rank(rows.append, layout)
    counts = rows[0]["counts"]
    # dp_shard, tp, and one for the dims of size 1; unshared the three flattened dims as well.
    assert counts["ours"] == counts["floor"] == 3
    assert counts["ours, none shared"] == 6


def test_a_torch_that_forgot_makes_its_groups_again(rows):
    (layout,) = (each for each in LAYOUTS if each.project == "NeMo-RL")
    for _ in range(2):
        test_groups.test_groups_of_a_rank(rows.append, layout)
    assert rows[0] == rows[1]


@pytest.mark.multiprocess
@pytest.mark.processes
def test_rounds_of_destroying_are_measured(pool):
    for grown in pool.run(test_destroying.rounds, test_destroying.SETTLED + 2):
        assert grown.keys() == {"groups", "threads", "MiB"}
        assert (grown["groups"], grown["threads"]) == (0, 0)


@pytest.mark.multiprocess
@pytest.mark.processes
def test_the_comparison_of_ranks_is_measured(rows, in_turns, pool):
    test_agreement.test_agreement(in_turns, pool)
    (measured,) = rows
    assert len(seconds(measured)) == 3


@pytest.mark.processes
def test_many_ranks_agree_on_a_real_store():
    first, second = many_ranks.measure(SMALL, processes=1)
    # What the first and the last rank, and rank 0, do beside the others.
    assert first[1].operations == 8 * SMALL + 2 - 1
    assert second[1].operations == 5 * SMALL + 2 - 1 + 4
    assert {*first[1].verdicts, *second[1].verdicts} == {"agreed"}


@pytest.mark.processes
def test_new_processes_are_measured(rows, in_turns):
    test_processes.test_import_after_torch(in_turns)
    test_processes.test_help(in_turns)
    test_processes.test_help_does_without_torch(rows.append)
    test_processes.test_verify(in_turns)
    assert [row["topic"] for row in rows] == ["import", "help", "help imports", "verify"]
    assert rows[2]["counts"]["of torch"] == 0


@pytest.mark.processes
def test_memory_of_a_build_is_measured():
    grown = memory.of_build("ours", 16384, worlds.OF_SIZE_1)
    assert 0 < grown["after"] <= grown["peak"]


def test_a_run_is_told_and_written(rows, in_turns, tmp_path):
    in_turns({"ours": lambda: 2e-6, "torch": lambda: 4e-6}, rounds=1, topic="again", world=SMALL)
    rows.append({"topic": "memory", "counts": {"ours": 1}})
    assert record.line(rows[0]) == "again, 64: ours 2 us, torch 4 us  ours/torch 0.5"
    assert record.line(rows[1]) == "memory: {'ours': 1}"
    path = tmp_path / "new" / "run.json"
    record.write(path, rows)
    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["rows"] == rows
    assert written["run"]["torch"] == record.release()


def test_figures_are_those_of_the_samples():
    found = turns.figures([5.0, 1.0, 2.0, 4.0, 3.00004])
    assert found == {"median": 3.0, "min": 1.0, "iqr": 2.0, "rounds": 5}


def test_a_ratio_is_that_of_turns_and_not_of_the_best_ones():
    ours, torch = iter([2.0, 10.0, 4.0]), iter([4.0, 20.0, 2.0])
    sides = {"ours": lambda: next(ours), "torch": lambda: next(torch)}
    found = turns.in_turns(sides, 3, drive)
    assert found["ours"]["of torch"] == 0.5


def test_sides_take_turns_to_come_first():
    seen = []

    def side(name):
        seen.append(name)
        return 1.0

    turns.in_turns({name: functools.partial(side, name) for name in "ab"}, 3, drive)
    assert "".join(seen) == "abbaab"
