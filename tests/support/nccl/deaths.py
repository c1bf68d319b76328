"""A rank dies before, during and after a call: the others hear who it was, in time, and nothing hangs."""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat.testing import GlooPool, RankDied
from tests.support.nccl.setting import (
    BACKEND,
    NOT_ASKED,
    RANKS,
    Result,
    WrongError,
    either,
    make_root,
    pairs,
    pool_of_ranks,
    sum_over,
    sums_are_right,
    tried,
    want,
)
from tests.support.rank_faults import ALLOWANCE, FAULTS, TIMEOUT, call_and_write, die, told_in

if TYPE_CHECKING:
    from tests.support.nccl.setting import Tell

LAST = RANKS - 1
BETWEEN = "killed between two groups"
CASES = [
    ("killed before its call", LAST),
    ("killed before its call", 0),
    ("killed while it waits for the others", LAST),
    ("killed between comparison and groups", LAST),
    # Where their number is odd, all ranks meet in the first group, and nobody needs the second.
    *[(BETWEEN, LAST)] * (RANKS % 2 == 0),
]
PATIENCE = TIMEOUT + ALLOWANCE
SUM = "sum"


def run(tell: Tell) -> None:
    """Kill a rank at each moment."""
    if RANKS < 2:
        tell(Result("deaths", NOT_ASKED, "needs two ranks"))
        return
    # Without it NCCL ends the process of a rank that waits for a dead one.
    os.environ["TORCH_NCCL_BLOCKING_WAIT"] = "1"
    with pool_of_ranks(grace=2 * PATIENCE) as pool:
        for fault, culprit in CASES:
            tell(tried(f"rank {culprit} {fault}", named, pool, meet, culprit, fault))
        after = f"rank {LAST} killed with its meshes made"
        sums: dict[str, Any] = {}
        tell(tried(f"{after}: the next call", named, pool, go_on, LAST, "", sums))
        tell(tried(f"{after}: a sum with it", ended, sums))


def named(
    pool: GlooPool, case: Any, culprit: int, fault: str, sums: dict[str, Any] | None = None
) -> dict[str, float]:
    """Return how long after the timeout the slowest of the others heard who died."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with tempfile.TemporaryDirectory() as folder:
        deaths: tuple[int, ...] = ()
        try:
            pool.run(case, folder, store.port, culprit, fault)
        except RankDied as error:
            deaths = error.ranks
        found = told_in(Path(folder, "calls"))
        if sums is not None:
            sums.update({str(rank): told for rank, told in told_in(Path(folder, SUM)).items()})
    want("ranks that died", deaths, (culprit,))
    want("ranks that gave word", set(found), set(range(RANKS)) - {culprit})
    if fault == BETWEEN:  # who met the dead rank in its first group needs it for no other
        found = {rank: told for rank, told in found.items() if told["kind"] is not None}
        want("ranks with an error", bool(found), True)
    for rank, told in found.items():
        want(f"error of rank {rank}", told["kind"], "MeshMismatchError")
        want(f"missing on rank {rank}", told["missing"], [culprit])
    slowest = max(told["seconds"] for told in found.values())
    if slowest > PATIENCE:
        raise WrongError(f"named after {slowest:.1f} s, where the timeout is {TIMEOUT:g} s")
    return {"s after the timeout": round(slowest - TIMEOUT, 1)}


def ended(sums: dict[str, Any]) -> dict[str, float]:
    """Return after how many seconds the sums with the dead rank failed."""
    want("ranks that waited for the dead one and gave word", bool(sums), True)
    for rank, told in sums.items():
        want(f"a sum with a dead rank fails on rank {rank}", told["kind"] is not None, True)
    return {"slowest rank, s": round(max(told["seconds"] for told in sums.values()), 1)}


def join(folder: str, port: int) -> None:
    """Replace the world by one whose store is no rank's, as torchrun has it."""
    for name in ("calls", SUM):
        Path(folder, name).mkdir(exist_ok=True)
    rank, patience = dist.get_rank(), timedelta(seconds=60)
    dist.barrier()
    dist.destroy_process_group()
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=patience)
    dist.init_process_group(BACKEND, store=store, rank=rank, world_size=RANKS, timeout=patience)


def make_mesh(names: tuple[str, str] = ("dp", "tp"), timeout: float = TIMEOUT) -> Any:
    """Make a root of two dims."""
    return make_root(pairs(), names, timeout=timeout)


def meet(folder: str, port: int, culprit: int, fault: str) -> None:
    """Let one rank die around a call."""
    join(folder, port)
    sums_are_right(make_mesh(("first", "second"), 60))
    dist.barrier()
    with pytest.MonkeyPatch.context() as patch:
        if dist.get_rank() == culprit:
            FAULTS[fault](patch)
        call_and_write(Path(folder, "calls", str(dist.get_rank())), make_mesh)


def go_on(folder: str, port: int, culprit: int, _: str) -> None:
    """Let one rank die after its meshes were used, make the next call, then sum with it."""
    join(folder, port)
    mesh = make_mesh(timeout=2 * TIMEOUT)
    sums_are_right(mesh)
    dist.barrier()
    rank = dist.get_rank()
    if rank == culprit:
        die()
    call_and_write(Path(folder, "calls", str(rank)), lambda: make_mesh(("next", "one")))
    dim = either("tp", "dp")
    if culprit in mc.get_ranks(mesh, dim):
        call_and_write(Path(folder, SUM, str(rank)), lambda: sum_over(mesh.get_group(dim)))
