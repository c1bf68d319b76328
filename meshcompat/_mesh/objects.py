"""Real `DeviceMesh` objects from mesh dims that are known, with the groups these have.

Nothing here makes a process group, and nothing is a collective.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch.distributed as dist

from meshcompat import _eras, _layout
from meshcompat._eras.rank_tensors import shape_and_ranks
from meshcompat._errors import (
    MeshCompatError,
    MeshLayoutError,
    NotInMeshError,
    UnsupportedTorchError,
)
from meshcompat._mesh import places
from meshcompat._mesh.links import links
from meshcompat._mesh.memory import (
    Root,
    View,
    detached_message,
    lock,
    names_of,
    remember,
    remembered,
)
from meshcompat._mesh.order import asks_for_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._mesh.memory import Dim, Group


class _NoGroups(list[object]):
    """The groups of a mesh that has none on this rank: asking torch for one says why."""

    def __init__(self, error: type[MeshCompatError], word: Callable[[], str]) -> None:
        super().__init__()
        self._error = error
        self._word = word

    def __getitem__(self, index: object) -> object:  # type: ignore[override]
        raise self._error(self._word())


def destroyed_message() -> str:
    """Word the error of a mesh whose root was destroyed."""
    return (
        "the process groups of this mesh were given up by meshcompat.destroy_mesh; make the mesh "
        "again with meshcompat.init_device_mesh"
    )


def outside_message() -> str:
    """Word the error of a rank outside a mesh."""
    return (
        f"rank {dist.get_rank()} is not in this mesh, so it has no process group and no local "
        f"rank there; ask meshcompat.is_member(mesh) first"
    )


def sorted_message(dim: Dim) -> str:
    """Word the error of a mesh dim whose process group torch sorted."""
    return (
        f"mesh dim {dim.name!r} has ranks that do not ascend, and torch sorted them in the process "
        f"group that it made, so mesh and group disagree; make the mesh with "
        f"meshcompat.init_device_mesh over ranks that ascend along every mesh dim, or on torch 2.15 "
        f"in any order"
    )


def new_root(
    device_type: str,
    ranks: Sequence[int],
    shape: tuple[int, ...],
    names: tuple[str, ...] | None,
    *,
    timeout: timedelta | None = None,
    keep_order: bool = True,
) -> Root:
    """Return a root over *ranks*, row major, with a mesh that has no groups yet; see `finished`.

    *keep_order* asks torch for groups in the order of *ranks*, where it can and they descend.
    """
    make = _eras.primitives().make_root
    is_asked = keep_order and asks_for_order(ranks)
    mesh = make(device_type, ranks, shape, names, keep_order=is_asked)
    # What a torch that no one has seen made of them is read off the mesh.
    return Root(mesh, (shape, ranks) if _eras.is_known() else None, timeout=timeout)


def detached_root(
    device_type: str,
    ranks: Sequence[int],
    shape: tuple[int, ...],
    names: tuple[str, ...] | None,
    rank: int | None,
) -> Root:
    """Return a root without a world and without groups, as *rank* has seen it."""
    mesh = _eras.primitives().make_detached(device_type, ranks, shape, names, rank)
    _eras.primitives().set_group_handles(mesh, _NoGroups(MeshLayoutError, detached_message))
    root = Root(mesh, is_detached=True, rank=rank)
    remember(mesh, root.settle([None] * len(shape)))
    return root


def finished(root: Root, groups: Sequence[Group | None]) -> DeviceMesh:
    """Return the mesh of a new root, with the groups of its dims."""
    view = remember(root.mesh, root.settle(groups))
    set_groups(root.mesh, root, view.dims)
    links.relink(root.mesh)
    return root.mesh


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
    anchor = links.anchor_of(view, dims)
    outer = None if anchor is None else remembered(anchor)
    if anchor is not None and outer is not None and outer.dims == dims:
        return anchor
    return _interned(root, dims, anchor)


def flat_mesh(root: Root, dim: Dim, joined: Sequence[Dim]) -> DeviceMesh:
    """Return the 1-D mesh of a new flattened dim over *joined*, and keep it under its name."""
    mesh = _interned(root, (dim,), links.anchor_of_flat(root, joined))
    root.flattened[dim.name or ""] = mesh  # a flattened dim has a name
    places.keep_joined(root, dim, joined)
    links.keep_flat(root, dim, joined, mesh)
    return mesh


def inert_mesh(root: Root, dims: tuple[Dim, ...], start: int) -> DeviceMesh:
    """Return the mesh from position *start* on, which this rank is not in; the same if it is there."""
    with lock:
        found = root.elsewhere.get((dims, start))
        if found is None:
            found = _make_inert(root, dims, start)
            root.elsewhere[dims, start] = found
    links.relink(found)
    return found


def _make_inert(root: Root, dims: tuple[Dim, ...], start: int) -> DeviceMesh:
    if root.is_detached:
        mesh = _detached(root, dims, start)
    else:
        mesh = _outside(root, dims, start)
        _eras.primitives().set_group_handles(mesh, _NoGroups(NotInMeshError, outside_message))
    remember(mesh, View(root, dims, links.anchor_outside(root, mesh), elsewhere=start))
    return mesh


def set_groups(mesh: DeviceMesh, root: Root, dims: Sequence[Dim]) -> None:
    """Hand the groups of *dims* to torch's mesh; a dim without one leaves it without any."""
    handles: list[object] = _NoGroups(NotInMeshError, outside_message)
    unordered = next((dim for dim in dims if dim.group and not dim.group.in_order), None)
    if unordered is not None:
        handles = _NoGroups(MeshLayoutError, functools.partial(sorted_message, unordered))
    elif root.is_member:
        handles = [dim.group.handle for dim in dims if dim.group is not None]
        if len(handles) < len(dims):
            return
    _eras.primitives().set_group_handles(mesh, handles)


def give_up_groups(root: Root, meshes: Sequence[DeviceMesh]) -> None:
    """Leave no group on the meshes of a root that ends: torch's lookup by ranks could find another's."""
    _eras.primitives().forget_groups(root.mesh)
    for mesh in meshes:
        _eras.primitives().set_group_handles(mesh, _NoGroups(MeshLayoutError, destroyed_message))


def _interned(root: Root, dims: tuple[Dim, ...], anchor: DeviceMesh | None) -> DeviceMesh:
    key = (dims, None if anchor is None else id(anchor))
    with lock:
        found = root.made.get(key)
        if found is None:
            found = _make(root, dims)
            remember(found, View(root, dims, found if anchor is None else anchor))
            root.made[key] = found
    links.relink(found)
    return found


def _make(root: Root, dims: tuple[Dim, ...]) -> DeviceMesh:
    layouts = [dim.axes for dim in dims]
    start = _layout.start_of(_layout.join(layouts), root.position)
    if root.is_detached:
        return _detached(root, dims, start)
    expected = functools.partial(root.ranks_of, layouts, start)
    if root.is_member:
        mesh = _eras.primitives().make_submesh(root.mesh, expected, layouts, names_of(dims))
    else:
        mesh = _outside(root, dims, start)
    # What protects from a torch that no one has seen: a mesh is handed out only if right. Looking
    # at its ranks takes as long as to make it, so that what tests have seen is not looked at.
    if not _eras.is_known():
        asked = (tuple(map(_layout.size_of, layouts)), expected())
        _refuse_other_ranks(shape_and_ranks(mesh), asked)
    set_groups(mesh, root, dims)
    return mesh


def _detached(root: Root, dims: tuple[Dim, ...], start: int) -> DeviceMesh:
    layouts = [dim.axes for dim in dims]
    ranks, shape = root.ranks_of(layouts, start), [_layout.size_of(axes) for axes in layouts]
    device_type, era = root.mesh.device_type, _eras.primitives()
    mesh = era.make_detached(device_type, ranks, shape, names_of(dims), root.rank)
    era.set_group_handles(mesh, _NoGroups(MeshLayoutError, detached_message))
    return mesh


def _outside(root: Root, dims: tuple[Dim, ...], start: int) -> DeviceMesh:
    layouts = [dim.axes for dim in dims]
    ranks, shape = root.ranks_of(layouts, start), [_layout.size_of(axes) for axes in layouts]
    return _eras.primitives().make_outside(root.mesh, ranks, shape, names_of(dims))


def _refuse_other_ranks(made: object, asked: object) -> None:
    if made != asked:
        raise UnsupportedTorchError(
            f"this torch made a mesh of shape and ranks {made} where {asked} was asked for; use "
            f"a torch that this meshcompat was tested with, or a newer meshcompat"
        )
