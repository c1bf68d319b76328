"""Tensor parallelism, FSDP2 and pipelines on meshes of one root, against one process alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from tests.collectives.consumers import (
    make_batch,
    make_model,
    make_root,
    parallelized,
    place_in,
    ranks_of,
    torchs_own,
    trained,
    wrong_ranks_of,
)
from tests.collectives.kinds import (
    CP,
    PP,
    REPLICATE,
    SHARD,
    Kind,
    by_expert,
    flat,
    flat_among,
    pick,
    with_experts,
)
from tests.collectives.sums import cosets
from tests.collectives.training import far, fsdp_error, piped, pipeline_error

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.multiprocess


def picked(names, wanted):
    """Return how to pick a dim from the view *names* of the root, the last of them flattened."""

    def make(root):
        for name in names:
            if "+" in name:
                mc.flatten(mc.get_submesh(root, name.split("+")), name)
        return mc.get_submesh(mc.get_submesh(root, names), wanted)

    return make


SHARD_CP = "dp_shard+cp"
REPLICATE_SHARD = "dp_replicate+dp_shard"

# The outer dims are those that torch's own check refuses up to 2.8, native or not.
TENSOR_PARALLEL = {
    "innermost dim": ((1, 2, 2, 2), Kind(lambda root: mc.get_submesh(root, "cp"), pick(CP))),
    "flattened dim": (
        (1, 2, 2, 2),
        Kind(lambda root: flat_among(root, ("dp_shard", "cp"), "dp_shard_cp"), pick((SHARD, CP))),
    ),
    "flattened dim, not neighbours": (
        (2, 1, 2, 2),
        Kind(lambda root: flat_among(root, ("pp", "cp"), "pp_cp"), pick((PP, CP))),
    ),
    "flattened dim of a composed mesh": (
        (1, 2, 2, 2),
        Kind(picked(("dp_replicate", SHARD_CP), SHARD_CP), pick((SHARD, CP))),
    ),
    "last dim of a reversed mesh": (
        (1, 2, 2, 2),
        Kind(picked(("cp", "dp_shard"), "dp_shard"), pick(SHARD)),
    ),
    "flattened outer dims, last of a mesh": (
        (1, 2, 2, 2),
        Kind(picked(("cp", REPLICATE_SHARD), REPLICATE_SHARD), pick((REPLICATE, SHARD))),
    ),
    "dim of an unflattened mesh": (
        (1, 2, 2, 2),
        Kind(
            lambda root: mc.get_submesh(with_experts(root), "ep"),
            lambda ranks: cosets(by_expert(ranks), (2,)),
        ),
    ),
    "outer dim": ((1, 2, 2, 2), Kind(lambda root: mc.get_submesh(root, "dp_shard"), pick(SHARD))),
    "outer flattened dim": (
        (1, 2, 2, 2),
        Kind(lambda root: flat(root, "dp_replicate", "dp_shard"), pick((REPLICATE, SHARD))),
    ),
}
ALWAYS = {"innermost dim", "flattened dim", "dim of an unflattened mesh"}


def weighed(cases, always):
    """Return cases as parameters: those that are not run always carry the marker."""
    return [
        pytest.param(case, marks=[] if case in always else [pytest.mark.consumers], id=case)
        for case in cases
    ]


def tensor_parallel_error(make_mesh, meshes):
    """Return how far a model is from the same one alone; each of *meshes* has a batch."""
    index, _ = place_in(meshes, dist.get_rank())
    alone, (batch, _) = make_model(), make_batch(seed=index)
    models = (alone, parallelized(make_model(), make_mesh()))
    inputs = [batch.clone().requires_grad_() for _ in range(2)]
    outputs = [net(x) for net, x in zip(models, inputs, strict=True)]
    for output in outputs:
        output.square().sum().backward()
    gradients = [x.grad for x in inputs]
    return max((ours - other).abs().max().item() for ours, other in (outputs, gradients))


@pytest.mark.parametrize("case", weighed(TENSOR_PARALLEL, ALWAYS))
def test_tensor_parallel_modules_compute_what_one_process_does(pool, case):
    shape, kind = TENSOR_PARALLEL[case]
    meshes = kind.meshes(ranks_of(shape))
    errors = pool.run(tensor_parallel_error, lambda: kind.make(make_root(shape)), meshes)
    assert max(errors) < 1e-9


def test_tensor_parallel_modules_on_a_wrong_mesh_are_noticed(pool):
    shape, kind = TENSOR_PARALLEL["innermost dim"]
    meshes, wrong = (kind.meshes(ranks(shape)) for ranks in (ranks_of, wrong_ranks_of))
    assert max(pool.run(tensor_parallel_error, lambda: torchs_own(wrong), meshes)) > 1e-3


class Sharded(NamedTuple):
    """How a model lies on meshes of a root."""

    shape: tuple[int, ...]
    make: Callable
    """Gives the meshes of the first layer, the last one and the whole model, and that of TP."""
    meshes: Callable
    """Enumerates the meshes that data is spread over, of the model and its first layer."""


def everywhere(kind, tensor=lambda _: None):
    """Return how to make the same mesh for all modules, beside one for TP."""
    return lambda root: ([kind.make(root)] * 3, tensor(root))


def of_view(names, data, tensor):
    """Return how to take the meshes of data and of TP from one view of the root."""
    return lambda root: ([picked(names, data)(root)] * 3, picked(names, tensor)(root))


def unflattened_view(root):
    view = mc.unflatten(mc.get_submesh(root, ("dp_replicate", "cp")), "cp", (2, 2), ("a", "b"))
    return [mc.get_submesh(view, ("dp_replicate", "a"))] * 3, mc.get_submesh(view, "b")


def beside_experts(root):
    """The last layer lies on the mesh of experts, all else on that of data."""
    data = mc.flatten(root, "data")
    experts = mc.get_submesh(with_experts(root), ("ep_shard", "ep"))
    return [data, experts, data], None


SHARD_AND_CP = Kind(
    lambda root: (flat(root, "dp_shard", "cp"), mc.get_fsdp_dp_mesh(root))[1], pick((SHARD, CP))
)
HSDP = Kind(SHARD_AND_CP.make, pick(REPLICATE, (SHARD, CP)))
EXPERTS = Kind(
    lambda root: mc.get_submesh(with_experts(root), ("ep_shard", "ep")),
    lambda ranks: cosets(by_expert(ranks), (1,), (2,)),
)
PP_REPLICATE = Kind(lambda root: flat(root, "pp", "dp_replicate"), pick((PP, REPLICATE)))
ONE_DIM = Kind(lambda root: mc.get_submesh(root, "dp_shard"), pick(SHARD))


def innermost(root):
    return mc.get_submesh(root, "cp")


# DTensor remembers meshes by value, also those of a case before: equal ones need equal groups.
FSDP = {
    "one dim": Sharded((1, 1, 4, 2), everywhere(ONE_DIM), pick(SHARD)),
    "flattened": Sharded((2, 1, 2, 2), everywhere(SHARD_AND_CP), pick((SHARD, CP))),
    "replicated over one dim, sharded over a flattened one": Sharded(
        (1, 2, 2, 2), everywhere(HSDP), HSDP.meshes
    ),
    "replicated and sharded over dims of an unflattened mesh": Sharded(
        (1, 2, 2, 2), everywhere(EXPERTS), EXPERTS.meshes
    ),
    "replicated in part, beside experts on their own mesh": Sharded(
        (1, 2, 2, 2), beside_experts, pick((PP, REPLICATE, SHARD, CP))
    ),
    "beside tensor parallelism": Sharded((1, 2, 2, 2), everywhere(ONE_DIM, innermost), pick(SHARD)),
    "flattened, beside tensor parallelism": Sharded(
        (2, 2, 1, 2), everywhere(PP_REPLICATE, innermost), pick((PP, REPLICATE))
    ),
    "beside tensor parallelism on a flattened dim of one view": Sharded(
        (1, 2, 2, 2),
        of_view(("dp_replicate", SHARD_CP), "dp_replicate", SHARD_CP),
        pick(REPLICATE),
    ),
    "beside tensor parallelism on an outer dim, last of one view": Sharded(
        (1, 1, 4, 2), of_view(("cp", "dp_shard"), "cp", "dp_shard"), pick(CP)
    ),
    "replicated, beside tensor parallelism in one unflattened mesh": Sharded(
        (1, 2, 1, 4), unflattened_view, lambda ranks: cosets(ranks.reshape(2, 2, 2), (0,), (1,))
    ),
}
SHARDS_ALWAYS = {
    "replicated over one dim, sharded over a flattened one",
    "flattened, beside tensor parallelism",
}


@pytest.mark.parametrize("mesh", weighed(FSDP, SHARDS_ALWAYS))
def test_fsdp2_trains_as_one_process_does(pool, mesh):
    case = FSDP[mesh]
    make, shape = case.make, case.shape
    by_rank = pool.run(trained, lambda: make(make_root(shape)), case.meshes(ranks_of(shape)))
    # Where several meshes share the weights of a layer, its shards lie on all of them.
    is_whole = "beside" not in mesh
    assert fsdp_error(by_rank, case, is_whole=is_whole) < 1e-5


@pytest.mark.parametrize("mesh", weighed(["flattened", "one dim"], set()))
def test_fsdp2_trains_in_float32_as_on_a_mesh_of_torch(pool, mesh):
    """In float32 gloo of 2.7 and 2.8 sums gradients, on whatever mesh."""
    case = FSDP[mesh]
    make, shape = case.make, case.shape
    meshes = case.meshes(ranks_of(shape))
    ours = pool.run(trained, lambda: make(make_root(shape)), meshes, torch.float32)
    torchs = pool.run(trained, lambda: ([torchs_own(meshes)] * 3, None), meshes, torch.float32)
    for found, wanted in zip(ours, torchs, strict=True):
        assert found.losses == pytest.approx(wanted.losses, abs=1e-5)
        assert far(found.whole, wanted.whole) < 1e-5
        assert far(found.shards, wanted.shards) < 1e-5


def test_fsdp2_on_a_wrong_mesh_is_noticed(pool):
    case = FSDP["flattened"]
    meshes, wrong = (case.meshes(ranks(case.shape)) for ranks in (ranks_of, wrong_ranks_of))
    by_rank = pool.run(trained, lambda: ([torchs_own(wrong)] * 3, None), meshes)
    assert fsdp_error(by_rank, case) > 1e-3


STAGES = {"outermost": (2, 1, 2, 2), "of four": (4, 1, 2, 1)}


@pytest.mark.parametrize("shape", weighed(STAGES, {"outermost"}))
def test_pipelines_compute_what_one_process_does(pool, shape):
    sizes = STAGES[shape]
    meshes = pick(PP)(ranks_of(sizes))
    by_rank = pool.run(piped, lambda: mc.get_group(make_root(sizes), "pp"), meshes)
    assert pipeline_error(by_rank, meshes) < 1e-9


def test_pipelines_over_a_wrong_group_are_noticed(pool):
    sizes = STAGES["outermost"]
    meshes, wrong = (pick(PP)(ranks(sizes)) for ranks in (ranks_of, wrong_ranks_of))
    by_rank = pool.run(piped, lambda: torchs_own(wrong, ("pp",)).get_group("pp"), meshes)
    assert pipeline_error(by_rank, meshes) > 1e-3
