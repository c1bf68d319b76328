"""What it costs to make a root, its flattened dims and the mesh of the experts: time and memory."""

from __future__ import annotations

import pytest

from benchmarks import memory, turns, worlds
from meshcompat.testing import recorded_groups

ROUNDS = {64: 30, 16384: 5, 131072: 3}


@pytest.mark.parametrize("world_size", ROUNDS)
def test_build(in_turns, world_size):
    """Time each side in a fake world of its own."""

    def timed(build):
        def measure():
            with worlds.fresh_world(world_size):
                return turns.once(lambda: build(worlds.layout_of(world_size)))

        return measure

    sides = {name: timed(build) for name, build in worlds.builders().items()}
    in_turns(sides, rounds=ROUNDS[world_size], topic="build", world=world_size)


@pytest.mark.parametrize("world_size", ROUNDS)
def test_groups_asked_for_by_the_build(note, world_size):
    counts = {}
    for name, build in worlds.builders().items():
        with worlds.fresh_world(world_size), recorded_groups() as records:
            build(worlds.layout_of(world_size))
        counts[name] = len(records)
    note({"topic": "new_group calls", "world": world_size, "counts": counts})


@pytest.mark.parametrize("world_size", [16384, 131072])
def test_memory_of_the_build(note, world_size):
    counts = {name: memory.of_build(name, world_size) for name in worlds.builders()}
    note({"topic": "memory", "world": world_size, "counts": counts})
