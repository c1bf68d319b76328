"""One timeout reaches every group: each collective that waits for a late rank ends when it is over."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

import meshcompat as mc
from tests.support.nccl.setting import (
    DEVICE,
    NOT_ASKED,
    RANKS,
    RIGHT,
    WRONG,
    Result,
    WrongError,
    either,
    make_root,
    pairs,
    pool_of_ranks,
    sum_over,
    tried,
    want,
)

if TYPE_CHECKING:
    from tests.support.nccl.setting import Tell

TIMEOUT = 6.0
ALLOWANCE = 8.0
"""Seconds beyond the timeout: NCCL looks at a collective once in a while."""

LATE = RANKS - 1


def run(tell: Tell) -> None:
    """Let the last rank stay away from collectives on all groups that it is in."""
    if RANKS < 2:
        tell(Result("timeouts", NOT_ASKED, "needs two ranks"))
        return
    # Without it NCCL ends the process of a rank whose collective is late.
    os.environ["TORCH_NCCL_BLOCKING_WAIT"] = "1"
    found: dict[str, float] = {}
    result = tried("collectives on all groups", wait, found)
    for name, seconds in found.items():
        is_in_time = TIMEOUT - 0.5 < seconds < TIMEOUT + ALLOWANCE
        verdict = RIGHT if is_in_time else WRONG
        tell(Result(f"a collective on {name}", verdict, "", {f"s of {TIMEOUT:g}": seconds}))
    tell(result)


def wait(found: dict[str, float]) -> None:
    """Note for each group after how many seconds its collectives ended; the slowest, or the first if it is early."""
    with pool_of_ranks() as pool:  # of its own: NCCL's groups are of no use after it
        by_rank = pool.run(wait_in_vain)
    waits = [told for told in by_rank if told]
    for name in groups_of(None):
        seconds = [told[name] for told in waits if name in told]
        want(f"ranks that waited on {name}", bool(seconds), True)
        found[name] = round(min(seconds) if min(seconds) < TIMEOUT - 0.5 else max(seconds), 2)


def groups_of(root: Any) -> dict[str, Any]:
    """Return the groups that are tried, by name; without a root only the names count."""
    outer, inner = pairs()
    makers = {
        "a mesh dim": lambda: root.get_group(either("tp", "dp")),
        "a flattened dim": lambda: mc.flatten(root, ("dp", "tp"), "all").get_group(),
        "a dim of an unflattened mesh": lambda: mc.unflatten(
            mc.get_flat_mesh(root, "all"), 0, (inner, outer), ("outer", "inner")
        ).get_group(either("outer", "inner")),
    }
    return {name: make() if root is not None else None for name, make in makers.items()}


def wait_in_vain() -> dict[str, float]:
    """Return after how many seconds the collective on each group that holds the late rank failed."""
    root = make_root(pairs(), ("dp", "tp"), timeout=TIMEOUT)
    groups = groups_of(root)
    for group in groups.values():  # NCCL connects the ranks of a group in their first collective
        sum_over(group)
    dist.barrier()
    if dist.get_rank() == LATE:
        return {}
    start = time.monotonic()
    works = {
        name: dist.all_reduce(torch.ones(1, device=DEVICE), group=group, async_op=True)
        for name, group in groups.items()
        if LATE in dist.get_process_group_ranks(group)
    }
    return {name: seconds_until_error(work, start) for name, work in works.items()}


def seconds_until_error(work: Any, start: float) -> float:
    """Return how long after *start* a collective failed."""
    try:
        work.wait()
    except RuntimeError:
        return time.monotonic() - start
    raise WrongError("a collective without its peer came to its end")
