"""Stable device-mesh operations: the same ranks, groups and errors on every torch from 2.2.

This is the contents page. Every public name is imported from its room when it is first used,
so that ``meshcompat --help`` does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from meshcompat import _release
from meshcompat._errors import (
    MeshCompatError,
    MeshDimError,
    MeshLayoutError,
    MeshMismatchError,
    NotInMeshError,
    UnsupportedTorchError,
    UntestedTorchWarning,
)

if TYPE_CHECKING:
    from meshcompat._agreement import unchecked
    from meshcompat._builders.named_meshes import (
        create_moe_mesh,
        create_ring_ulysses_mesh,
        init_named_mesh,
        register_flattened_axes,
    )
    from meshcompat._builders.parallelism import (
        DDPConfig,
        FSDP2Config,
        MegatronFSDPConfig,
        MeshAxisName,
        MeshSpec,
        ParallelismSizes,
    )
    from meshcompat._builders.strategies import (
        create_device_meshes,
        create_fsdp2_device_mesh,
        create_megatron_fsdp_device_mesh,
    )
    from meshcompat._inspect import (
        get_axis_names,
        get_axis_size,
        get_flattened_meshes,
        get_group,
        get_ranks,
        get_root_mesh,
        has_axis,
        is_member,
        layout_of,
        same_root,
    )
    from meshcompat._layout import MeshLayout
    from meshcompat._plain_data import mesh_from_dict, mesh_to_dict
    from meshcompat._reshape import flatten, register_axis, unflatten
    from meshcompat._roots import from_group, init_device_mesh
    from meshcompat._select import (
        concatenate,
        get_all_submeshes,
        get_flat_mesh,
        get_fsdp_dp_mesh,
        get_submesh,
    )

__all__ = [
    "DDPConfig",
    "FSDP2Config",
    "MegatronFSDPConfig",
    "MeshAxisName",
    "MeshCompatError",
    "MeshDimError",
    "MeshLayout",
    "MeshLayoutError",
    "MeshMismatchError",
    "MeshSpec",
    "NotInMeshError",
    "ParallelismSizes",
    "UnsupportedTorchError",
    "UntestedTorchWarning",
    "__version__",
    "concatenate",
    "create_device_meshes",
    "create_fsdp2_device_mesh",
    "create_megatron_fsdp_device_mesh",
    "create_moe_mesh",
    "create_ring_ulysses_mesh",
    "flatten",
    "from_group",
    "get_all_submeshes",
    "get_axis_names",
    "get_axis_size",
    "get_flat_mesh",
    "get_flattened_meshes",
    "get_fsdp_dp_mesh",
    "get_group",
    "get_ranks",
    "get_root_mesh",
    "get_submesh",
    "has_axis",
    "init_device_mesh",
    "init_named_mesh",
    "is_member",
    "layout_of",
    "mesh_from_dict",
    "mesh_to_dict",
    "register_axis",
    "register_flattened_axes",
    "same_root",
    "unchecked",
    "unflatten",
]

_ROOMS = {
    "_agreement": ("unchecked",),
    "_inspect": (
        "get_axis_names",
        "get_axis_size",
        "get_flattened_meshes",
        "get_group",
        "get_ranks",
        "get_root_mesh",
        "has_axis",
        "is_member",
        "layout_of",
        "same_root",
    ),
    "_layout": ("MeshLayout",),
    "_builders.named_meshes": (
        "create_moe_mesh",
        "create_ring_ulysses_mesh",
        "init_named_mesh",
        "register_flattened_axes",
    ),
    "_builders.parallelism": (
        "DDPConfig",
        "FSDP2Config",
        "MegatronFSDPConfig",
        "MeshAxisName",
        "MeshSpec",
        "ParallelismSizes",
    ),
    "_plain_data": ("mesh_from_dict", "mesh_to_dict"),
    "_reshape": ("flatten", "register_axis", "unflatten"),
    "_roots": ("from_group", "init_device_mesh"),
    "_select": (
        "concatenate",
        "get_all_submeshes",
        "get_flat_mesh",
        "get_fsdp_dp_mesh",
        "get_submesh",
    ),
    "_builders.strategies": (
        "create_device_meshes",
        "create_fsdp2_device_mesh",
        "create_megatron_fsdp_device_mesh",
    ),
}

_release.require_floor(_release.installed_torch())


def __getattr__(name: str) -> object:
    if name == "__version__":
        return _release.own_version()
    for room, names in _ROOMS.items():
        if name in names:
            value: object = getattr(importlib.import_module(f"meshcompat.{room}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'meshcompat' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
