"""On what the parts of ci/nccl.py run: how many ranks, on which devices; and how a part reports.

ci/nccl.py says it in the environment. Without it there is one rank on each GPU of the machine.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat._rank_processes.words import last_line, one_line
from meshcompat.testing import GlooPool, RankError
from tests.collectives.kinds import CP, NAMES, PP, REPLICATE, SHARD

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Tell = Callable[["Result"], None]

IS_REHEARSAL = "MESHCOMPAT_NCCL_REHEARSAL" in os.environ
DEVICE, BACKEND = ("cpu", "gloo") if IS_REHEARSAL else ("cuda", "nccl")

GPUS = torch.cuda.device_count() if dist.is_nccl_available() and not IS_REHEARSAL else 0
RANKS = int(os.environ.get("MESHCOMPAT_NCCL_RANKS", GPUS))

DTENSOR = ("numpy", "torch._dynamo", "torch.distributed.tensor.parallel")
"""What meshes of torch import, and those who use them."""

RIGHT, WRONG, NOT_ASKED = "right", "wrong", "not asked"


class Result(NamedTuple):
    """What came of one thing that a part tried."""

    name: str
    verdict: str
    told: str = ""
    """Why it is wrong or was not asked, or what else there is to know: one line."""
    figures: Mapping[str, float | str] = {}


class WrongError(Exception):
    """A rank has something else than enumeration says."""


def want(what: str, found: object, wanted: object) -> None:
    """Raise unless the two are equal."""
    if found != wanted:
        raise WrongError(f"{what}: {found!r} instead of {wanted!r}")


def tried(name: str, attempt: Callable[..., Mapping[str, Any] | None], *arguments: Any) -> Result:
    """Return what came of an attempt, which returns its figures or raises."""
    try:
        figures = attempt(*arguments)
    except RankError as error:
        return Result(name, WRONG, " ".join([str(error).splitlines()[0], *cause_of(error)]))
    except Exception as error:  # noqa: BLE001  (the other attempts are made all the same)
        return Result(name, WRONG, one_line(error))
    return Result(name, RIGHT, "", figures or {})


def cause_of(error: RankError) -> list[str]:
    """Return the last line of what the first rank raised, where one raised."""
    return [f"({last_line(text)})" for text in list(error.tracebacks.values())[:1]]


def pool_of_ranks(*late: str, **options: Any) -> GlooPool:
    """Return a pool of all ranks; *late* are modules that torch imports at their first use.

    On CPU they are imported once for all ranks. Where there are GPUs, importing them may ask CUDA
    something, and nobody may be forked after that.
    """
    preload = late if DEVICE == "cpu" else ()
    return GlooPool(world_size=RANKS, backend=BACKEND, preload=preload, **options)


def root_ranks() -> np.ndarray:
    """Return all ranks with dims `NAMES`, as many of them larger than 1 as there are ranks for."""
    shape, rest = [1, 1, 1, 1], RANKS
    for dim in (SHARD, REPLICATE, CP, PP):
        if rest % 2 == 0:
            shape[dim], rest = 2, rest // 2
    shape[SHARD] *= rest
    return np.arange(RANKS).reshape(shape)


def make_root(shape: tuple[int, ...], names: tuple[str, ...] = NAMES, **options: Any) -> Any:
    """Make a root of all ranks on the devices of this run."""
    return mc.init_device_mesh(DEVICE, shape, mesh_dim_names=names, **options)


def pairs() -> tuple[int, int]:
    """Return the shape of a root with two dims, the inner one of two ranks where they are even."""
    inner = 2 if RANKS % 2 == 0 else 1
    return RANKS // inner, inner


def either(inner: str, outer: str) -> str:
    """Return the name of the inner dim of `pairs`, or of the outer one where the inner is of size 1."""
    return inner if pairs()[1] > 1 else outer


def sum_over(group: Any) -> int:
    """Return the number of ranks that add a one in a group."""
    total = torch.ones(1, device=DEVICE)
    dist.all_reduce(total, group=group)
    return int(total.item())


def sums_are_right(mesh: Any) -> bool:
    """Return whether each dim's group of a mesh sums over as many ranks as it has."""
    return all(sum_over(mesh.get_group(dim)) == mesh.size(dim) for dim in range(mesh.ndim))


def used_mib() -> float:
    """Return the MiB in use: of this rank's GPU, by all of its ranks together, or of this process."""
    if DEVICE == "cpu":
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGESIZE") / 2**20
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return (total - free) / 2**20


def ranks_on_a_gpu() -> int:
    """Return how many ranks share a GPU; 1 in a rehearsal, where memory is that of a process."""
    return math.ceil(RANKS / GPUS) if GPUS else 1
