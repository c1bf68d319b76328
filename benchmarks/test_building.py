"""What it costs to make a root, its flattened dims and the mesh of the experts: time and memory."""

from __future__ import annotations

import cProfile
import inspect

import pytest
import torch.distributed as dist

from benchmarks import memory, turns, worlds

ROUNDS = {64: 30, 16384: 5, 131072: 3}
SMALLEST, LARGEST = min(ROUNDS), max(ROUNDS)


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
def test_calls_of_the_build(note, world_size, size_1):
    """Count the calls of functions, which no other load on the machine changes."""
    layout = worlds.layout_of(world_size, size_1)
    counts = {name: calls_of(build, layout) for name, build in worlds.builders().items()}
    note({"topic": "calls", "world": world_size, "size_1": size_1, "counts": counts})


def calls_of(build, layout):
    """Return how many functions a build calls, and how often `new_group`.

    Not by a recorder in the place of `new_group`: where it stands, meshcompat makes every call.
    """
    code = inspect.unwrap(dist.new_group).__code__
    with worlds.fresh_world(SMALLEST):
        build(worlds.layout_of(SMALLEST))  # what is imported and looked up once a process
    profile = cProfile.Profile()
    with worlds.fresh_world(layout.world_size):
        kept = profile.runcall(build, layout)
        del kept
    entries = profile.getstats()
    return {
        "new_group": sum(entry.callcount for entry in entries if entry.code is code),
        "functions": sum(entry.callcount for entry in entries),
    }


@pytest.mark.parametrize("size_1", worlds.SHAPES)
def test_memory_of_the_build(note, size_1):
    counts = {name: memory.of_build(name, LARGEST, size_1) for name in worlds.builders()}
    note({"topic": "memory", "world": LARGEST, "size_1": size_1, "counts": counts})
