"""Drop-in for a framework's own ``mesh_utils``: changing one import line is the migration.

Names and parameters are those of NeMo Automodel's
``nemo_automodel.components.distributed.mesh_utils``; the functions are the builders and
selectors of meshcompat. A framework's own strategy classes, sizes and ``MeshAxisName`` will do:
a strategy is told by its class name, sizes by their attributes, names by their text.

Flattened meshes are not in torch's own registry: a framework's code that reads
``_flatten_mapping`` by itself has to ask `meshcompat.get_axis_size` or `get_flat_mesh` instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat._named_meshes import create_moe_mesh as _create_moe_mesh
from meshcompat._named_meshes import create_ring_ulysses_mesh
from meshcompat._named_meshes import init_named_mesh as _init_named_mesh
from meshcompat._named_meshes import mesh_device_type as _mesh_device_type
from meshcompat._named_meshes import register_flattened_axes as _register_flattened_axes
from meshcompat._named_meshes import validate_mesh_spec as _validate_mesh_spec
from meshcompat._parallelism import MeshSpec as _MeshSpec
from meshcompat._reshape import unflatten as _unflatten
from meshcompat._select import get_flat_mesh, get_fsdp_dp_mesh, get_submesh
from meshcompat._sizes import degree as _degree
from meshcompat._sizes import infer_dp_size as _infer_dp_size
from meshcompat._sizes import minutes as _minutes
from meshcompat._sizes import require_size_one as _require_size_one
from meshcompat._strategies import create_device_meshes as _create_device_meshes
from meshcompat._strategies import create_fsdp2_device_mesh as _create_fsdp2_device_mesh
from meshcompat._strategies import (
    create_megatron_fsdp_device_mesh as _create_megatron_fsdp_device_mesh,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

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
