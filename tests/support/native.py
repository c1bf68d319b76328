"""torch's own mesh operations, public or private, in one spelling for all releases.

The other side of a comparison: what torch says of its own meshes. `Absent` names what a
release does not have. Nothing here is meshcompat's. What the doctor asks too comes from the package.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch.distributed.device_mesh import DeviceMesh

from meshcompat._eras.native import (
    Absent,
    concatenate,
    flatten,
    groups,
    method,
    pick,
    ranks_of,
    require,
    root,
    tables,
    unflatten,
)

__all__ = [
    "Absent",
    "concatenate",
    "dtensor",
    "flatten",
    "flattened_names",
    "forget",
    "from_group",
    "groups",
    "pick",
    "ranks_of",
    "require",
    "root",
    "spmd",
    "unflatten",
]


def forget() -> None:
    """Empty torch's tables of meshes in this thread: up to 2.9 they outlive the world.

    An equal root of a later world would otherwise find the flattened meshes of the one before, and
    their dead groups: https://github.com/pytorch/pytorch/issues/173789.
    """
    for table in vars(tables()).values():
        table.clear()


def spmd(data: DeviceMesh, tensor: DeviceMesh) -> DeviceMesh:
    """Return the mesh that FSDP2 makes of its own mesh and that of TP."""
    if hasattr(DeviceMesh, "_concatenate"):
        return concatenate([data, tensor])
    require("_flatten")
    if root(data) != root(tensor):
        raise ValueError(f"FSDP2 and TP have different roots: {root(data)}, {root(tensor)}")
    return pick(root(data), ((*(data.mesh_dim_names or ()), *(tensor.mesh_dim_names or ()))))


def from_group(*args: Any, **options: Any) -> DeviceMesh:
    return method("from_group")(*args, **options)


def flattened_names(mesh: DeviceMesh) -> tuple[str, ...]:
    """Return the flattened names in torch's own registry of a root."""
    if hasattr(mesh, "_get_root_mesh"):
        return tuple(getattr(mesh, "_flatten_mapping", {}))
    # Up to 2.9 an attribute of that name is not torch's.
    return tuple(getattr(tables(), "root_to_flatten_mapping", {}).get(mesh, {}))


def dtensor() -> Any:
    """Return the module that has DTensor's functions: it became public in 2.5."""
    public = importlib.import_module("torch.distributed.tensor")
    if hasattr(public, "distribute_tensor"):
        return public
    return importlib.import_module("torch.distributed._tensor")
