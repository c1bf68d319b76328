# ruff: noqa: SLF001  (the drop-in's public names begin with an underscore)
"""The drop-in: the names, parameters and answers of the module that it stands in for."""

import enum
import inspect
import typing
from dataclasses import dataclass
from datetime import timedelta

import pytest

import meshcompat as mc
from meshcompat import _eras, mesh_utils
from meshcompat.testing import each_rank, fake_world, recorded_groups
from tests.support import native

SIGNATURES = {
    "_MeshSpec": "shape, axes, flattened_axes=...",
    "_create_device_meshes": (
        "strategy_config, parallelism, *, world_size, timeout=None, device_type=None, ranks=None, "
        "timeout_minutes=None"
    ),
    "_create_fsdp2_device_mesh": (
        "parallelism, *, world_size, timeout=None, device_type=None, ranks=None, timeout_minutes=None"
    ),
    "_create_megatron_fsdp_device_mesh": (
        "parallelism, *, world_size, timeout=None, device_type=None, ranks=None, timeout_minutes=None"
    ),
    "_create_moe_mesh": (
        "device_mesh, *, ep_shard_size, ep_size, pp_size=1, timeout=None, ranks=None, "
        "timeout_minutes=None"
    ),
    "_degree": "value",
    "_infer_dp_size": "dp_size, *, world_size, non_dp_size, expression, factors",
    "_init_named_mesh": "spec, *, timeout=None, device_type=None, ranks=None, timeout_minutes=None",
    "_mesh_device_type": "",
    "_register_flattened_axes": (
        "device_mesh, flattened_axes, *, timeout_minutes=None, publish=True"
    ),
    "_require_size_one": "strategy_name, size, feature_name",
    "_unflatten_compat": "flat_mesh, axis, sizes, names, *, timeout_minutes=None",
    "_validate_mesh_spec": "spec",
    "create_ring_ulysses_mesh": "device_mesh, *, ring_degree, ulysses_degree",
    "get_flat_mesh": "device_mesh, name",
    "get_fsdp_dp_mesh": (
        "device_mesh, dp_replicate_name='dp_replicate', dp_shard_cp_name='dp_shard_cp', *, "
        "native_dims=False"
    ),
    "get_submesh": "device_mesh, names",
}


def written(signature):
    """Return parameters and defaults as they are written, without types."""
    parts = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        default = parameter.default
        if default is parameter.empty:
            parts.append(parameter.name)
        else:
            shown = repr(default) if isinstance(default, (str, int, type(None))) else "..."
            parts.append(f"{parameter.name}={shown}")
    return ", ".join(parts)


GLOBALS = (
    "DDPConfig",
    "DistributedStrategyConfig",
    "FSDP2Config",
    "MegatronFSDPConfig",
    "MeshAxisName",
    "ParallelismSizes",
)


def test_it_has_these_names_and_no_others():
    assert sorted(mesh_utils.__all__) == sorted((*SIGNATURES, *GLOBALS))
    assert all(hasattr(mesh_utils, name) for name in mesh_utils.__all__)


@pytest.mark.parametrize("name", SIGNATURES)
def test_its_types_can_be_read(name):
    asked = getattr(mesh_utils, name)
    assert set(typing.get_type_hints(asked)) >= set(inspect.signature(asked).parameters)


@pytest.mark.parametrize("name", SIGNATURES)
def test_it_has_these_parameters(name):
    assert written(inspect.signature(getattr(mesh_utils, name))) == SIGNATURES[name]


def test_its_functions_are_those_of_meshcompat():
    assert mesh_utils._MeshSpec is mc.MeshSpec
    assert mesh_utils.create_ring_ulysses_mesh is mc.create_ring_ulysses_mesh
    assert mesh_utils._create_moe_mesh is mc.create_moe_mesh
    for name in (
        "create_device_meshes",
        "create_fsdp2_device_mesh",
        "create_megatron_fsdp_device_mesh",
        "init_named_mesh",
    ):
        assert inspect.unwrap(getattr(mesh_utils, f"_{name}")) is getattr(mc, name)


SIZES = mc.ParallelismSizes(dp_replicate_size=2, cp_size=2)


def registered(**options):
    mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "cp"))
    mesh_utils._register_flattened_axes(mesh, {"dp_cp": ("dp", "cp")}, **options)
    return mesh


BUILDERS = {
    "_create_device_meshes": lambda: mesh_utils._create_device_meshes(
        mc.FSDP2Config(), SIZES, world_size=8
    )[0],
    "_create_fsdp2_device_mesh": lambda: mesh_utils._create_fsdp2_device_mesh(SIZES, world_size=8)[
        0
    ],
    "_create_megatron_fsdp_device_mesh": lambda: mesh_utils._create_megatron_fsdp_device_mesh(
        mc.ParallelismSizes(cp_size=2), world_size=8
    ),
    "_init_named_mesh": lambda: mesh_utils._init_named_mesh(
        mc.MeshSpec((2, 4), ("dp", "cp"), {"dp_cp": ("dp", "cp")})
    ),
    "_register_flattened_axes": registered,
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_torch_finds_what_its_builders_flattened(build):
    with fake_world(8, rank=3):
        mesh = build()
        names = tuple(mc.get_flattened_meshes(mesh))
        assert set(native.flattened_names(mesh)) == set(names)
        assert native.pick(mesh, names[0]) == mc.get_flat_mesh(mesh, names[0])


def test_what_is_published_stays_as_it_is():
    with fake_world(8, rank=3):
        mesh = registered()
        before = [id(flat) for flat in _eras.primitives().native_flattened(mesh).values()]
        mesh_utils._register_flattened_axes(mesh, {"dp_cp": ("dp", "cp")})
        assert [id(flat) for flat in _eras.primitives().native_flattened(mesh).values()] == before


def test_what_is_not_to_be_published_is_where_meshcompat_leaves_it():
    with fake_world(8, rank=3):
        twin = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "cp"))
        mc.register_flattened_axes(twin, {"dp_cp": ("dp", "cp")})
        mesh = registered(publish=False)
        assert native.flattened_names(mesh) == native.flattened_names(twin)


def test_a_strategy_without_meshes_publishes_nothing():
    with fake_world(8):
        sizes = mc.ParallelismSizes()
        assert mesh_utils._create_device_meshes(mc.DDPConfig(), sizes, world_size=8) == (None, None)


@pytest.mark.parametrize(
    ("value", "degree"), [(4, 4), (1, 1), (0, 1), (-2, 1), (None, 1), ("2", 1), (True, 1)]
)
def test_a_degree_is_a_positive_int_else_one(value, degree):
    assert mesh_utils._degree(value) == degree


def test_a_given_dp_size_is_taken_as_it_is():
    for dp_size in (2, 3):
        found = mesh_utils._infer_dp_size(
            dp_size, world_size=8, non_dp_size=4, expression="tp * cp", factors=(2, 2)
        )
        assert found == dp_size


@pytest.mark.parametrize("dp_size", [None, 0, -1])
def test_no_dp_size_is_inferred_from_the_world(dp_size):
    found = mesh_utils._infer_dp_size(
        dp_size, world_size=24, non_dp_size=6, expression="tp * cp", factors=(3, 2)
    )
    assert found == 4


def test_a_world_that_does_not_divide_is_refused_with_the_product():
    with pytest.raises(ValueError, match=r"world_size 8 .* tp \* cp = 3 \* 2 = 6"):
        mesh_utils._infer_dp_size(
            None, world_size=8, non_dp_size=6, expression="tp * cp", factors=(3, 2)
        )


def test_only_a_size_above_one_is_refused():
    for size in (None, 0, -1, 1):
        mesh_utils._require_size_one("ddp", size, "tensor parallelism")
    with pytest.raises(ValueError, match="ddp cannot have tensor parallelism 2"):
        mesh_utils._require_size_one("ddp", 2, "tensor parallelism")


def test_unflatten_compat_splits_per_pipeline_stage_with_a_timeout_in_minutes():
    for rank in each_rank(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("pp", "dp"))
        with recorded_groups() as groups:
            flat = mesh_utils.get_flat_mesh(mesh, "dp")
            split = mesh_utils._unflatten_compat(
                flat, 0, (2, 2), ("ep_shard", "ep"), timeout_minutes=5
            )
        first = rank // 4 * 4
        assert split.mesh.tolist() == [[first, first + 1], [first + 2, first + 3]]
        assert {record.timeout for record in groups} == {timedelta(minutes=5)}


class MeshAxisName(str, enum.Enum):
    """What a framework that moves over has of its own."""

    DP_REPLICATE, DP_SHARD_CP, TP = "dp_replicate", "dp_shard_cp", "tp"


@dataclass
class ParallelismSizes:
    dp_size: int | None = None
    dp_replicate_size: int | None = None
    tp_size: int = 1
    pp_size: int = 1
    cp_size: int = 1
    ep_size: int = 1


@dataclass
class FSDP2Config:
    sequence_parallel: bool = False


def test_a_framework_moves_over_by_its_import():
    with fake_world(16, rank=3):
        sizes = ParallelismSizes(dp_replicate_size=2, tp_size=2, cp_size=2, ep_size=8)
        mesh, experts = mesh_utils._create_device_meshes(FSDP2Config(), sizes, world_size=16)
        hsdp = mesh_utils.get_submesh(mesh, (MeshAxisName.DP_REPLICATE, MeshAxisName.DP_SHARD_CP))
        assert hsdp.mesh.tolist() == [[1, 3, 5, 7], [9, 11, 13, 15]]
        assert mesh_utils.get_flat_mesh(hsdp, MeshAxisName.TP).mesh.tolist() == [2, 3]
        again = mesh_utils.get_fsdp_dp_mesh(
            mesh, MeshAxisName.DP_REPLICATE, MeshAxisName.DP_SHARD_CP
        )
        assert again is hsdp
        assert experts.mesh.tolist() == [[*range(8)], [*range(8, 16)]]
