"""Drop-in for a framework's own ``mesh_utils``: changing one import line is the migration.

Names and parameters are those of NeMo Automodel's
``nemo_automodel.components.distributed.mesh_utils``; the functions are the builders and
selectors of meshcompat. A framework's own strategy classes, sizes and ``MeshAxisName`` will do:
a strategy is told by its class name, sizes by their attributes, names by their text.

The rest of such a framework looks for flattened meshes by itself: in torch's own registry from
2.10 on, by ``mesh["dp_cp"]`` or ``_flatten_mapping``, and up to 2.9 in an attribute
``_flatten_mapping`` of the root mesh object, where it writes them. So the builders of this module
write them there, and the look-ups find what the framework's own module wrote. From torch 2.11 to
2.15 DTensor's redistribute of uneven shards then returns wrong values, as it does after torch's
own flatten: https://github.com/pytorch/pytorch/pull/194457. With `meshcompat.create_device_meshes`
and its parts it does not.

The annotations are objects and not strings, so that ``typing.get_type_hints`` reads them.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _select
from meshcompat._builders import framework, named_meshes, strategies
from meshcompat._builders.named_meshes import create_moe_mesh as _create_moe_mesh
from meshcompat._builders.named_meshes import create_ring_ulysses_mesh
from meshcompat._builders.named_meshes import validate_mesh_spec as _validate_mesh_spec
from meshcompat._builders.parallelism import (
    DDPConfig,
    FSDP2Config,
    MegatronFSDPConfig,
    MeshAxisName,
    ParallelismSizes,
)
from meshcompat._builders.parallelism import MeshSpec as _MeshSpec
from meshcompat._builders.sizes import degree as _degree
from meshcompat._builders.sizes import infer_dp_size as _infer_dp_size
from meshcompat._builders.sizes import minutes as _minutes
from meshcompat._builders.sizes import require_size_one as _require_size_one
from meshcompat._devices import mesh_device_type as _mesh_device_type
from meshcompat._eras import doubles
from meshcompat._eras.compiled import object_when_compiled
from meshcompat._errors import MeshDimError, MeshLayoutError
from meshcompat._mesh.links import recall
from meshcompat._reshape import unflatten as _unflatten

__all__ = [
    "DDPConfig",
    "DistributedStrategyConfig",
    "FSDP2Config",
    "MegatronFSDPConfig",
    "MeshAxisName",
    "ParallelismSizes",
    "_MeshSpec",
    "_create_device_meshes",
    "_create_fsdp2_device_mesh",
    "_create_megatron_fsdp_device_mesh",
    "_create_moe_mesh",
    "_degree",
    "_infer_dp_size",
    "_init_named_mesh",
    "_mesh_device_type",
    "_register_flattened_axes",
    "_require_size_one",
    "_unflatten_compat",
    "_validate_mesh_spec",
    "create_ring_ulysses_mesh",
    "get_flat_mesh",
    "get_fsdp_dp_mesh",
    "get_submesh",
]


P = ParamSpec("P")
Made = TypeVar("Made")

DistributedStrategyConfig = FSDP2Config | MegatronFSDPConfig | DDPConfig
"""The strategies, as the framework's own module has them among its names."""


@object_when_compiled
def get_flat_mesh(device_mesh: DeviceMesh, name: str) -> DeviceMesh:
    """Return the 1-D mesh of one mesh dim: `meshcompat.get_flat_mesh`.

    Raises:
        MeshDimError: The name is unknown.

    Collective:
        No, and no process group is made.
    """
    key: object = name  # what `get_submesh` keeps under a tuple of names is no answer here
    known = recall(device_mesh, key) if isinstance(key, str) else None
    if known is not None:
        return known
    if doubles.is_double(device_mesh):
        double: DeviceMesh = doubles.flat_of_double(device_mesh, name)
        return double
    framework.take_up(device_mesh)
    with _key_errors():
        return _select.get_flat_mesh(device_mesh, name)


@object_when_compiled
def get_submesh(device_mesh: DeviceMesh, names: str | Sequence[str]) -> DeviceMesh:
    """Return the mesh of several mesh dims, native or flattened: `meshcompat.get_submesh`.

    Raises:
        MeshDimError: A name is unknown, or the named dims have no mesh together.

    Collective:
        No, and no process group is made.
    """
    known = recall(device_mesh, names)
    if known is not None:
        return known
    if doubles.is_double(device_mesh):
        asked = (names,) if isinstance(names, str) else tuple(names)
        double: DeviceMesh = doubles.part_of_double(device_mesh, asked)
        return double
    framework.take_up(device_mesh)
    with _key_errors():
        return _select.get_submesh(device_mesh, names)


@object_when_compiled
def get_fsdp_dp_mesh(
    device_mesh: DeviceMesh,
    dp_replicate_name: str = "dp_replicate",
    dp_shard_cp_name: str = "dp_shard_cp",
    *,
    native_dims: bool = False,
) -> DeviceMesh:
    """Return the mesh to hand to FSDP2: `meshcompat.get_fsdp_dp_mesh`.

    Raises:
        MeshDimError: A name is unknown, or the named dims have no mesh together.

    Collective:
        No, and no process group is made.
    """
    if doubles.is_double(device_mesh):
        names = doubles.fsdp_names_of_double(device_mesh, dp_replicate_name, dp_shard_cp_name)
        return get_submesh(device_mesh, names)
    framework.take_up(device_mesh)
    with _key_errors():
        return _select.get_fsdp_dp_mesh(
            device_mesh, dp_replicate_name, dp_shard_cp_name, native_dims=native_dims
        )


def _publishing(build: Callable[P, Made]) -> Callable[P, Made]:
    """Return *build* with what it flattened written where the framework looks for it."""

    @functools.wraps(build)
    def builder(*args: P.args, **kwargs: P.kwargs) -> Made:
        made = build(*args, **kwargs)
        root: Any = made[0] if isinstance(made, tuple) else made
        if root is not None:
            framework.publish(root)
        return made

    return builder


_create_device_meshes = _publishing(strategies.create_device_meshes)
_create_fsdp2_device_mesh = _publishing(strategies.create_fsdp2_device_mesh)
_create_megatron_fsdp_device_mesh = _publishing(strategies.create_megatron_fsdp_device_mesh)
_init_named_mesh = _publishing(named_meshes.init_named_mesh)


def _register_flattened_axes(
    device_mesh: DeviceMesh,
    flattened_axes: Mapping[str, Sequence[str]],
    *,
    timeout_minutes: float | None = None,
    publish: bool = True,
) -> None:
    """Flatten mesh dims under new names: `meshcompat.register_flattened_axes`, published.

    Collective:
        Yes, where a group is made: all ranks of the world, members of the mesh or not.
    """
    framework.take_up(device_mesh)
    named_meshes.register_flattened_axes(
        device_mesh, flattened_axes, timeout_minutes=timeout_minutes
    )
    if publish:
        framework.publish(device_mesh)


def _unflatten_compat(
    flat_mesh: DeviceMesh,
    axis: int,
    sizes: Sequence[int],
    names: Sequence[str],
    *,
    timeout_minutes: float | None = None,
) -> DeviceMesh:
    """Return *flat_mesh* with one mesh dim split: `meshcompat.unflatten`, timeout in minutes.

    Collective:
        Yes, at the first such call: all ranks of the world, members of the mesh or not.
    """
    return _unflatten(flat_mesh, axis, sizes, names, timeout=_minutes(timeout_minutes))


@contextlib.contextmanager
def _key_errors() -> Iterator[None]:
    """Let names that have no mesh together be a ``KeyError``, as the framework's module has it."""
    try:
        yield
    except MeshLayoutError as error:
        raise MeshDimError(str(error)) from error
