"""Up to torch 2.9: torch finds roots and flattened meshes in tables, one set for each thread.

The mesh that torch takes for the root (the *anchor*) can be another than ours: consumers look
names up in it, so it may only be a mesh that has them. The tables are keyed by value, so that equal
meshes take each other's place. All that only these releases need stands in this module; the
functions are those of `meshcompat._mesh.links.Links`.
"""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING, cast

from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _eras, _layout
from meshcompat._eras.process_groups import current_world
from meshcompat._errors import MeshLayoutError
from meshcompat._mesh.memory import View, names_of, remember_of_others, remembered, view_on

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from meshcompat._eras._table_primitives import TablePrimitives
    from meshcompat._mesh import tables  # noqa: PLW0406  (mypy holds it against the protocol)
    from meshcompat._mesh.links import Links
    from meshcompat._mesh.memory import Dim, Root

    _checked: Links = tables

_Published = dict[str, tuple["Dim", tuple[int, ...]]]

_published: weakref.WeakKeyDictionary[Root, _Published] = weakref.WeakKeyDictionary()
"""Flattened dims that torch knows by name, and the root's dims that each covers; as long as its root."""


class _Thread(threading.local):
    """What torch's tables hold in this thread, for as long as the thread lives."""

    def __init__(self) -> None:
        self.known: dict[int, weakref.ref[DeviceMesh]] = {}
        """By hash, which equal meshes share: of these the one that was asked for last."""
        self.linked: dict[int, weakref.ref[DeviceMesh]] = {}
        """By identity: those that can be recalled. Cleared where an equal mesh takes a place."""


_thread = _Thread()


def recall(mesh: object, key: Hashable) -> DeviceMesh | None:
    try:
        view: View = view_on(mesh)
        found = view.made[key]
        is_linked = _thread.linked[id(found)]() is found
        world = current_world()
    except (AttributeError, KeyError, TypeError):
        return None
    return found if is_linked and world is not None and view.root.world() is world else None


def relink(mesh: DeviceMesh) -> None:
    linked = _thread.linked.get(id(mesh))
    if linked is not None and linked() is mesh:
        return
    view = remembered(mesh)
    if view is None or view.root.is_detached:
        return
    there = _known_here(mesh)
    if there is not mesh:
        if there is not None:
            _thread.linked.clear()
        _thread.known[hash(mesh)] = weakref.ref(mesh)
        _fill_tables(mesh, view)
    _thread.linked[id(mesh)] = weakref.ref(mesh)


def see(root: Root) -> None:
    if _era().is_thread_local():
        relink(root.mesh)


def forget(root: Root) -> None:
    meshes = root.meshes()
    ours = {id(mesh) for mesh in meshes}
    for mesh in _unseen_parts(root, ours):
        remember_of_others(mesh, View(root, (), root.mesh))
    _era().unlink(meshes)
    known = _thread.known.items()
    _thread.known = {key: mesh for key, mesh in known if id(mesh()) not in ours}
    _thread.linked = {key: mesh for key, mesh in _thread.linked.items() if key not in ours}


def anchor_of(view: View, dims: tuple[Dim, ...]) -> DeviceMesh | None:
    # From 2.5 on what is picked from a view that is its own root belongs to that view, so that
    # FSDP2 beside TP finds the dims of both there.
    root, published = view.root, _published.get(view.root, {})
    _, last = published.get(dims[-1].name or "", (None, None))
    is_flat = dims[-1] not in root.dims
    is_known = _native_dims(root, dims) is not None and not (is_flat and _is_refused(root, last))
    outer = remembered(view.anchor)
    if outer is not None and outer.anchor is not root.mesh:
        indices = [outer.dims.index(dim) for dim in dims if dim in outer.dims]
        is_inside = len(indices) == len(dims) and indices == sorted(set(indices))
        if is_inside and (_era().publishes_flattened() or not is_known):
            return outer.anchor
    return root.mesh if is_known else None


def anchor_of_flat(root: Root, joined: Sequence[Dim]) -> DeviceMesh | None:
    covered = _run_of(root, joined)
    publishes = _era().publishes_flattened() and covered is not None
    return root.mesh if publishes and not _is_refused(root, covered) else None


def anchor_outside(root: Root, mesh: DeviceMesh) -> DeviceMesh:  # noqa: ARG001
    # torch's root would answer a flattened name with the group that this rank is in.
    return mesh


def belongs_to_view(view: View, dim: Dim) -> bool:
    is_apart = view.anchor is not view.root.mesh and dim in view.dims
    return is_apart and _era().publishes_flattened()


def keep_flat(root: Root, dim: Dim, joined: Sequence[Dim], mesh: DeviceMesh) -> None:
    covered = _run_of(root, joined)
    if _era().publishes_flattened() and covered is not None and dim.name is not None:
        _published[root] = {**_published.get(root, {}), dim.name: (dim, covered)}
        _era().publish_flattened(root.mesh, dim.name, mesh, covered)


def refuse_publish(view: View) -> None:
    if _era().publishes_flattened() and _run_of(view.root, view.dims) is None:
        raise MeshLayoutError(
            f"mesh dims {view.names} do not lie side by side in the root "
            f"{names_of(view.root.dims)}, and this torch would slice wrong ranks by the name of "
            f"them flattened; leave publish out"
        )


def publish(root: Root, name: str) -> None:
    # What this torch can know of was written when it was flattened.
    pass


def root_view(torch_root: DeviceMesh, look_over: Callable[[DeviceMesh], View]) -> View | None:
    try:
        view = remembered(torch_root) or look_over(torch_root)
    except MeshLayoutError:
        return None
    return view if view.root.is_alive else None


def is_part(mesh: DeviceMesh, root: Root, torch_root: DeviceMesh) -> bool:  # noqa: ARG001
    # A root can equal another root's submesh: the groups tell whose it is.
    handles = _era().group_handles(mesh) or []
    known = [group.handle for group in root.groups]
    for flat in _era().native_flattened(root.mesh).values():
        known += _era().group_handles(flat) or []
    return all(handle in known for handle in handles)


def take_up_flat(root: Root, dim: Dim) -> None:
    covered = _covered(root, dim)
    if _era().publishes_flattened() and covered is not None and dim.name is not None:
        _published[root] = {**_published.get(root, {}), dim.name: (dim, covered)}


def _unseen_parts(root: Root, ours: set[int]) -> list[DeviceMesh]:
    """Return the meshes that torch sliced from *root* and that were never looked over.

    torch's tables are keyed by value, so they do not hold most slices; and once the root is out of
    them, a slice is no different from a new root of the same value. So living objects are asked.
    """
    living = [each for each in gc.get_objects() if type(each) is DeviceMesh]
    unseen = [mesh for mesh in living if remembered(mesh) is None and _is_made(mesh)]
    return [mesh for mesh in unseen if _is_part_of(mesh, root, ours)]


def _is_made(mesh: DeviceMesh) -> bool:
    """Return whether a mesh has the value that it is a key by: another thread may be making it."""
    try:
        hash(mesh)
    except AttributeError:
        return False
    return True


def _is_part_of(mesh: DeviceMesh, root: Root, ours: set[int]) -> bool:
    torch_root = _era().root(mesh)
    if torch_root is mesh or not is_part(mesh, root, torch_root):
        return False
    # Of equal slices of equal roots the tables know the last one's root: groups tell the others.
    of_other = _era().group_handles(torch_root) or []
    handles = _era().group_handles(mesh) or []
    return id(torch_root) in ours or any(handle not in of_other for handle in handles)


def _era() -> TablePrimitives:
    return cast("TablePrimitives", _eras.primitives())


def _is_refused(root: Root, covered: tuple[int, ...] | None) -> bool:
    """Return whether a flattened dim over these dims of the root is for TP, and TP refuses it.

    Up to 2.8 TP takes only the last dim of torch's root, by name: not one that is flattened.
    Where that covers the last dim, no other dim of the root can be TP's beside it.
    """
    is_last = covered is not None and covered[-1] == len(root.dims) - 1
    return is_last and _era().wants_innermost()


def _native_dims(root: Root, dims: Sequence[Dim]) -> tuple[int, ...] | None:
    """Return the root's dims that *dims* cover, if torch's root knows all by name and order."""
    published = _published.get(root, {})
    covered: list[int] = []
    for dim in dims:
        known, root_dims = published.get(dim.name or "", (None, ()))
        if dim in root.dims:
            covered.append(root.dims.index(dim))
        elif dim == known:
            covered.extend(root_dims)
        else:
            return None
    return tuple(covered) if covered == sorted(set(covered)) else None


def _run_of(root: Root, dims: Sequence[Dim]) -> tuple[int, ...] | None:
    """Return the root's dims that *dims* cover, if these lie side by side; see `_native_dims`."""
    covered = _native_dims(root, dims)
    if not covered or covered[-1] - covered[0] != len(covered) - 1:
        return None
    return covered


def _covered(root: Root, dim: Dim) -> tuple[int, ...] | None:
    """Return the neighbouring dims of the root that make up *dim*, if some do."""
    count = len(root.dims)
    for first in range(count):
        for after in range(first + 1, count + 1):
            dims = root.dims[first:after]
            if _layout.join(part.axes for part in dims) == dim.axes and _native_dims(root, dims):
                return tuple(range(first, after))
    return None


def _fill_tables(mesh: DeviceMesh, view: View) -> None:
    """Write into torch's tables of this thread where *mesh* belongs, and what was flattened.

    From 2.4 on the tables are empty in a thread that has not seen the mesh.
    """
    root = view.root
    if view.anchor is mesh:
        _leave_others(mesh, view)
    else:
        relink(view.anchor)
        _era().link(mesh, view.anchor)
    for name, (_, root_dims) in _published.get(root, {}).items():
        flat = root.flattened[name]
        # What another thread flattened since this one saw the root is new to it.
        if view.anchor is root.mesh or mesh is flat:
            if _known_here(flat) is None:
                relink(flat)
            _era().publish_flattened(root.mesh, name, flat, root_dims)


def _known_here(mesh: DeviceMesh) -> DeviceMesh | None:
    """Return the mesh that torch's tables know in this thread: of equal ones the last."""
    known = _thread.known.get(hash(mesh))
    return None if known is None else known()


def _leave_others(mesh: DeviceMesh, view: View) -> None:
    """Take *mesh*, its own root, out of the family of an equal mesh.

    A root stays where somebody slices it by torch, unless that world was destroyed: torch's
    tables outlive it.
    """
    torch_root = _era().root(mesh)
    other = remembered(torch_root)
    if torch_root is mesh or other is None:
        return
    if view.root.mesh is not mesh or not other.root.is_alive:
        _era().link(mesh, mesh)
