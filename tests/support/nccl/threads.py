"""The thread that makes groups has the current device of the thread that asks, and a group works from any thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
import torch.distributed as dist

import meshcompat as mc
from tests.support.nccl.setting import (
    DEVICE,
    GPUS,
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
    from tests.support.nccl.setting import Tell


def run(tell: Tell) -> None:
    """Ask in which threads and on which devices groups are made."""
    if RANKS < 2:
        tell(Result("threads", NOT_ASKED, "a rank alone makes its groups without a thread"))
        return
    with pool_of_ranks() as pool:
        for where in ("main thread", "another thread"):
            result = tried(f"groups asked for in {where}", right_device, pool, where)
            told = "one GPU: all ranks have device 0" if GPUS == 1 else result.told
            tell(result._replace(told=result.told or told))


def right_device(pool: Any, where: str) -> dict[str, float]:
    """Return how many groups were made in threads of ours."""
    found = pool.run(seen, where)
    for rank, (mine, devices, threads, is_right) in enumerate(found):
        want(f"devices of rank {rank}", devices, {mine})
        want(f"sums of rank {rank}", is_right, True)
        want(f"threads of rank {rank} other than the one that asked", threads > 0, True)
    return {"groups made in a thread of ours": min(threads for *_, threads, _ in found)}


def seen(where: str) -> tuple[int, set[int], int, bool]:
    """Return this rank's device, those on which groups were made, in how many other threads, and the sums."""
    if where == "main thread":
        return make()
    found: list[Any] = []
    mine = current()

    def work() -> None:
        if DEVICE == "cuda":
            torch.cuda.set_device(mine)
        found.append(make())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


def make() -> tuple[int, set[int], int, bool]:
    """Make a mesh, whose groups have a timeout of their own, and note where they are made."""
    asking, made, first = threading.get_ident(), [], dist.new_group

    def noted(*args: Any, **options: Any) -> Any:
        made.append((threading.get_ident(), current()))
        return first(*args, **options)

    with mock.patch.object(dist, "new_group", noted):
        root = make_root(pairs(), ("dp", "tp"), timeout=50)
        flat = mc.flatten(root, ("dp", "tp"), "all", timeout=40)
    others = [ident for ident, _ in made if ident != asking]
    is_right = sums_are_right(root) and sums_are_right(flat)
    return current(), {device for _, device in made}, len(others), is_right


def current() -> int:
    """Return the current device of this thread."""
    return torch.cuda.current_device() if DEVICE == "cuda" else 0
