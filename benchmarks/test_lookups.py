"""What it costs to get a mesh, or a size, from a mesh that is there."""

from __future__ import annotations

import concurrent.futures
import time

import pytest

import meshcompat as mc
from benchmarks import turns, worlds
from tests.support.layout_table import build_ours

WORLDS = [64, 1024, 16384]
OURS = {
    "get_flat_mesh": 'get_flat_mesh(mesh, "tp")',
    "get_submesh": 'get_submesh(mesh, ("dp_replicate", "dp_shard_cp"))',
    "get_root_mesh": "get_root_mesh(submesh)",
    "get_axis_size": 'get_axis_size(mesh, "dp_shard_cp")',
}
LIMIT = "limit(mesh, 'tp')"
"""One call of a Python function that looks one key up in a dict: nothing can be had for less."""
SLICES = {"get_submesh": 'mesh["dp_replicate", "dp_shard"]'}
SLICE = 'mesh["tp"]'
CALLS = 2000
LONG_ENOUGH = 0.002
"""Seconds that torch's slice is repeated for in one turn."""


@pytest.mark.parametrize("thread", ["main", "second"])
@pytest.mark.parametrize("call", OURS)
@pytest.mark.parametrize("world_size", WORLDS)
def test_lookup_again(in_turns, world_size, call, thread):
    with worlds.fresh_world(world_size), _worker(thread) as run:
        names = names_in(root_of(world_size))
        sides = {
            "ours": turns.looped(OURS[call], names, CALLS),
            "limit": turns.looped(LIMIT, names, CALLS),
            "torch": turns.looped(SLICE, names, _calls_of(SLICE, names)),
        }
        for statement in (OURS[call], SLICE):
            run(lambda statement=statement: exec(statement, names))  # noqa: S102
        in_turns(
            {side: lambda measure=measure: run(measure) for side, measure in sides.items()},
            rounds=15,
            topic="again",
            call=call,
            world=world_size,
            thread=thread,
        )


@pytest.mark.parametrize("thread", ["main", "second"])
@pytest.mark.parametrize("call", ["get_flat_mesh", "get_submesh"])
@pytest.mark.parametrize("world_size", WORLDS)
def test_lookup_first(in_turns, world_size, call, thread):
    """Time the first call on a mesh that nobody has asked before, each round on a new one.

    torch's is a slice of two of the root's own dims where ours composes one with a flattened dim:
    torch cannot slice that on every release.
    """

    def first(statement):
        code = compile(statement, call, "eval")

        def measure():
            with worlds.fresh_world(world_size), _worker(thread) as run:
                names = names_in(root_of(world_size))

                def timed():
                    start = time.perf_counter()
                    eval(code, names)  # noqa: S307
                    return time.perf_counter() - start

                return run(timed)

        return measure

    in_turns(
        {"ours": first(OURS[call]), "torch": first(SLICES.get(call, SLICE))},
        rounds=5,
        topic="first",
        call=call,
        world=world_size,
        thread=thread,
    )


def root_of(world_size):
    """Return a root with its flattened dims, as a training job has them."""
    layout = worlds.layout_of(world_size)._replace(views=())
    return build_ours(layout).root


def names_in(mesh):
    """Return what the statements speak of; nobody has asked *mesh* for "tp" yet."""
    table = {"tp": mesh}

    def limit(mesh, name):  # noqa: ARG001  (as many arguments as the others)
        return table[name]

    submesh = mc.get_submesh(mesh, ("pp", "cp"))
    return {"mesh": mesh, "submesh": submesh, "limit": limit} | {
        name: getattr(mc, name) for name in OURS
    }


def _calls_of(statement, names):
    seconds = turns.looped(statement, names, 1)
    return max(1, round(LONG_ENOUGH / min(seconds(), seconds())))


class _worker:  # noqa: N801  (used like a function)
    """Runs functions in this thread, or in one other thread."""

    def __init__(self, thread):
        self.pool = concurrent.futures.ThreadPoolExecutor(1) if thread == "second" else None

    def __enter__(self):
        if self.pool is None:
            return lambda function: function()
        return lambda function: self.pool.submit(function).result()

    def __exit__(self, *error):
        if self.pool is not None:
            self.pool.shutdown()
