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
SLICE = 'mesh["tp"]'
FIRST = {
    "get_flat_mesh": (OURS["get_flat_mesh"], SLICE),
    "get_submesh": ('get_submesh(mesh, ("dp_shard", "tp"))', 'mesh["dp_shard", "tp"]'),
}
"""Ours and torch's call for the same mesh."""
VERBS = {
    "flatten": 'flatten(selection, "dp_shard_cp")',
    "concatenate": "concatenate([line, flat])",
    "unflatten": 'unflatten(mesh, "cp", (2, 2), ("ring", "ulysses"))',
    "get_submesh": 'get_submesh(mesh, ["dp_shard", "tp"])',
    "get_ranks": 'get_ranks(mesh, ("dp_shard", "cp"))',
    "get_group": 'get_group(mesh, ("dp_shard", "cp"))',
}
CALLS = 1000
ROUNDS = 60
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
            rounds=ROUNDS,
            topic="again",
            call=call,
            world=world_size,
            thread=thread,
        )


@pytest.mark.parametrize("call", VERBS)
def test_verb_again(in_turns, call):
    """Time the same call again, with a list or a tuple that is made anew each time."""
    with worlds.fresh_world(1024):
        names = names_in(root_of(1024))
        sides = {
            "ours": turns.looped(VERBS[call], names, CALLS),
            "limit": turns.looped(LIMIT, names, CALLS),
        }
        exec(VERBS[call], names)  # noqa: S102
        in_turns(sides, rounds=ROUNDS, topic="verb", call=call)


@pytest.mark.parametrize("thread", ["main", "second"])
@pytest.mark.parametrize("call", FIRST)
@pytest.mark.parametrize("world_size", WORLDS)
def test_lookup_first(in_turns, world_size, call, thread):
    """Time the first call on a mesh that nobody has asked before, each round on a new one."""

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

    ours, theirs = FIRST[call]
    in_turns(
        {"ours": first(ours), "torch": first(theirs)},
        rounds=40,
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

    meshes = {
        "mesh": mesh,
        "submesh": mc.get_submesh(mesh, ("pp", "cp")),
        "selection": mc.get_submesh(mesh, ("dp_shard", "cp")),
        "line": mc.get_flat_mesh(mesh, "pp"),
        "flat": mc.get_flat_mesh(mesh, "dp_shard_cp"),
    }
    verbs = {name: getattr(mc, name) for name in mc.__all__ if name.islower()}
    return {**verbs, **meshes, "limit": limit}


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
