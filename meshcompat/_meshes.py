"""Real `DeviceMesh` objects from mesh dims that are known, with the groups these have.

Nothing here makes a process group, and nothing is a collective. Up to 2.9 the mesh that
torch takes for the root (the *anchor*) can be another than ours: consumers look names up in
it, so it may only be a mesh that has them.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from meshcompat import _eras, _layout
from meshcompat._errors import MeshLayoutError, NotInMeshError, UnsupportedTorchError
from meshcompat._views import View, making, remember, remembered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._views import Dim, Root


class _OutsideGroups(list[object]):
    """The groups of a mesh on a rank outside: there are none, and asking says so."""

    def __getitem__(self, index: object) -> object:  # type: ignore[override]
        raise NotInMeshError(outside_message())


def outside_message() -> str:
    """Word what a rank outside a mesh is told."""
    return (
        f"rank {dist.get_rank()} is not in this mesh, so it has no process group and no local "
        f"rank there; ask meshcompat.is_member(mesh) first"
    )


def mesh_of(view: View, dims: tuple[Dim, ...]) -> DeviceMesh:
    """Return the mesh of these dims around the rank of *view*; equal dims, same object.

    *view* is what the dims were picked from: its anchor can be theirs where the root cannot.
    """
    root = view.root
    if dims == root.dims:
        return root.mesh
    if view.elsewhere is not None:
        start = _layout.start_of(_layout.join(dim.axes for dim in dims), view.elsewhere)
        return inert_mesh(root, dims, start)
    return _interned(root, dims, _anchor(view, dims))


def flat_mesh(root: Root, dim: Dim, root_dims: tuple[int, ...] | None) -> DeviceMesh:
    """Return the 1-D mesh of a new flattened dim, and keep it under its name.

    *root_dims* are the dims of the root that it covers, where they lie side by side.
    """
    era = _eras.primitives()
    publish = era.publishes_flattened() and root_dims is not None
    mesh = _interned(root, (dim,), root.mesh if publish or era.has_one_root() else None)
    name = dim.name or ""  # which it is not: a flattened dim has a name
    root.flattened[name] = mesh
    if publish and root_dims is not None:
        root.published[name] = (dim, root_dims)
        era.publish_flattened(root.mesh, name, mesh, root_dims)
    return mesh


def refuse_publish(view: View) -> None:
    """Refuse to publish the flattened mesh of *view* where torch could only slice it wrong.

    Raises:
        MeshLayoutError: Up to 2.9, its dims do not lie side by side in the root.
    """
    if _eras.primitives().publishes_flattened() and run_of(view.root, view.dims) is None:
        msg = (
            f"mesh dims {view.names} do not lie side by side in the root "
            f"{names_of(view.root.dims)}, and this torch would slice wrong ranks by the name of "
            f"them flattened; leave publish out"
        )
        raise MeshLayoutError(msg)


def publish_flat(root: Root, name: str) -> None:
    """Write a flattened mesh into torch's registry where torch has one and it is not there."""
    era = _eras.primitives()
    if era.has_one_root() and name in root.flattened:
        era.publish_flattened(root.mesh, name, root.flattened[name], ())


def inert_mesh(root: Root, dims: tuple[Dim, ...], start: int) -> DeviceMesh:
    """Return the mesh from position *start* on, which this rank is not in."""
    ranks = root.ranks_of([dim.axes for dim in dims], start)
    mesh = _eras.primitives().make_outside(root.mesh, ranks, names_of(dims))
    _eras.primitives().set_group_handles(mesh, _OutsideGroups())
    # Up to 2.9 torch's root would answer a flattened name with the group that this rank is in.
    anchor = root.mesh if _eras.primitives().has_one_root() else mesh
    remember(mesh, View(root, dims, anchor, elsewhere=start))
    relink(mesh)
    return mesh


def names_of(dims: Sequence[Dim]) -> tuple[str, ...] | None:
    """Return the names of mesh dims, or None where one has none."""
    names = tuple(dim.name for dim in dims if dim.name is not None)
    return names if len(names) == len(dims) else None


def set_groups(mesh: DeviceMesh, root: Root, dims: Sequence[Dim]) -> None:
    """Hand the groups of *dims* to torch's mesh; a dim without one leaves it without any."""
    handles: list[object] = _OutsideGroups()
    if root.is_member:
        handles = [dim.group.handle for dim in dims if dim.group is not None]
        if len(handles) < len(dims):
            return
    _eras.primitives().set_group_handles(mesh, handles)


def native_dims(root: Root, dims: Sequence[Dim]) -> tuple[int, ...] | None:
    """Return the root's dims that *dims* cover, if torch's root knows all by name and order."""
    covered: list[int] = []
    for dim in dims:
        known, root_dims = root.published.get(dim.name or "", (None, ()))
        if dim in root.dims:
            covered.append(root.dims.index(dim))
        elif dim == known:
            covered.extend(root_dims)
        else:
            return None
    return tuple(covered) if covered == sorted(set(covered)) else None


def run_of(root: Root, dims: Sequence[Dim]) -> tuple[int, ...] | None:
    """Return the root's dims that *dims* cover, if these lie side by side; see `native_dims`."""
    covered = native_dims(root, dims)
    is_run = covered is not None and covered[-1] - covered[0] == len(covered) - 1
    return covered if is_run else None


def relink(mesh: DeviceMesh) -> None:
    """Tell torch's tables, in this thread, what *mesh* belongs to.

    From 2.4 to 2.9 the tables are empty in a thread that has not seen the mesh.
    """
    era = _eras.primitives()
    view = remembered(mesh)
    known = _thread.known.get(id(mesh))
    if era.has_one_root() or view is None or (known is not None and known() is mesh):
        return
    _thread.known[id(mesh)] = weakref.ref(mesh)
    if view.anchor is not mesh:
        relink(view.anchor)
        era.link(mesh, view.anchor)
        return
    _leave_the_dead(mesh)
    if view.root.mesh is mesh:
        for name, (_, root_dims) in view.root.published.items():
            era.publish_flattened(mesh, name, view.root.flattened[name], root_dims)


def _leave_the_dead(mesh: DeviceMesh) -> None:
    """Take *mesh* out of the family of an equal mesh whose world was destroyed.

    From 2.5 to 2.9 torch's tables are keyed by value, and outlive the world.
    """
    torch_root = _eras.primitives().root(mesh)
    view = remembered(torch_root)
    if torch_root is not mesh and view is not None and not view.root.is_alive:
        _eras.primitives().link(mesh, mesh)


class _Thread(threading.local):
    def __init__(self) -> None:
        self.known: dict[int, weakref.ref[DeviceMesh]] = {}


_thread = _Thread()


def _interned(root: Root, dims: tuple[Dim, ...], anchor: DeviceMesh | None) -> DeviceMesh:
    key = (dims, None if anchor is None else id(anchor))
    with making:
        found = root.made.get(key)
        if found is None:
            found = _make(root, dims)
            remember(found, View(root, dims, found if anchor is None else anchor))
            relink(found)
            root.made[key] = found
    return found


def _make(root: Root, dims: tuple[Dim, ...]) -> DeviceMesh:
    layouts = [dim.axes for dim in dims]
    start = _layout.start_of(_layout.join(layouts), root.position)
    expected = root.ranks_of(layouts, start)
    names = names_of(dims)
    if root.is_member:
        mesh = _eras.primitives().make_submesh(root.mesh, expected, layouts, names)
    else:
        mesh = _eras.primitives().make_outside(root.mesh, expected, names)
    # What protects from a torch that no one has seen: a mesh is handed out only if right.
    if not torch.equal(mesh.mesh.to(expected.dtype), expected):
        msg = (
            f"this torch made a mesh of ranks {mesh.mesh.tolist()} where {expected.tolist()} "
            f"was asked for; use a torch that this meshcompat was tested with, or a newer "
            f"meshcompat"
        )
        raise UnsupportedTorchError(msg)
    set_groups(mesh, root, dims)
    return mesh


def _anchor(view: View, dims: tuple[Dim, ...]) -> DeviceMesh | None:
    """Return the mesh that torch can take for the root of *dims*; None where none can be."""
    root = view.root
    if _eras.primitives().has_one_root() or native_dims(root, dims) is not None:
        return root.mesh
    outer = remembered(view.anchor)
    if outer is None or outer.anchor is root.mesh or any(dim not in outer.dims for dim in dims):
        return None
    indices = [outer.dims.index(dim) for dim in dims]
    return outer.anchor if indices == sorted(set(indices)) else None
