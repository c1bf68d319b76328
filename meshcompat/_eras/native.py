"""torch's own mesh operations, public or private, in one spelling for all releases.

For whoever asks what torch says of its own meshes: what is compared with ours, and the doctor.
Nothing here is meshcompat's. `Absent` says that a release has no such operation.
"""

from __future__ import annotations

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
    method(name)


def method(name: str) -> Callable[..., Any]:
    """Return a method of torch's meshes; `Absent` where this release has none."""
    found: Callable[..., Any] | None = getattr(DeviceMesh, name, None)
    if found is None:
        raise Absent(f"this torch has no DeviceMesh.{name}")
    return found


def tables() -> Any:
    """Return torch's own tables of meshes, which are another object in each thread from 2.4 on."""
    # torch: device_mesh._mesh_resources, since 2.2; most tables in it are gone in 2.10 - pytorch#164510
    return getattr(device_mesh, "_mesh_resources", None)


def pick(mesh: DeviceMesh, names: str | tuple[str, ...]) -> DeviceMesh:
    """Slice by names, without the warning that some releases give for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mesh[names]  # type: ignore[index,unused-ignore]


def flatten(mesh: DeviceMesh, name: str | None = None) -> DeviceMesh:
    """Flatten all dims."""
    # torch: DeviceMesh._flatten, since 2.5
    made: DeviceMesh = method("_flatten")(mesh, name)
    return made


def unflatten(
    mesh: DeviceMesh, dim: int | str, sizes: Sequence[int], names: Sequence[str]
) -> DeviceMesh:
    """Split one dim."""
    # torch: DeviceMesh._unflatten, since 2.10
    made: DeviceMesh = method("_unflatten")(mesh, dim, tuple(sizes), tuple(names))
    return made


def concatenate(meshes: Sequence[DeviceMesh]) -> DeviceMesh:
    """Join submeshes of one root."""
    # torch: DeviceMesh._concatenate, since 2.10
    made: DeviceMesh = method("_concatenate")(list(meshes))
    return made


def root(mesh: DeviceMesh) -> DeviceMesh:
    """Return the mesh that torch's own consumers take for the root, in this thread."""
    # torch: DeviceMesh._get_root_mesh, since 2.10 - pytorch#164510
    # torch: _MeshEnv.get_root_mesh, since 2.5; _MeshEnv.get_parent_mesh, up to 2.4 - pytorch#132339
    own = getattr(DeviceMesh, "_get_root_mesh", None) or getattr(tables(), "get_root_mesh", None)
    if own is not None:
        made: DeviceMesh = own(mesh)
        return made
    parent = tables().get_parent_mesh(mesh)
    return mesh if parent is None else root(parent)


def groups() -> int:
    """Return how many process groups this rank holds."""
    # torch: distributed_c10d._world.pg_map, on all releases; torch counts them nowhere else
    return len(distributed_c10d._world.pg_map)


def ranks_of(mesh: DeviceMesh, dim: int | str | None = None) -> list[int]:
    """Return the ranks of a mesh's own process group, asked through the mesh."""
    found = mesh.get_group() if dim is None else mesh.get_group(dim)
    # 2.2 returns the groups of all dims when it is asked for none.
    return dist.get_process_group_ranks(found[0] if isinstance(found, list) else found)
