"""torch's own mesh operations, public or private, in one spelling for all releases.

The other side of a comparison: what torch says of its own meshes. `Absent` names what a
release does not have. Nothing here is meshcompat's.
"""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d
from torch.distributed.device_mesh import DeviceMesh

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Absent(Exception):  # noqa: N818  (a statement about torch, not an error of the caller)
    """This torch has no such operation."""


def require(name: str) -> None:
    """Raise `Absent` where this release has no such method of a mesh."""
    _method(name)


def _method(name: str) -> Callable[..., Any]:
    found = getattr(DeviceMesh, name, None)
    if found is None:
        raise Absent(f"this torch has no DeviceMesh.{name}")
    return found


def _tables() -> Any:
    return getattr(device_mesh, "_mesh_resources", None)


def forget() -> None:
    """Empty torch's tables of meshes in this thread: up to 2.9 they outlive the world.

    An equal root of a later world would otherwise find the flattened meshes of the one before, and
    their dead groups: https://github.com/pytorch/pytorch/issues/173789.
    """
    for table in vars(_tables()).values():
        table.clear()


def pick(mesh: DeviceMesh, names: str | tuple[str, ...]) -> DeviceMesh:
    """Slice by names, without the warning that some releases give for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mesh[names]


def flatten(mesh: DeviceMesh, name: str | None = None) -> DeviceMesh:
    return _method("_flatten")(mesh, name)


def unflatten(
    mesh: DeviceMesh, dim: int | str, sizes: Sequence[int], names: Sequence[str]
) -> DeviceMesh:
    return _method("_unflatten")(mesh, dim, tuple(sizes), tuple(names))


def concatenate(meshes: Sequence[DeviceMesh]) -> DeviceMesh:
    return _method("_concatenate")(list(meshes))


def spmd(data: DeviceMesh, tensor: DeviceMesh) -> DeviceMesh:
    """Return the mesh that FSDP2 makes of its own mesh and that of TP."""
    if hasattr(DeviceMesh, "_concatenate"):
        return concatenate([data, tensor])
    require("_flatten")
    if root(data) != root(tensor):
        raise ValueError(f"FSDP2 and TP have different roots: {root(data)}, {root(tensor)}")
    return pick(root(data), ((*(data.mesh_dim_names or ()), *(tensor.mesh_dim_names or ()))))


def from_group(*args: Any, **options: Any) -> DeviceMesh:
    return _method("from_group")(*args, **options)


def root(mesh: DeviceMesh) -> DeviceMesh:
    """Return the mesh that torch's own consumers take for the root, in this thread."""
    own = getattr(DeviceMesh, "_get_root_mesh", None)
    if own is not None:
        return own(mesh)
    find = getattr(_tables(), "get_root_mesh", None)
    if find is not None:
        return find(mesh)
    parent = _tables().get_parent_mesh(mesh)
    return mesh if parent is None else root(parent)


def flattened_names(mesh: DeviceMesh) -> tuple[str, ...]:
    """Return the flattened names in torch's own registry of a root."""
    registry = getattr(mesh, "_flatten_mapping", None)
    if registry is None:
        registry = getattr(_tables(), "root_to_flatten_mapping", {}).get(mesh, {})
    return tuple(registry)


def dtensor() -> Any:
    """Return the module that has DTensor's functions: it became public in 2.5."""
    public = importlib.import_module("torch.distributed.tensor")
    if hasattr(public, "distribute_tensor"):
        return public
    return importlib.import_module("torch.distributed._tensor")


def groups() -> int:
    """Return how many process groups this rank holds."""
    return len(distributed_c10d._world.pg_map)  # noqa: SLF001  (torch counts them nowhere else)


def ranks_of(mesh: DeviceMesh, dim: int | None = None) -> list[int]:
    """Return the ranks of a mesh's own process group, asked through the mesh."""
    found = mesh.get_group() if dim is None else mesh.get_group(dim)
    # 2.2 returns the groups of all dims when it is asked for none.
    return dist.get_process_group_ranks(found[0] if isinstance(found, list) else found)
