"""What it costs to make a root, its flattened dims and the mesh of the experts: time and memory."""

from __future__ import annotations

import cProfile
import pkgutil
from unittest import mock

import pytest

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
    counts = {
        name: {
            "new_group": calls_of_new_group(build, layout),
            "functions": calls_of_functions(build, layout),
        }
        for name, build in worlds.builders().items()
    }
    note({"topic": "calls", "world": world_size, "size_1": size_1, "counts": counts})


def calls_of_new_group(build, layout):
    """Return how often a build calls `new_group`, seen from what that calls.

    With a recorder in the place of `new_group` itself, meshcompat makes every call.
    """
    inner = "torch.distributed.distributed_c10d._new_group_with_tag"
    spy = mock.Mock(side_effect=pkgutil.resolve_name(inner))
    with worlds.fresh_world(layout.world_size), mock.patch(inner, spy):
        kept = build(layout)
        del kept
    return spy.call_count


def calls_of_functions(build, layout):
    """Return how many functions a build calls, of Python and of C. From Python 3.12 on, cProfile misses some."""
    with worlds.fresh_world(SMALLEST):
        build(worlds.layout_of(SMALLEST))  # what is imported and looked up once a process
    profile = cProfile.Profile()
    with worlds.fresh_world(layout.world_size):
        kept = profile.runcall(build, layout)
        del kept
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.parametrize("size_1", worlds.SHAPES)
def test_memory_of_the_build(note, size_1):
    counts = {name: memory.of_build(name, LARGEST, size_1) for name in worlds.builders()}
    note({"topic": "memory", "world": LARGEST, "size_1": size_1, "counts": counts})
