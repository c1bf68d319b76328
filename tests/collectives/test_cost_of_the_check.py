"""What it costs that ranks compare; no time is asserted, docs/reliability.md shows them."""

from __future__ import annotations

import statistics
import time

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat import _agreement

pytestmark = [pytest.mark.multiprocess, pytest.mark.soak]

CALLS = 20
ASKED = {"call": "init_device_mesh", "dims": "'dp' of size 2; 'tp' of size 4"}


def make():
    return mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))


def make_unchecked():
    with mc.unchecked():
        return make()


def compare():
    with _agreement.agreed(lambda: ASKED, None):
        pass


def milliseconds(**calls):
    """Return the median of each of several calls, which all ranks begin together.

    They take turns: a world with more groups in it makes the next ones more slowly.
    """
    took = {name: [] for name in calls}
    for _ in range(CALLS):
        for name, call in calls.items():
            dist.barrier()
            start = time.perf_counter()
            call()
            took[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in took.items()}


def time_calls():
    """Return milliseconds of a call that is compared, of one that is not, of a comparison alone."""
    milliseconds(warm=make)
    took = milliseconds(
        compared=make,
        unchecked=make_unchecked,
        alone=compare,
    )
    return took, make().mesh.tolist()


def test_what_a_comparison_of_8_ranks_costs(pool, figure):
    found = pool.run(time_calls)
    assert all(ranks == [[0, 1, 2, 3], [4, 5, 6, 7]] for _, ranks in found)
    slowest = {name: max(took[name] for took, _ in found) for name in found[0][0]}
    figure("cost", "a comparison alone, ms", round(slowest["alone"], 2))
    figure("cost", "init_device_mesh() with two new groups, ms", round(slowest["compared"], 1))
    figure("cost", "the same in unchecked(), ms", round(slowest["unchecked"], 1))
