"""What the meshes of a layout take once every group of theirs has summed: ours and torch's, in new processes each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from benchmarks import worlds
from tests.support import native
from tests.support.destroying import count_of_threads
from tests.support.layout_table import DP_NAMES, EXPERTS, PP_DP_CP_TP, Layout, SecondView
from tests.support.nccl.setting import (
    DEVICE,
    DTENSOR,
    RANKS,
    pairs,
    pool_of_ranks,
    ranks_on_a_gpu,
    sum_over,
    tried,
    used_mib,
)

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat.testing import GlooPool
    from tests.support.nccl.setting import Tell


def layouts() -> dict[str, Layout]:
    """Return the meshes of a job for so many ranks: a root of five dims, three flattened ones, experts."""
    replicate, shard = pairs()
    experts = SecondView(PP_DP_CP_TP[1:], pairs(), EXPERTS)
    sharded, hsdp = (1, 1, RANKS, 1, 1), (1, replicate, shard, 1, 1)
    return {
        "FSDP2": Layout("FSDP2", "", sharded, PP_DP_CP_TP, DP_NAMES),
        "HSDP with experts": Layout("HSDP", "", hsdp, PP_DP_CP_TP, DP_NAMES, (experts,)),
    }


def run(tell: Tell) -> None:
    """Measure each layout on each side."""
    with pool_of_ranks(*DTENSOR) as pool:
        for name, layout in layouts().items():
            for side in worlds.builders():
                tell(tried(f"{name}, {side}", taken, pool, side, layout))
                pool.restart()


def taken(pool: GlooPool, side: str, layout: Layout) -> dict[str, float]:
    """Return what each rank has more of after the build and one all-reduce on each group."""
    found = pool.run(grown, side, layout)
    mib = max(found_mib for found_mib, *_ in found) / ranks_on_a_gpu()
    groups = found[0][1]
    return {
        "groups": groups,
        "MiB a rank": round(mib, 1),
        "MiB a group": round(mib / groups, 1) if groups else 0,
        "threads a rank": max(threads for *_, threads in found),
        "first sums of all groups, s": round(max(seconds for _, _, seconds, _ in found), 2),
    }


def grown(side: str, layout: Layout) -> tuple[float, int, float, int]:
    """Return MiB, groups, seconds for the first sums and threads that the meshes add on this rank."""
    sum_over(dist.group.WORLD)  # what the first collective of a process takes
    dist.barrier()
    before, groups, threads = used_mib(), native.groups(), count_of_threads()
    dist.barrier()
    kept = worlds.builders()[side](layout, DEVICE)
    start = time.perf_counter()
    for group in groups_of(kept):
        sum_over(group)
    seconds = time.perf_counter() - start
    dist.barrier()
    mib = used_mib() - before
    dist.barrier()
    return mib, native.groups() - groups, seconds, count_of_threads() - threads


def groups_of(meshes: Any) -> list[Any]:
    """Return each group of the meshes that a builder made, once."""
    found = [mesh.get_group(dim) for mesh, dim in dims_of(meshes)]
    return list({id(group): group for group in found}.values())


def dims_of(meshes: Any) -> list[tuple[DeviceMesh, int]]:
    """Return every mesh dim of what a builder made."""
    if hasattr(meshes, "dims"):
        return list(meshes.dims())
    return [(mesh, dim) for mesh in meshes for dim in range(mesh.ndim)]
