"""FSDP2, TP, DTensor, checkpoints and pipelines on meshes of one root, each against one process alone."""

from __future__ import annotations

import functools
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple

import torch.distributed.fsdp

import meshcompat as mc
from tests.collectives import consumers, sharding, training
from tests.collectives.kinds import CP, PP, REPLICATE, SHARD, flat, pick
from tests.support.nccl.setting import (
    DEVICE,
    DTENSOR,
    NOT_ASKED,
    RANKS,
    Result,
    WrongError,
    pool_of_ranks,
    tried,
    want,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat.testing import GlooPool
    from tests.support.nccl.setting import Tell

LATE = (*DTENSOR, "torch.distributed.fsdp", "torch.distributed.checkpoint")
EXACT = 1e-5


class Trained(NamedTuple):
    """How a model lies on meshes of a root."""

    shape: tuple[int, ...]
    make: Callable[[Any], tuple[list[Any], Any]]
    """Gives the meshes of the two layers and of the whole model, and that of TP."""
    meshes: Callable[[Any], list[Any]]
    """Enumerates the meshes that data is spread over."""


def of_two(*dims: int) -> tuple[int, ...]:
    """Return the shape of a root whose first dim of these takes what ranks the others leave: of two each."""
    shape = [1, 1, 1, 1]
    for dim in dims[1:]:
        shape[dim] = 2
    shape[dims[0]] = RANKS // 2 ** (len(dims) - 1)
    return tuple(shape)


def hsdp(root: Any) -> tuple[list[Any], None]:
    """Replicate and shard."""
    flat(root, "dp_shard", "cp")
    return [mc.get_fsdp_dp_mesh(root)] * 3, None


def beside_tp(root: Any) -> tuple[list[Any], Any]:
    """Shard over one dim, beside tensor parallelism on the innermost."""
    return [mc.get_submesh(root, "dp_shard")] * 3, mc.get_submesh(root, "cp")


CASES = {
    "FSDP2, HSDP": Trained(of_two(SHARD, REPLICATE), hsdp, pick(REPLICATE, (SHARD, CP))),
    "FSDP2 beside TP": Trained(of_two(SHARD, CP), beside_tp, pick(SHARD)),
}
COMPOSED = "composed"


def run(tell: Tell) -> None:
    """Try each consumer."""
    if RANKS % 2:
        tell(Result("consumers", NOT_ASKED, "need an even number of ranks"))
        return
    if not hasattr(torch.distributed.fsdp, "fully_shard"):
        tell(Result("consumers", NOT_ASKED, "FSDP2 is public since torch 2.6"))
        return
    with pool_of_ranks(*LATE, timeout=90) as pool:
        for name, case in CASES.items():
            tell(tried(f"{name}, {consumers.STEPS} steps", train, pool, case))
        tell(tried("DTensor, uneven shards", walk, pool))
        tell(tried("a checkpoint of one mesh on another", save_and_load, pool))
        tell(tried("a pipeline", pipe, pool))


def on_root(make: Callable[[Any], Any], shape: tuple[int, ...]) -> Any:
    """Return what *make* makes of a root of this shape."""
    return make(consumers.make_root(shape, DEVICE))


def stages(root: Any) -> Any:
    """Return the group that a pipeline talks over."""
    return mc.get_group(root, "pp")


def train(pool: GlooPool, case: Trained) -> dict[str, float]:
    """Return how far weights, shards and losses are from those of one process."""
    shape, make = case.shape, case.make
    meshes = case.meshes(consumers.ranks_of(shape))
    by_rank = pool.run(consumers.trained, functools.partial(on_root, make, shape), meshes)
    is_whole = make is hsdp  # beside TP, a shard is a part of a part
    return exact(training.fsdp_error(by_rank, case, is_whole=is_whole))


def exact(error: float) -> dict[str, float]:
    """Return how far something is from one process, where it is near enough."""
    if not error < EXACT:
        raise WrongError(f"{error:.1e} from what one process has")
    return {"largest difference": float(f"{error:.0e}")}


def walk(pool: GlooPool) -> None:
    """Redistribute a tensor whose shards are uneven."""
    shape, tensor = of_two(SHARD, REPLICATE), sharding.matrix(15, 15)
    by_rank = pool.run(sharding.walks, sharding.made_of(shape, [COMPOSED], DEVICE), tensor)
    right = sharding.is_right(by_rank, shape, [COMPOSED], sharding.wanted_walks, tensor)
    want("all parts on all ranks", right, {COMPOSED: True})


def save_and_load(pool: GlooPool) -> None:
    """Save an uneven tensor that lies on one mesh and load it onto another."""
    shape, tensor = of_two(SHARD, REPLICATE), sharding.matrix(15, 31)
    saved, loaded = (
        sharding.made_of(shape, [kind], DEVICE) for kind in (sharding.SAVED, sharding.LOADED)
    )
    with tempfile.TemporaryDirectory() as folder:
        pool.run(sharding.written, folder, tensor, saved)
        by_rank = pool.run(sharding.read, folder, tensor, loaded)
    kinds = [sharding.LOADED]
    right = sharding.is_right(by_rank, shape, kinds, sharding.wanted_read, tensor)
    want("all parts on all ranks", right, dict.fromkeys(kinds, True))


def pipe(pool: GlooPool) -> dict[str, float]:
    """Return how far a pipeline of two stages is from one process."""
    shape = of_two(SHARD, PP)
    meshes = pick(PP)(consumers.ranks_of(shape))
    by_rank = pool.run(training.piped, functools.partial(on_root, stages, shape), meshes, DEVICE)
    return exact(training.pipeline_error(by_rank, meshes))
