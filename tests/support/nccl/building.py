"""How long the build of a layout's meshes takes, ours and torch's in turns, without a collective."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from benchmarks import worlds
from tests.support import native
from tests.support.nccl.memory import layouts
from tests.support.nccl.setting import (
    DEVICE,
    DTENSOR,
    RIGHT,
    Result,
    pool_of_ranks,
    sum_over,
    tried,
)

if TYPE_CHECKING:
    from tests.support.layout_table import Layout
    from tests.support.nccl.setting import Tell

ROUNDS = 5


def run(tell: Tell) -> None:
    """Time each layout."""
    with pool_of_ranks(*DTENSOR) as pool:
        for name, layout in layouts().items():
            found: dict[str, list[float]] = {}
            result = tried(name, rounds, pool, layout, found)
            tell(result if result.verdict != RIGHT else Result(name, RIGHT, "", medians(found)))


def rounds(pool: Any, layout: Layout, found: dict[str, list[float]]) -> None:
    """Build in turns, each in a new world, and note what the slowest rank took."""
    for _ in range(ROUNDS):
        for side in worlds.builders():
            found.setdefault(side, []).append(max(pool.run(built, side, layout)))


def medians(found: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of each side, in milliseconds."""
    return {
        f"{side}, ms": round(1000 * statistics.median(times), 1) for side, times in found.items()
    }


def built(side: str, layout: Layout) -> float:
    """Return the seconds that a build takes on this rank."""
    native.forget()
    sum_over(dist.group.WORLD)
    dist.barrier()
    start = time.perf_counter()
    kept = worlds.builders()[side](layout, DEVICE)
    seconds = time.perf_counter() - start
    del kept
    dist.barrier()
    return seconds
