"""What it costs that ranks compare; no time is asserted, docs/reliability.md shows them."""

from __future__ import annotations

import statistics
import time
from contextlib import nullcontext

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat import _agreement

pytestmark = [pytest.mark.multiprocess, pytest.mark.soak]

CALLS = 20
ASKED = {"call": "init_device_mesh", "dims": "'dp' of size 2; 'tp' of size 4"}


def milliseconds(call):
    """Return the median over several calls that all ranks begin together."""
    took = []
    for _ in range(CALLS):
        dist.barrier()
        start = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - start))
    return statistics.median(took)


def make():
    mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
    return mesh.mesh.tolist()


def time_calls():
    """Return milliseconds of a call that is compared, of one that is not, of a comparison alone."""
    took = {"warm": milliseconds(make)}
    for name, around in (("compared", nullcontext), ("unchecked", mc.unchecked)):
        with around():
            took[name] = milliseconds(make)
    took["alone"] = milliseconds(lambda: _agreement.agree(lambda: ASKED, None))
    return took, make()


def test_what_a_comparison_of_8_ranks_costs(pool, figure):
    found = pool.run(time_calls)
    assert all(ranks == [[0, 1, 2, 3], [4, 5, 6, 7]] for _, ranks in found)
    slowest = {name: max(took[name] for took, _ in found) for name in found[0][0]}
    figure("cost", "a comparison alone, ms", round(slowest["alone"], 2))
    figure("cost", "init_device_mesh() with two new groups, ms", round(slowest["compared"], 1))
    figure("cost", "the same in unchecked(), ms", round(slowest["unchecked"], 1))
