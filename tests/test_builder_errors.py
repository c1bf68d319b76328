"""What the builders refuse: before the first group, and with the whole product spelled out."""

import contextlib
import re
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat import mesh_utils
from meshcompat.testing import each_rank, fake_world, recorded_groups

FSDP2, MEGATRON, DDP = mc.FSDP2Config(), mc.MegatronFSDPConfig(), mc.DDPConfig()

REFUSED = [
    # strategy, sizes, other arguments, what the error says
    (
        object(),
        {},
        {},
        r"unknown strategy config .* one of \['DDPConfig', 'FSDP2Config', 'MegatronFSDPConfig'\]",
    ),
    (mc.FSDP2Config, {}, {}, "unknown strategy config"),
    (None, {}, {}, "unknown strategy config None"),
    (FSDP2, {"tp_size": 3}, {}, r"pp_size \* cp_size \* tp_size = 1 \* 1 \* 3 = 3"),
    (FSDP2, {"pp_size": 3, "tp_size": 2}, {}, r"world_size 8 .* 3 \* 1 \* 2 = 6"),
    (FSDP2, {"dp_size": 3, "tp_size": 2}, {}, r"dp_size \* .* = 3 \* 1 \* 1 \* 2 = 6"),
    (FSDP2, {"dp_size": 16}, {}, r"= 16 \* 1 \* 1 \* 1 = 16, but world_size is 8"),
    (FSDP2, {"dp_replicate_size": 3}, {}, "dp_replicate_size 3 does not divide dp_size 8"),
    (FSDP2, {"dp_replicate_size": 8}, {}, "8 leaves nothing of dp_size 8 to shard"),
    (FSDP2, {"dp_size": 2, "tp_size": 4, "dp_replicate_size": 4}, {}, "does not divide dp_size 2"),
    (FSDP2, {"ep_size": 3}, {}, r"dp_size \* cp_size \* tp_size = 8 \* 1 \* 1 = 8"),
    (FSDP2, {"ep_size": 8, "pp_size": 2}, {}, r"ep_size 8 does not divide .* = 4 \* 1 \* 1 = 4"),
    (FSDP2, {"tp_size": "2"}, {}, "tp_size is '2'"),
    (FSDP2, {"cp_size": 2.0}, {}, "cp_size is 2.0"),
    (FSDP2, {"ep_size": True}, {}, "ep_size is True"),
    (FSDP2, {}, {"world_size": 4}, r"mesh_shape .* = 4 ranks, but the world has 8"),
    (FSDP2, {}, {"world_size": "8"}, "world_size '8'"),
    (FSDP2, {}, {"world_size": 0}, "world_size 0"),
    (FSDP2, {}, {"timeout_minutes": 0}, "timeout_minutes 0"),
    (FSDP2, {}, {"timeout_minutes": float("inf")}, "timeout_minutes inf"),
    (FSDP2, {}, {"timeout_minutes": float("nan")}, "timeout_minutes nan"),
    (FSDP2, {}, {"timeout_minutes": "1"}, "timeout_minutes '1'"),
    (FSDP2, {}, {"ranks": [0, 1, 1]}, "repeat a rank"),
    (FSDP2, {}, {"ranks": [0, 8]}, r"\[0, 8\] do not all lie in a world of 8"),
    (FSDP2, {}, {"ranks": 4}, "ranks 4 must be an ordered list"),
    (FSDP2, {}, {"ranks": {0, 1}}, "must be an ordered list"),
    (FSDP2, {"tp_size": 4}, {"ranks": [0, 1, 2]}, r"world_size 3 .* 1 \* 1 \* 4 = 4"),
    (FSDP2, {}, {"ranks": [0, 1], "world_size": 4}, "world_size 4 is neither .* 8, nor .* 2"),
    (MEGATRON, {"pp_size": 2}, {}, "MegatronFSDPConfig cannot have pp_size 2"),
    (MEGATRON, {"ep_size": 2}, {}, "MegatronFSDPConfig cannot have ep_size 2"),
    (MEGATRON, {"dp_replicate_size": 2}, {}, "MegatronFSDPConfig cannot have dp_replicate_size 2"),
    (MEGATRON, {"cp_size": 3}, {}, r"cp_size \* tp_size = 3 \* 1 = 3"),
    (MEGATRON, {"dp_size": 2}, {}, r"dp_size \* cp_size \* tp_size = 2 \* 1 \* 1 = 2"),
    (MEGATRON, {}, {"timeout_minutes": -1}, "timeout_minutes -1"),
    (DDP, {"tp_size": 2}, {}, "DDPConfig cannot have tp_size 2"),
    (DDP, {"pp_size": 2}, {}, "DDPConfig cannot have pp_size 2"),
    (DDP, {"cp_size": 2}, {}, "DDPConfig cannot have cp_size 2"),
    (DDP, {"ep_size": 2}, {}, "DDPConfig cannot have ep_size 2"),
    (DDP, {"dp_replicate_size": 2}, {}, "DDPConfig cannot have dp_replicate_size 2"),
    (DDP, {"tp_size": "2"}, {}, "tp_size is '2'"),
]


@pytest.mark.parametrize(
    ("strategy", "sizes", "others", "text"), REFUSED, ids=[row[3] for row in REFUSED]
)
def test_what_cannot_be_is_a_value_error_and_nothing_is_made(strategy, sizes, others, text):
    with fake_world(8), recorded_groups() as groups:
        with pytest.raises(ValueError, match=text) as caught:
            mc.create_device_meshes(
                strategy, mc.ParallelismSizes(**sizes), **({"world_size": 8} | others)
            )
        assert caught.type is mc.MeshLayoutError
        assert groups == []


def test_an_object_that_lacks_a_size_is_refused():
    without = SimpleNamespace(dp_size=None, tp_size=1, pp_size=1, cp_size=1, ep_size=1)
    with fake_world(8), pytest.raises(mc.MeshLayoutError, match="dp_replicate_size is missing"):
        mc.create_fsdp2_device_mesh(without, world_size=8)


def test_a_dict_of_sizes_is_refused_with_the_class_to_use():
    with fake_world(8), pytest.raises(mc.MeshLayoutError, match=r"meshcompat\.ParallelismSizes"):
        mc.create_fsdp2_device_mesh({"tp_size": 2}, world_size=8)  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", [(2, 4), {"dp": 2, "tp": 4}, None])
def test_what_is_no_spec_is_refused_with_the_class_to_use(spec):
    with fake_world(8), pytest.raises(mc.MeshLayoutError, match=r"give a meshcompat\.MeshSpec"):
        mc.init_named_mesh(spec)


SPECS: dict[str, Any] = {
    "fewer names than sizes": ((2, 4), ("dp",), {}),
    "more names than sizes": ((8,), ("dp", "tp"), {}),
    "one string for two sizes": ((2, 4), "dp", {}),
    "a name twice": ((2, 4), ("dp", "dp"), {}),
    "a size below 1": ((8, 0), ("dp", "tp"), {}),
    "no size": ((), (), {}),
    "a flattened name that a dim has": ((2, 4), ("dp", "tp"), {"tp": ("dp", "tp")}),
    "an unknown dim to flatten": ((2, 4), ("dp", "tp"), {"x": ("dp", "cp")}),
    "no dim to flatten": ((2, 4), ("dp", "tp"), {"x": ()}),
    "dims to flatten out of order": ((2, 4), ("dp", "tp"), {"x": ("tp", "dp")}),
    "a dim to flatten twice": ((2, 4), ("dp", "tp"), {"x": ("dp", "dp")}),
    "no mapping": ((2, 4), ("dp", "tp"), [("x", ("dp", "tp"))]),
    "an empty flattened name": ((2, 4), ("dp", "tp"), {"": ("dp", "tp")}),
}


@pytest.mark.parametrize("fault", SPECS)
def test_a_spec_that_contradicts_itself_is_refused(fault):
    spec = mc.MeshSpec(*SPECS[fault])
    with fake_world(8), recorded_groups() as groups:
        for refuse in (mc.init_named_mesh, mesh_utils._validate_mesh_spec):  # noqa: SLF001  (public in the drop-in)
            with pytest.raises(mc.MeshLayoutError):
                refuse(spec)
        assert groups == []


def test_a_spec_may_name_one_dim_to_flatten_by_a_string():
    with fake_world(8):
        flattened: Any = {"shard": "tp"}
        mesh = mc.init_named_mesh(mc.MeshSpec((2, 4), ("dp", "tp"), flattened))
        assert mc.get_ranks(mesh, "shard") == [0, 1, 2, 3]


REGISTERED: dict[str, Any] = {
    "an unknown dim": ({"x": ("pp", "tp"), "y": ("dp", "cp")}, mc.MeshDimError),
    "a dim's name": ({"x": ("pp", "tp"), "tp": ("dp", "tp")}, mc.MeshLayoutError),
    "dims out of order": ({"x": ("pp", "tp"), "y": ("tp", "dp")}, mc.MeshLayoutError),
    "a name of other ranks": ({"x": ("pp", "tp"), "taken": ("dp", "tp")}, mc.MeshLayoutError),
    "no mapping": ([("x", ("pp", "tp"))], mc.MeshLayoutError),
}


@pytest.mark.parametrize("fault", REGISTERED)
def test_registering_makes_all_axes_or_none(fault):
    axes, error = REGISTERED[fault]
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
        mc.register_flattened_axes(mesh, {"taken": ("pp", "dp")})
        with recorded_groups() as groups, pytest.raises(error):
            mc.register_flattened_axes(mesh, axes)
        assert groups == []
        assert tuple(mc.get_flattened_meshes(mesh)) == ("taken",)


def test_registering_the_same_again_makes_nothing():
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
        mc.register_flattened_axes(mesh, {"x": ("pp", "tp")}, timeout_minutes=3)
        flat = mc.get_flat_mesh(mesh, "x")
        with recorded_groups() as groups:
            mc.register_flattened_axes(mesh, {"x": ("pp", "tp")})
            mc.register_flattened_axes(mesh, {"x": ("pp", "tp")}, timeout_minutes=3)
            with pytest.raises(mc.MeshLayoutError, match="another backend, options or timeout"):
                mc.register_flattened_axes(mesh, {"x": ("pp", "tp")}, timeout_minutes=4)
        assert groups == []
        assert mc.get_flat_mesh(mesh, "x") is flat


def sliced(mesh, name):
    """Return what torch's own slicing gives; from 2.10 it warns of a removal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mesh[name].mesh.tolist()


def test_a_published_axis_is_found_by_torchs_own_slicing():
    for rank in each_rank(8):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
        mc.register_flattened_axes(mesh, {"x": ("dp", "tp"), "tp": ("tp",)}, publish=True)
        mc.register_flattened_axes(mesh, {"x": ("dp", "tp")}, publish=True)
        first = rank // 4 * 4
        assert sliced(mesh, "x") == [first, first + 1, first + 2, first + 3]


def test_publishing_dims_that_lie_apart_never_gives_a_wrong_slice():
    for rank in each_rank(8):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
        first = rank // 2 % 2 * 2
        right = [first, first + 1, first + 4, first + 5]
        with recorded_groups() as groups, contextlib.suppress(mc.MeshLayoutError):
            mc.register_flattened_axes(mesh, {"apart": ("pp", "tp")}, publish=True)
        assert bool(groups) == mc.has_axis(mesh, "apart")
        with contextlib.suppress(KeyError, NotImplementedError):  # what torch cannot slice
            assert sliced(mesh, "apart") == right


MOE: dict[str, Any] = {
    "sizes that do not multiply up": (
        {"ep_shard_size": 3, "ep_size": 2},
        r"ep_shard_size \* ep_size = 3 \* 2 = 6, but mesh dims .* have 4 ranks",
    ),
    "another number of stages": ({"ep_shard_size": 2, "ep_size": 2, "pp_size": 4}, "has 2 pipe"),
    "other ranks": ({"ep_shard_size": 2, "ep_size": 2, "ranks": [0]}, r"ranks \[0\] are not"),
    "a timeout of no time": (
        {"ep_shard_size": 2, "ep_size": 2, "timeout_minutes": 0},
        "timeout_minutes 0",
    ),
}


@pytest.mark.parametrize("fault", MOE)
def test_an_expert_mesh_that_does_not_fit_is_refused(fault):
    arguments, text = MOE[fault]
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("pp", "dp"))
        with recorded_groups() as groups, pytest.raises(mc.MeshLayoutError, match=text):
            mc.create_moe_mesh(mesh, **arguments)
        assert groups == []


@pytest.mark.parametrize("names", [("pp",), None])
def test_a_mesh_with_no_dim_for_experts_is_refused(names):
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (8,), mesh_dim_names=names)
        with pytest.raises(mc.MeshLayoutError, match="no named mesh dims beside 'pp'"):
            mc.create_moe_mesh(mesh, ep_shard_size=1, ep_size=1)


def test_an_expert_dim_whose_group_would_be_sorted_is_refused():
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        turned = mc.get_submesh(mesh, ("tp", "dp"))
        with pytest.raises(mc.MeshLayoutError, match="do not ascend"):
            mc.create_moe_mesh(turned, ep_shard_size=1, ep_size=8)
        experts = mc.create_moe_mesh(turned, ep_shard_size=4, ep_size=2)
        assert experts.mesh.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_an_expert_mesh_takes_the_stages_that_pp_leaves():
    for rank in each_rank(8):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("dp", "pp", "tp"))
        ranks: Any = torch.arange(8)
        experts = mc.create_moe_mesh(mesh, ep_shard_size=2, ep_size=2, pp_size=2, ranks=ranks)
        first = rank // 2 % 2 * 2
        assert experts.mesh.tolist() == [[first, first + 1], [first + 4, first + 5]]
        assert mc.create_moe_mesh(mesh, ep_shard_size=2, ep_size=2) is experts


def test_ring_and_ulysses_split_cp():
    for rank in each_rank(8):
        mesh = mc.init_device_mesh("cpu", (4, 2), mesh_dim_names=("cp", "tp"))
        split = mc.create_ring_ulysses_mesh(mesh, ring_degree=2, ulysses_degree=2)
        first = rank % 2
        assert split.mesh_dim_names == ("ring", "ulysses")
        assert split.mesh.tolist() == [[first, first + 2], [first + 4, first + 6]]
        with pytest.raises(mc.MeshLayoutError, match=re.escape("2 * 3 = 6")):
            mc.create_ring_ulysses_mesh(mesh, ring_degree=2, ulysses_degree=3)
        without = mc.init_device_mesh("cpu", (8,), mesh_dim_names=("tp",))
        with pytest.raises(mc.MeshDimError, match="'cp'"):
            mc.create_ring_ulysses_mesh(without, ring_degree=2, ulysses_degree=4)


@pytest.mark.parametrize(
    ("backend", "has_cuda", "device_type"),
    [
        ("nccl", True, "cuda"),
        ("cpu:gloo,cuda:nccl", True, "cuda"),
        ("undefined", True, "cuda"),
        ("gloo", True, "cpu"),
        ("nccl", False, "cpu"),
        ("gloo", False, "cpu"),
        (None, True, "cuda"),
        (None, False, "cpu"),
        ("accl", True, "acc"),
        ("cpu:gloo,acc:accl", False, "acc"),
    ],
)
def test_the_device_type_is_that_of_the_default_group(monkeypatch, backend, has_cuda, device_type):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    acc = SimpleNamespace(is_available=lambda: "acc" in device_type)
    monkeypatch.setattr(torch, "acc", acc, raising=False)
    monkeypatch.setitem(dist.Backend.default_device_backend_map, "acc", "accl")
    monkeypatch.setattr(dist, "is_initialized", lambda: backend is not None)
    monkeypatch.setattr(dist, "get_backend", lambda: backend)
    assert mesh_utils._mesh_device_type() == device_type  # noqa: SLF001  (public in the drop-in)
