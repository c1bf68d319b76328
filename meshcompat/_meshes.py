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
from meshcompat._eras.answers import forget_meshes
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
        axes = _layout.join(dim.axes for dim in dims)
        start = _layout.start_of(axes, view.elsewhere)
        # Dims that *view* has not itself may lead back to this rank.
        if start != _layout.start_of(axes, root.position):
            return inert_mesh(root, dims, start)
    anchor = _anchor(view, dims)
    outer = None if anchor is None else remembered(anchor)
    if anchor is not None and outer is not None and outer.dims == dims:
        return anchor
    return _interned(root, dims, anchor)


def flat_mesh(root: Root, dim: Dim, root_dims: tuple[int, ...] | None) -> DeviceMesh:
    """Return the 1-D mesh of a new flattened dim, and keep it under its name.

    *root_dims* are the dims of the root that it covers, where they lie side by side.
    """
    era = _eras.primitives()
    name = dim.name or ""  # which it is not: a flattened dim has a name
    publish = era.publishes_flattened() and root_dims is not None
    linked = era.has_one_root() or (publish and not _is_refused(root, root_dims))
    mesh = _interned(root, (dim,), root.mesh if linked else None)
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
    is_there = name not in root.flattened or name in era.native_flattened(root.mesh)
    if era.has_one_root() and not is_there:
        era.publish_flattened(root.mesh, name, root.flattened[name], ())


def inert_mesh(root: Root, dims: tuple[Dim, ...], start: int) -> DeviceMesh:
    """Return the mesh from position *start* on, which this rank is not in; the same if it is there."""
    with making:
        found = root.elsewhere.get((dims, start))
        if found is None:
            found = _make_inert(root, dims, start)
            root.elsewhere[dims, start] = found
    relink(found)
    return found


def _make_inert(root: Root, dims: tuple[Dim, ...], start: int) -> DeviceMesh:
    ranks = root.ranks_of([dim.axes for dim in dims], start)
    mesh = _eras.primitives().make_outside(root.mesh, ranks, names_of(dims))
    _eras.primitives().set_group_handles(mesh, _OutsideGroups())
    # Up to 2.9 torch's root would answer a flattened name with the group that this rank is in.
    anchor = root.mesh if _eras.primitives().has_one_root() else mesh
    remember(mesh, View(root, dims, anchor, elsewhere=start))
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


def belongs_to_view(view: View, dim: Dim) -> bool:
    """Return whether torch finds *dim* in the view that it is picked from, not in the root."""
    is_apart = view.anchor is not view.root.mesh and dim in view.dims
    return is_apart and _eras.primitives().publishes_flattened()


def relink(mesh: DeviceMesh) -> None:
    """Tell torch's tables, in this thread, what *mesh* belongs to.

    From 2.4 to 2.9 the tables are empty in a thread that has not seen the mesh. From 2.5 on
    they are keyed by value: of equal meshes they know the one that was asked for last.
    """
    era = _eras.primitives()
    view = remembered(mesh)
    if era.has_one_root() or view is None:
        return
    there = _known_here(mesh)
    if there is mesh:
        return
    if there is not None:
        forget_meshes()
    _thread.known[hash(mesh)] = weakref.ref(mesh)
    if view.anchor is mesh:
        _leave_others(mesh, view)
    else:
        relink(view.anchor)
        era.link(mesh, view.anchor)
    root = view.root
    for name, (_, root_dims) in root.published.items():
        flat = root.flattened[name]
        # What another thread flattened since this one saw the root is new to it.
        if view.anchor is root.mesh or mesh is flat:
            if _known_here(flat) is None:
                relink(flat)
            era.publish_flattened(root.mesh, name, flat, root_dims)


def _known_here(mesh: DeviceMesh) -> DeviceMesh | None:
    """Return the mesh that torch's tables know in this thread: of equal ones the last."""
    known = _thread.known.get(hash(mesh))
    return None if known is None else known()


def _leave_others(mesh: DeviceMesh, view: View) -> None:
    """Take *mesh*, its own root, out of the family of an equal mesh.

    A root stays where somebody slices it by torch, unless that world was destroyed: torch's
    tables outlive it.
    """
    torch_root = _eras.primitives().root(mesh)
    other = remembered(torch_root)
    if torch_root is mesh or other is None:
        return
    if view.root.mesh is not mesh or not other.root.is_alive:
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
            root.made[key] = found
    relink(found)
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
    # What protects from a torch that no one has seen: a mesh is handed out only if right. Looking
    # at its ranks takes as long as to make it, so that what tests have seen is not looked at.
    if not _eras.is_known() and not torch.equal(mesh.mesh.to(expected.dtype), expected):
        msg = (
            f"this torch made a mesh of ranks {mesh.mesh.tolist()} where {expected.tolist()} "
            f"was asked for; use a torch that this meshcompat was tested with, or a newer "
            f"meshcompat"
        )
        raise UnsupportedTorchError(msg)
    set_groups(mesh, root, dims)
    return mesh


def _anchor(view: View, dims: tuple[Dim, ...]) -> DeviceMesh | None:
    """Return the mesh that torch can take for the root of *dims*; None where none can be.

    From 2.5 to 2.9 what is picked from a view that is its own root belongs to that view, so
    that FSDP2 beside TP finds the dims of both there.
    """
    root, era = view.root, _eras.primitives()
    _, last = root.published.get(dims[-1].name or "", (None, None))
    is_flat = dims[-1] not in root.dims
    is_known = native_dims(root, dims) is not None and not (is_flat and _is_refused(root, last))
    outer = remembered(view.anchor)
    if not era.has_one_root() and outer is not None and outer.anchor is not root.mesh:
        indices = [outer.dims.index(dim) for dim in dims if dim in outer.dims]
        is_inside = len(indices) == len(dims) and indices == sorted(set(indices))
        if is_inside and (era.publishes_flattened() or not is_known):
            return outer.anchor
    return root.mesh if era.has_one_root() or is_known else None


def _is_refused(root: Root, covered: tuple[int, ...] | None) -> bool:
    """Return whether a flattened dim over these dims of the root is for TP, and TP refuses it.

    Up to 2.8 TP takes only the last dim of torch's root, by name: not one that is flattened.
    Where that covers the last dim, no other dim of the root can be TP's beside it.
    """
    is_last = covered is not None and covered[-1] == len(root.dims) - 1
    return is_last and _eras.primitives().wants_innermost()
