"""What it costs that ranks compare before they make groups: on 8 real ranks, over gloo."""

from __future__ import annotations

import contextlib
import statistics
import time

import pytest
import torch.distributed as dist

import meshcompat as mc
from benchmarks import turns
from meshcompat import _agreement
from meshcompat.testing import GlooPool

RANKS = 8
CALLS = 20
ASKED = {"call": "flatten", "root": "(2, 2, 2)", "dims": "'dp_cp' of size 4"}


@pytest.fixture(scope="module")
def pool():
    with GlooPool(RANKS) as pool:
        pool.run(dist.get_rank)  # the processes are there, and have met
        yield pool


def test_agreement(in_turns, pool):
    """Time the comparison alone, then a root of three groups with it and without.

    A turn is a new world of the same processes, and counts the rank that takes longest.
    """
    sides = {
        "ours": lambda: max(pool.run(comparison)),
        "root, compared": lambda: max(pool.run(root, compares=True)),
        "root, not compared": lambda: max(pool.run(root, compares=False)),
    }
    in_turns(sides, rounds=9, topic="agreement", world=RANKS)


def compare():
    with _agreement.agreed(lambda: ASKED, None):
        pass


def comparison():
    """Return the seconds of one comparison: the median of several, as ranks meet in each."""
    seconds = []
    for _ in range(CALLS):
        dist.barrier()
        seconds.append(turns.once(compare))
    return statistics.median(seconds)


def root(*, compares):
    """Return the seconds of one root, after a barrier and a first one."""
    for _ in range(2):
        dist.barrier()
        start = time.perf_counter()
        with contextlib.nullcontext() if compares else mc.unchecked():
            mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
        seconds = time.perf_counter() - start
    return seconds
