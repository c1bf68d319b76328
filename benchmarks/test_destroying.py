"""What is left of layouts that are made, used and destroyed again and again, on 8 real ranks over gloo."""

from __future__ import annotations

import gc

from benchmarks import memory
from meshcompat.testing import GlooPool
from tests.support import native
from tests.support.destroying import count_of_threads, make_use_and_destroy

ROUNDS = 50
SETTLED = 10
"""Rounds after which nothing may grow: torch and the allocator keep what they will use again."""


def test_rounds_of_two_layouts(note):
    with GlooPool(8) as pool:
        found = pool.run(rounds, ROUNDS, timeout=300)
    counts = {what: max(each[what] for each in found) for what in found[0]}
    note({"topic": "destroy", "rounds": ROUNDS, "counts": counts})


def rounds(count):
    """Return how much more this rank has after the last round than after those that settle it."""
    seen = []
    for _ in range(count):
        make_use_and_destroy()
        gc.collect()
        seen.append(held())
    return {what: round(seen[-1][what] - seen[SETTLED - 1][what], 2) for what in seen[0]}


def held():
    """Return what this process has: groups, threads and MiB."""
    return {
        "groups": native.groups(),
        "threads": count_of_threads(),
        "MiB": memory.mib("VmRSS"),
    }
