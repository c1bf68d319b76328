"""Meshes from parallelism sizes: every rank of many worlds against plain enumeration."""

import contextlib
import enum
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat.testing import each_rank, fake_world, on_every_rank, recorded_groups
from tests.support.builder_cases import (
    FLATTENED,
    NATIVE,
    Sizes,
    combinations,
    expected,
    new_groups,
    seen,
)

AT_MOST = dict.fromkeys((1, 2, 3, 4, 5, 6, 7), 60) | {8: 44, 9: 12, 10: 12, 12: 12, 16: 6}
AT_MOST |= {24: 3, 32: 2, 48: 1, 64: 2}
TABLE = {world_size: combinations(world_size, count) for world_size, count in AT_MOST.items()}


def check_all_ranks(table):
    """Compare meshes, groups, and the groups that were made, on every rank of one world."""
    (world_size,) = {sizes.world_size for sizes in table}
    made = {sizes: new_groups(sizes) for sizes in table}
    orders = {}
    for rank in each_rank(world_size):
        with recorded_groups() as records:
            for sizes in table:
                before = len(records)
                meshes = mc.create_fsdp2_device_mesh(sizes.parallelism, world_size=world_size)
                order = [record.ranks for record in records[before:]]
                assert seen(*meshes) == expected(sizes, rank), (sizes, rank)
                assert sorted(order) == made[sizes], (sizes, rank)
                assert orders.setdefault(sizes, order) == order, (sizes, rank)


@pytest.mark.parametrize("world_size", TABLE)
def test_all_ranks_agree_with_plain_enumeration(world_size):
    check_all_ranks(TABLE[world_size])


@pytest.mark.soak
@pytest.mark.parametrize("world_size", [16, 24, 48, 64])
def test_all_ranks_agree_with_plain_enumeration_for_every_combination(world_size):
    check_all_ranks(combinations(world_size))


def test_the_table_has_200_combinations_with_and_without_every_kind_of_parallelism():
    table = [sizes for rows in TABLE.values() for sizes in rows]
    assert len(set(table)) >= 200
    for column in ("pp", "replicate", "shard", "cp", "tp", "ep"):
        used = {getattr(sizes, column) for sizes in table}
        assert 1 in used
        assert len(used) > 3


def test_all_dims_of_the_root_have_names_shape_and_root():
    with fake_world(16, rank=9):
        sizes = mc.ParallelismSizes(dp_replicate_size=2, pp_size=2, cp_size=2, ep_size=4)
        mesh, experts = mc.create_fsdp2_device_mesh(sizes, world_size=16)
        assert mesh.mesh_dim_names == NATIVE
        assert tuple(mesh.shape) == (2, 2, 2, 2, 1)
        assert tuple(mc.get_flattened_meshes(mesh)) == tuple(FLATTENED)
        assert experts.mesh_dim_names == ("ep_shard", "ep")
        assert mc.same_root(mesh, experts)
        assert mc.get_fsdp_dp_mesh(mesh).mesh_dim_names == ("dp_replicate", "dp_shard_cp")


@pytest.mark.parametrize("absent", [None, 0, -1])
def test_sizes_that_are_none_or_not_positive_mean_one(absent):
    with fake_world(8):
        sizes = mc.ParallelismSizes(
            dp_size=absent,
            dp_replicate_size=absent,
            tp_size=absent,
            pp_size=absent,
            cp_size=absent,
            ep_size=absent,
        )
        mesh, experts = mc.create_fsdp2_device_mesh(sizes, world_size=8)
        assert tuple(mesh.shape) == (1, 1, 8, 1, 1)
        assert experts is None
        assert tuple(mc.create_megatron_fsdp_device_mesh(sizes, world_size=8).shape) == (8, 1, 1)


@pytest.mark.parametrize(("ep", "shape"), [(2, (4, 2)), (4, (2, 4)), (8, (1, 8))])
def test_experts_take_what_a_pipeline_stage_has(ep, shape):
    with fake_world(16):
        sizes = mc.ParallelismSizes(pp_size=2, tp_size=2, ep_size=ep)
        _, experts = mc.create_fsdp2_device_mesh(sizes, world_size=16)
        assert tuple(experts.shape) == shape


@pytest.mark.parametrize("cp", [1, 2])
@pytest.mark.parametrize("tp", [1, 4])
def test_megatron_fsdp_has_three_dims_and_dp_cp_only_with_context_parallelism(cp, tp):
    def facts():
        sizes = mc.ParallelismSizes(cp_size=cp, tp_size=tp)
        mesh = mc.create_megatron_fsdp_device_mesh(sizes, world_size=8)
        names = mc.get_axis_names(mesh)
        return mesh.mesh.tolist(), {name: mc.get_ranks(mesh, name) for name in names}

    grid = np.arange(8).reshape(-1, cp, tp)
    for rank, (ranks, found) in enumerate(on_every_rank(8, facts)):
        dp, c, t = (int(i) for i in np.argwhere(grid == rank)[0])
        lines = {"dp": grid[:, c, t], "cp": grid[dp, :, t], "tp": grid[dp, c, :]}
        if cp > 1:
            lines["dp_cp"] = grid[:, :, t].flatten()
        assert ranks == grid.tolist()
        assert found == {name: line.tolist() for name, line in lines.items()}


def test_ddp_has_no_mesh():
    with fake_world(8), recorded_groups() as groups:
        sizes = mc.ParallelismSizes()
        assert mc.create_device_meshes(mc.DDPConfig(), sizes, world_size=8) == (None, None)
    assert groups == []


TIMEOUT_CALLS = {
    "fsdp2": lambda: mc.create_device_meshes(
        mc.FSDP2Config(),
        mc.ParallelismSizes(dp_replicate_size=2, pp_size=2, cp_size=2, ep_size=4),
        world_size=16,
        timeout_minutes=7,
    ),
    "fsdp2 whose experts span the world": lambda: mc.create_fsdp2_device_mesh(
        mc.ParallelismSizes(ep_size=16), world_size=16, timeout_minutes=7
    ),
    "megatron": lambda: mc.create_device_meshes(
        mc.MegatronFSDPConfig(),
        mc.ParallelismSizes(cp_size=2),
        world_size=16,
        timeout_minutes=7.0,
    ),
    "a spec, and what is made of its mesh later": lambda: mc.create_ring_ulysses_mesh(
        mc.init_named_mesh(
            mc.MeshSpec((2, 8), ("dp", "cp"), {"all": ("dp", "cp")}), timeout_minutes=7
        ),
        ring_degree=2,
        ulysses_degree=4,
    ),
}


@pytest.mark.parametrize("call", TIMEOUT_CALLS)
def test_the_timeout_reaches_every_group(call):
    with fake_world(16), recorded_groups() as groups:
        TIMEOUT_CALLS[call]()
    assert groups
    assert {record.timeout for record in groups} == {timedelta(minutes=7)}


def test_no_dim_keeps_the_default_group_when_a_timeout_is_asked_for():
    with fake_world(8):
        mesh, experts = mc.create_fsdp2_device_mesh(
            mc.ParallelismSizes(ep_size=8), world_size=8, timeout_minutes=1
        )
        for dims, names in ((mesh, ("dp_shard", "dp", "dp_cp")), (experts, ("ep",))):
            for name in names:
                assert mc.get_group(dims, name) is not dist.group.WORLD


def test_the_timeout_of_flattened_and_expert_dims_can_be_their_own():
    with fake_world(8), recorded_groups() as groups:
        mesh = mc.init_named_mesh(mc.MeshSpec((2, 2, 2), ("pp", "dp", "tp")), timeout_minutes=1)
        made = len(groups)
        mc.register_flattened_axes(mesh, {"x": ("pp", "tp")}, timeout_minutes=2)
        mc.create_moe_mesh(mesh, ep_shard_size=2, ep_size=2, timeout_minutes=3)
    minutes = [record.timeout.total_seconds() / 60 for record in groups]
    assert set(minutes[:made]) == {1}
    assert set(minutes[made:]) == {2, 3}


SIDE_BY_SIDE = {"halves": (range(4), range(4, 8)), "odd and even": ([1, 3, 5, 7], [0, 2, 4, 6])}


@pytest.mark.parametrize("split", SIDE_BY_SIDE)
@pytest.mark.parametrize("world_size", [4, 8], ids=["size of the part", "size of the world"])
def test_two_models_live_side_by_side_on_disjoint_ranks(split, world_size):
    sizes = Sizes(pp=1, replicate=1, shard=2, cp=1, tp=2, ep=2, leaves_dp_out=True)
    for rank in each_rank(8):
        for ranks in SIDE_BY_SIDE[split]:
            mesh, experts = mc.create_fsdp2_device_mesh(
                sizes.parallelism, world_size=world_size, ranks=ranks
            )
            assert seen(mesh, experts) == expected(sizes, rank, ranks)
            assert mc.is_member(mesh) == mc.is_member(experts) == (rank in ranks)


def test_a_rank_outside_takes_part_and_has_no_group():
    for rank in each_rank(6):
        mesh, experts = mc.create_fsdp2_device_mesh(
            mc.ParallelismSizes(tp_size=2, ep_size=2), world_size=4, ranks=[2, 3, 4, 5]
        )
        if rank < 2:
            assert mesh.get_coordinate() is None
            assert mc.get_flat_mesh(mesh, "dp_cp").mesh.tolist() == [2, 4]
            for outside, name in ((mesh, "tp"), (mesh, "dp"), (experts, "ep")):
                with pytest.raises(mc.NotInMeshError):
                    mc.get_group(outside, name)


@pytest.mark.parametrize(
    ("parallelism", "ranks"),
    [
        pytest.param({"tp_size": 2}, [3, 2, 1, 0], id="every dim descends"),
        pytest.param({"cp_size": 2}, [0, 2, 1, 3], id="only a flattened dim descends"),
        pytest.param({"tp_size": 2, "ep_size": 4}, [0, 2, 1, 3], id="only an expert dim descends"),
    ],
)
def test_ranks_that_descend_are_kept_in_order_or_refused_with_nothing_made(parallelism, ranks):
    sizes = mc.ParallelismSizes(**parallelism)
    for _ in each_rank(4):
        meshes = None
        with recorded_groups() as groups, contextlib.suppress(mc.MeshLayoutError):
            meshes = mc.create_fsdp2_device_mesh(sizes, world_size=4, ranks=ranks)
        if meshes is None:
            assert groups == []
        else:
            seen(*meshes)  # it compares local ranks with those in the group


def test_ranks_come_in_any_ordered_form():
    forms: list[Any] = [
        [4, 5, 6, 7],
        (4, 5, 6, 7),
        range(4, 8),
        torch.arange(4, 8),
        np.arange(4, 8),
    ]
    with fake_world(8, rank=4):
        for ranks in (*forms, iter([4, 5, 6, 7])):
            mesh, _ = mc.create_fsdp2_device_mesh(
                mc.ParallelismSizes(tp_size=2, ep_size=2), world_size=4, ranks=ranks
            )
            assert mesh.mesh.flatten().tolist() == [4, 5, 6, 7]


class Axis(str, enum.Enum):
    """A framework's own names: formatting one gives ``Axis.TP``, not ``tp``."""

    PP, TP, DP, DP_TP = "pp", "tp", "dp", "dp_tp"


class FSDP2Config:
    """A framework's own strategy class."""


class TunedFSDP2Config(FSDP2Config):
    """And a class derived from it."""


class MegatronFSDPConfig:
    pass


class DDPConfig:
    pass


@pytest.mark.parametrize("config", [FSDP2Config, TunedFSDP2Config, MegatronFSDPConfig, DDPConfig])
def test_a_frameworks_own_config_and_sizes_will_do(config):
    own = SimpleNamespace(
        dp_size=None, dp_replicate_size=None, tp_size=np.int64(2), pp_size=1, cp_size=1, ep_size=1
    )
    if config is DDPConfig:
        own.tp_size = 1
    with fake_world(8):
        mesh, experts = mc.create_device_meshes(config(), own, world_size=8)
        assert experts is None
        assert mesh is None or mc.get_axis_size(mesh, "tp") == 2


def test_a_frameworks_own_names_come_back_as_plain_strings():
    with fake_world(8):
        spec = mc.MeshSpec((2, 2, 2), (Axis.PP, Axis.DP, Axis.TP), {Axis.DP_TP: (Axis.DP, Axis.TP)})
        mesh = mc.init_named_mesh(spec)
        flat = mc.get_flat_mesh(mesh, Axis.DP_TP)
        both = mc.get_submesh(mesh, [Axis.PP, Axis.DP_TP])
        assert both is mc.get_submesh(mesh, ("pp", "dp_tp"))
        names = [*mesh.mesh_dim_names, *flat.mesh_dim_names, *both.mesh_dim_names]
        names += [*mc.get_axis_names(mesh), *mc.get_flattened_meshes(mesh)]
        experts = mc.create_moe_mesh(mesh, ep_shard_size=2, ep_size=2)
        names += experts.mesh_dim_names
        assert {type(name) for name in names} == {str}


def test_names_of_meshcompat_format_as_plain_strings():
    assert [f"{name}" for name in mc.MeshAxisName] == [str(name) for name in mc.MeshAxisName]
    assert set(mc.MeshAxisName) == {*NATIVE, *FLATTENED, "ep", "ep_shard"}
