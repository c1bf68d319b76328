"""torchtitan: the ranks of the views that its ParallelDims makes."""

import dataclasses

import pytest

import meshcompat as mc
from downstream.lines import line, lines_of, sizes_of
from tests.support.builder_cases import expected

PRELOAD = ("torchtitan.distributed.parallel_dims",)
CASES = [
    sizes_of(shard=8),
    sizes_of(replicate=2, shard=4),
    sizes_of(replicate=2, shard=2, cp=2),
    sizes_of(replicate=2, shard=2, tp=2),
    sizes_of(pp=2, shard=2, tp=2),
    sizes_of(pp=2, shard=2, cp=2),
    sizes_of(shard=2, cp=2, tp=2),
]
EXPERTS = [
    sizes_of(shard=8, ep=4),
    sizes_of(replicate=2, shard=4, ep=2),
    sizes_of(pp=2, shard=2, tp=2, ep=2),
    sizes_of(shard=2, cp=2, tp=2, ep=8),
]
RENAMED = {"batch": "dp", "fsdp": "dp_shard_cp", "loss": "dp_cp"}
"""What is called otherwise here: joint dims since 0.2.1."""


def parallel_dims(sizes):
    from torchtitan.distributed import parallel_dims as module
    from torchtitan.distributed.parallel_dims import ParallelDims

    module.device_type = "cpu"

    given = {
        "dp_replicate": sizes.replicate,
        "dp_shard": sizes.shard,
        "cp": sizes.cp,
        "tp": sizes.tp,
        "pp": sizes.pp,
        "ep": sizes.ep,
        "etp": 1,
        "world_size": 8,
        "enable_loss_parallel": False,
        "spmd_backend": "partial_dtensor",
    }
    fields = {field.name for field in dataclasses.fields(ParallelDims)}
    return ParallelDims(**{name: value for name, value in given.items() if name in fields})


def views_of(dims):
    """Return each one-dim mesh that it made, by its name for it."""
    if hasattr(dims, "get_all_one_dimensional_meshes"):
        return dims.get_all_one_dimensional_meshes()
    try:
        mesh = dims.build_mesh("cpu")
    except TypeError:
        mesh = dims.build_mesh()
    joint = {"dp", "dp_cp"} | (
        {"dp_shard_cp"} if dims.dp_shard_enabled or dims.cp_enabled else set()
    )
    return {name: mesh[name] for name in (*mesh.mesh_dim_names, *sorted(joint))}


def both(sizes):
    theirs = views_of(parallel_dims(sizes))
    ours, _ = mc.create_fsdp2_device_mesh(sizes.parallelism, world_size=8)
    same = {name: RENAMED.get(name, name) for name in theirs if name not in {"ep", "efsdp"}}
    if sizes.ep > 1:
        # Replicas stay apart in its view of experts, so that it has a dim more than ours.
        stage = mc.flatten(mc.get_submesh(ours, ("dp_replicate", "dp_shard", "cp", "tp")), "stage")
        rest = sizes.shard * sizes.cp * sizes.tp // sizes.ep
        names = ("dp_replicate", "efsdp", "ep")
        sparse = mc.unflatten(stage, 0, (sizes.replicate, rest, sizes.ep), names)
    found = {name: mc.get_flat_mesh(ours, known) for name, known in same.items()}
    found |= {name: mc.get_submesh(sparse, name) for name in theirs if name in {"ep", "efsdp"}}
    return lines_of(theirs), lines_of({name: found[name] for name in theirs})


@pytest.mark.parametrize("sizes", CASES, ids=str)
def test_its_views_have_the_ranks_of_ours(pool, sizes):
    for rank, (theirs, ours) in enumerate(pool.run(both, sizes)):
        lines = expected(sizes, rank)
        assert len(theirs) > 2
        assert theirs == ours
        assert ours == {name: line(lines[RENAMED.get(name, name)]) for name in ours}


@pytest.mark.parametrize("sizes", EXPERTS, ids=str)
def test_its_views_of_experts_have_the_ranks_of_ours(pool, sizes):
    for rank, (theirs, ours) in enumerate(pool.run(both, sizes)):
        assert "ep" in theirs
        assert theirs == ours
        assert ours["ep"] == line(expected(sizes, rank)["ep"])
