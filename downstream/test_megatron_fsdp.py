"""megatron-fsdp: which axes it lists of our mesh, and the sub-meshes that it registers."""

import warnings

import numpy as np
import pytest
import torch.distributed as dist
from torch import nn

import meshcompat as mc
from tests.collectives.sums import cosets

PRELOAD = ("megatron_fsdp",)
NAMES = ("dp_outer", "dp_shard", "tp")
JOINED = {"hsdp": ("dp_outer", "dp_shard"), "shard_tp": ("dp_shard", "tp")}
AXES = {name: (NAMES.index(name),) for name in NAMES} | {"hsdp": (0, 1), "shard_tp": (1, 2)}


def our_mesh(*, publish):
    mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
    mc.register_flattened_axes(mesh, JOINED, publish=publish)
    return mesh


def listed(*, publish):
    from megatron_fsdp.utils import get_mesh_names

    mesh = our_mesh(publish=publish)
    return get_mesh_names(mesh, only_submesh_dims=True), get_mesh_names(mesh)


def test_it_lists_native_dims_and_published_flattened_ones(pool):
    pool.restart()  # up to 2.9, torch's tables know equal meshes of earlier cases
    for native, every in pool.run(listed, publish=True):
        assert native == list(NAMES)
        assert set(every) == {*NAMES, *JOINED}


def test_it_lists_flattened_dims_that_were_not_published(pool):
    pool.restart()
    for _, every in pool.run(listed, publish=False):
        assert set(every) == {*NAMES, *JOINED}


def registered(shard, outer):
    """Return ranks and groups of every sub-mesh in its registry, and the ranks of its groups."""
    from megatron_fsdp import FSDPDistributedIndex

    mesh = our_mesh(publish=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from 2.10 on, torch warns of slicing by a flattened name
        index = FSDPDistributedIndex(
            mesh,
            dp_shard_dim=shard,
            dp_outer_dim=outer,
            tp_dim="tp",
            hybrid_fsdp_group=mc.get_group(mesh, "hsdp"),
        )
    found = {}
    for key, submesh in index.mesh_library.items():
        names = key[:-1]
        assert tuple(submesh.mesh_dim_names) == names
        assert index.get_submesh(names) is submesh
        groups = [dist.get_process_group_ranks(submesh.get_group(name)) for name in names]
        found[names] = submesh.mesh.tolist(), groups
    return found, dist.get_process_group_ranks(index.get_dp_group())


HYBRID = {("tp",), ("dp_shard",), ("dp_shard", "tp"), ("dp_outer", "dp_shard"), NAMES}


@pytest.mark.parametrize(
    ("shard", "outer", "submeshes"),
    [
        ("dp_shard", "dp_outer", HYBRID),
        ("hsdp", None, {("tp",), ("hsdp",), ("hsdp", "tp")}),
    ],
    ids=["hybrid", "sharded over a flattened dim"],
)
def test_its_registry_has_our_ranks_and_groups(pool, shard, outer, submeshes):
    ranks = np.arange(8).reshape(2, 2, 2)
    for rank, (found, data) in enumerate(pool.run(registered, shard, outer)):
        assert set(found) == submeshes
        for names, (grid, groups) in found.items():
            (mine,) = [
                part for part in cosets(ranks, *(AXES[name] for name in names)) if rank in part
            ]
            assert grid == mine.tolist()
            assert groups == [group_of(ranks, name, rank) for name in names]
        assert data == group_of(ranks, "hsdp", rank)


def group_of(ranks, name, rank):
    (mine,) = [part for part in cosets(ranks, AXES[name]) if rank in part]
    return mine.tolist()


def sharded():
    import megatron_fsdp

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        megatron_fsdp.fully_shard_model(
            nn.Sequential(nn.Linear(4, 4)),
            fsdp_unit_modules=[nn.Linear],
            device_mesh=our_mesh(publish=True),
            dp_shard_dim="dp_shard",
            tp_dim="tp",
        )


def refusal():
    with pytest.raises((RuntimeError, AssertionError)) as caught:
        sharded()
    return str(caught.value)


def test_sharding_a_model_ends_at_its_own_need_for_a_device(pool):
    for text in pool.run(refusal):
        assert "NVIDIA" in text or "CUDA" in text
