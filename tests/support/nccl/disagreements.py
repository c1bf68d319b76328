"""Ranks that ask for different groups, or leave a call out: told on every rank, and the next call works."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

import meshcompat as mc
from tests.support.nccl.setting import (
    NOT_ASKED,
    RANKS,
    Result,
    make_root,
    pairs,
    pool_of_ranks,
    sums_are_right,
    tried,
    want,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat.testing import GlooPool
    from tests.support.nccl.setting import Tell

NAMES = ("dp", "tp")
TIMEOUT = 3.0
"""Seconds that ranks wait for one that leaves a call out."""


def root(names: tuple[str, str] = NAMES, timeout: float = 60) -> Any:
    """Make a root of two dims, whose groups have time to connect."""
    return make_root(pairs(), names, timeout=timeout)


def flat(mesh: Any, name: str = "flat") -> Any:
    """Flatten both dims, with a timeout that no other group has, so that a group is made."""
    return mc.flatten(mesh, NAMES, name, timeout=TIMEOUT)


KINDS: dict[str, tuple[Callable[[Any], object], Callable[[Any], object]]] = {
    "names": (lambda _: root(), lambda _: root(("tp", "dp"))),
    "timeout": (lambda _: root(), lambda _: root(timeout=59)),
    "name of a flattened dim": (flat, lambda mesh: flat(mesh, "other")),
    "a call left out": (flat, lambda _: time.sleep(TIMEOUT + 2)),
}
"""What all ranks but one ask for, and what that one does."""


def run(tell: Tell) -> None:
    """Let the first and the last rank differ in each way."""
    if RANKS < 2:
        tell(Result("disagreements", NOT_ASKED, "needs two ranks"))
        return
    with pool_of_ranks() as pool:
        for kind in KINDS:
            for culprit in (0, RANKS - 1):
                tell(tried(f"{kind}, rank {culprit}", differ, pool, kind, culprit))


def differ(pool: GlooPool, kind: str, culprit: int) -> dict[str, float]:
    """Return how long the slowest rank took to hear of it."""
    found = pool.run(told, kind, culprit)
    is_absent = kind == "a call left out"
    for rank, (named, missing, _, is_right) in enumerate(found):
        if is_absent:
            want(f"missing, on rank {rank}", missing, () if rank == culprit else (culprit,))
        elif RANKS > 2:  # of two ranks, neither differs from most
            want(f"named on rank {rank}", named, culprit)
        want(f"sums after it on rank {rank}", is_right, True)
    return {"slowest rank, s": round(max(seconds for _, _, seconds, _ in found), 2)}


def told(kind: str, culprit: int) -> tuple[int | None, tuple[int, ...], float, bool]:
    """Return who is named and who is missing, after how long, and whether the next mesh works."""
    mesh = root()
    sums_are_right(mesh)
    dist.barrier()
    usual, odd = KINDS[kind]
    missing: tuple[int, ...] = ()
    named, start = None, time.monotonic()
    try:
        (odd if dist.get_rank() == culprit else usual)(mesh)
    except mc.MeshMismatchError as error:
        named, missing = error.rank, tuple(error.missing)
    seconds = time.monotonic() - start
    return named, missing, seconds, sums_are_right(root(("next", "one")))
