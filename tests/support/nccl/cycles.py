"""Layouts that are made, used and given up by `destroy_mesh`, again and again: nothing grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.distributed as dist

import meshcompat as mc
from tests.support import native
from tests.support.destroying import count_of_threads
from tests.support.nccl.setting import (
    RANKS,
    WrongError,
    make_root,
    pairs,
    pool_of_ranks,
    ranks_on_a_gpu,
    sums_are_right,
    tried,
    used_mib,
    want,
)

if TYPE_CHECKING:
    from tests.support.nccl.setting import Tell

CYCLES = 20
SETTLED = 5
"""Cycles after which memory has to be flat."""

ALLOWED = 8.0
"""MiB a rank: less than one communicator of NCCL."""


def run(tell: Tell) -> None:
    """Run the cycles."""
    tell(tried(f"{CYCLES} cycles of destroy_mesh", flat))


def flat() -> dict[str, float]:
    """Return what the cycles added to each rank after they had settled."""
    with pool_of_ranks() as pool:
        found = pool.run(cycles)
    for rank, seen in enumerate(found):
        groups = [each for each, _, _ in seen]
        want(f"groups after each cycle on rank {rank}", len(set(groups)), 1)
    grown = [seen[-1][2] - seen[SETTLED][2] for seen in found]
    mib = max(grown) / ranks_on_a_gpu()
    threads = max(seen[-1][1] - seen[SETTLED][1] for seen in found)
    if mib > ALLOWED or threads > 2:
        raise WrongError(f"{mib:.1f} MiB and {threads} threads more a rank after {CYCLES} cycles")
    return {"MiB more a rank": round(mib, 1), "threads more a rank": threads}


def cycles() -> list[tuple[int, int, float]]:
    """Return groups, threads and MiB after each cycle of two layouts."""
    seen = []
    for _ in range(CYCLES):
        for shape, names in ((pairs(), ("dp", "tp")), ((RANKS,), ("dp",))):
            mesh = make_root(shape, names, timeout=60)
            flat = mc.flatten(mesh, names, "joined", timeout=50)
            if not (sums_are_right(mesh) and sums_are_right(flat)):
                raise WrongError(f"a sum over {names} of {shape}")
            mc.destroy_mesh(mesh)
        dist.barrier()
        seen.append((native.groups(), count_of_threads(), used_mib()))
        dist.barrier()
    return seen
