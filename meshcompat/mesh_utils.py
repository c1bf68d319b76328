"""Drop-in for a framework's own ``mesh_utils``: changing one import line is the migration.

Names and parameters are those of NeMo Automodel's
``nemo_automodel.components.distributed.mesh_utils``; the functions are the builders and
selectors of meshcompat. A framework's own strategy classes, sizes and ``MeshAxisName`` will do:
a strategy is told by its class name, sizes by their attributes, names by their text.

Unlike the builders that they call, those of this module write flattened meshes into torch's own
registry, from 2.10 on: the rest of a framework that moves over by one import looks for them there,
by ``mesh["dp_cp"]`` or ``_flatten_mapping``. From torch 2.11 to 2.15 DTensor's redistribute of
uneven shards then returns wrong values, as it does after torch's own flatten:
https://github.com/pytorch/pytorch/pull/194457. With `meshcompat.create_device_meshes` and its
parts it does not.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from meshcompat._builders import named_meshes, strategies
from meshcompat._builders.named_meshes import create_moe_mesh as _create_moe_mesh
from meshcompat._builders.named_meshes import create_ring_ulysses_mesh
from meshcompat._builders.named_meshes import mesh_device_type as _mesh_device_type
from meshcompat._builders.named_meshes import validate_mesh_spec as _validate_mesh_spec
from meshcompat._builders.parallelism import MeshSpec as _MeshSpec
from meshcompat._builders.sizes import degree as _degree
from meshcompat._builders.sizes import infer_dp_size as _infer_dp_size
from meshcompat._builders.sizes import minutes as _minutes
from meshcompat._builders.sizes import require_size_one as _require_size_one
from meshcompat._mesh.links import links
from meshcompat._mesh.lookup import view_of
from meshcompat._reshape import unflatten as _unflatten
from meshcompat._select import get_flat_mesh, get_fsdp_dp_mesh, get_submesh

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch.distributed.device_mesh import DeviceMesh

__all__ = [
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


def _publishing(build: Callable[P, Made]) -> Callable[P, Made]:
    """Return *build* with what it flattened in torch's own registry too."""

    @functools.wraps(build)
    def builder(*args: P.args, **kwargs: P.kwargs) -> Made:
        made = build(*args, **kwargs)
        root: Any = made[0] if isinstance(made, tuple) else made
        if root is not None:
            _publish(root)
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
    named_meshes.register_flattened_axes(
        device_mesh, flattened_axes, timeout_minutes=timeout_minutes
    )
    if publish:
        _publish(device_mesh)


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


def _publish(mesh: DeviceMesh) -> None:
    root = view_of(mesh).root
    for name in root.flattened:
        links.publish(root, name)
