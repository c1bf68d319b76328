"""What it costs to make a root, its flattened dims and the mesh of the experts: time and memory."""

from __future__ import annotations

import pytest

from benchmarks import memory, turns, worlds
from meshcompat.testing import recorded_groups

ROUNDS = {64: 30, 16384: 5, 131072: 3}
LARGEST = max(ROUNDS)


@pytest.mark.parametrize("size_1", worlds.SHAPES)
@pytest.mark.parametrize("world_size", ROUNDS)
def test_build(in_turns, world_size, size_1):
    """Time each side in a fake world of its own."""
    layout = worlds.layout_of(world_size, size_1)

    def timed(build):
        def measure():
            with worlds.fresh_world(world_size):
                return turns.once(lambda: build(layout))

        return measure

    sides = {name: timed(build) for name, build in worlds.builders().items()}
    in_turns(sides, rounds=ROUNDS[world_size], topic="build", world=world_size, size_1=size_1)


@pytest.mark.parametrize("size_1", worlds.SHAPES)
@pytest.mark.parametrize("world_size", ROUNDS)
def test_groups_asked_for_by_the_build(note, world_size, size_1):
    counts = {}
    for name, build in worlds.builders().items():
        with worlds.fresh_world(world_size), recorded_groups() as records:
            build(worlds.layout_of(world_size, size_1))
        counts[name] = len(records)
    note({"topic": "new_group calls", "world": world_size, "size_1": size_1, "counts": counts})


@pytest.mark.parametrize("size_1", worlds.SHAPES)
def test_memory_of_the_build(note, size_1):
    counts = {name: memory.of_build(name, LARGEST, size_1) for name in worlds.builders()}
    note({"topic": "memory", "world": LARGEST, "size_1": size_1, "counts": counts})
