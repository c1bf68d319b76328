"""From a mesh that came in to what is known of it, and to what was made of it before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _eras
from meshcompat._errors import MeshDimError, MeshLayoutError, NotInMeshError
from meshcompat._fitting import unknown_dim_text
from meshcompat._mesh import foreign
from meshcompat._mesh.links import links
from meshcompat._mesh.memory import lock, refuse_detached, remembered
from meshcompat._mesh.objects import destroyed_message, outside_message, sorted_message

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch.distributed import ProcessGroup

    from meshcompat._mesh.memory import Dim, Root, View


def once(mesh: DeviceMesh, key: Hashable, make: Callable[[View], DeviceMesh]) -> DeviceMesh:
    """Return the mesh of *key*, made at the first call only, in whatever thread.

    From then on `recall` finds it in this thread.
    """
    with lock:
        view = view_of(mesh)
        found = view.made.get(key)
        if found is None:
            found = make(view)
            view.made[key] = found
    links.relink(found)
    return found


def view_of(mesh: object) -> View:
    """Return what is known of *mesh*, looking it over where it is new.

    Raises:
        MeshLayoutError: It is no mesh, its world was destroyed, or its groups do not hold
            its ranks.
    """
    view = remembered(mesh)
    if view is None or not view.root.is_alive:
        view = _look_over(mesh)
    links.see(view.root)
    return view


def _look_over(mesh: object) -> View:
    if not isinstance(mesh, DeviceMesh):
        raise MeshLayoutError(
            f"expected a torch.distributed.device_mesh.DeviceMesh, got {mesh!r}; make one with "
            f"meshcompat.init_device_mesh"
        )
    if not dist.is_initialized():
        raise MeshLayoutError(
            f"{mesh!r} has no living process groups, because no default process group is "
            f"initialised; call torch.distributed.init_process_group and make the mesh again"
        )
    refuse_threads()
    with lock:
        view = remembered(mesh) or foreign.adopt(mesh)
    if view.root.is_destroyed:
        raise MeshLayoutError(f"{mesh!r}: {destroyed_message()}")
    if not view.root.is_alive:
        raise MeshLayoutError(
            f"{mesh!r} belongs to a default process group that was destroyed; make the mesh "
            f"again after torch.distributed.init_process_group"
        )
    return view


def refuse_threads() -> None:
    """Refuse a world whose ranks are threads of one process.

    Raises:
        MeshLayoutError: It is one.
    """
    if dist.get_backend() == "threaded":
        raise MeshLayoutError(
            "the ranks of this world are threads of one process, as in torch's own "
            "MultiThreadedTestCase, and meshcompat keeps the meshes and groups of one rank a "
            "process; use meshcompat.testing.fake_world, or meshcompat.testing.GlooPool for "
            "collectives"
        )


def find_dim(view: View, name: object) -> Dim | None:
    """Return the mesh dim called *name*: the mesh's own, then flattened ones, then the root's.

    None where there is none.
    """
    for dim in view.dims:
        if dim.name is not None and dim.name == name:
            return dim
    flat = find_flat(view.root, name)
    if flat is not None:
        return flat[0]
    return next((dim for dim in view.root.dims if dim.name == name), None)


def find_flat(root: Root, name: object) -> tuple[Dim, DeviceMesh] | None:
    """Return a flattened dim of *root* and its mesh, or None."""
    if not isinstance(name, str):
        return None
    if name not in root.flattened:
        foreign.find_flattened(root)
    mesh = root.flattened.get(name)
    view = None if mesh is None else remembered(mesh)
    return None if mesh is None or view is None else (view.dims[0], mesh)


def get_dim(view: View, name: object) -> Dim:
    """Return the mesh dim called *name*.

    Raises:
        MeshDimError: There is none.
    """
    dim = find_dim(view, name)
    if dim is None:
        raise MeshDimError(unknown_message(view, name))
    return dim


def unknown_message(view: View, name: object) -> str:
    """Word that *name* is no mesh dim here, and which ones are."""
    root = view.root
    return unknown_dim_text(
        name,
        view.names,
        flattened=tuple(root.flattened),
        root=None if root.dims == view.dims else [dim.name for dim in root.dims],
    )


def group_in(view: View, dim: Dim) -> ProcessGroup:
    """Return this rank's process group of a mesh dim.

    Raises:
        NotInMeshError: This rank is outside the mesh.
        MeshLayoutError: The mesh was made without groups, or is detached, or torch sorted the
            ranks of the group.
    """
    refuse_detached(view.root)
    if not view.is_member:
        raise NotInMeshError(outside_message())
    if dim.group is not None and not dim.group.in_order:
        raise MeshLayoutError(sorted_message(dim))
    group = None
    if dim.group is not None and dim.group.handle is not None:
        group = _eras.primitives().group_of(dim.group.handle)
    if group is None:
        raise MeshLayoutError(
            f"mesh dim {dim.name!r} has no process group: the mesh was made without groups, or "
            f"they were destroyed; make the mesh with meshcompat.init_device_mesh"
        )
    return group
