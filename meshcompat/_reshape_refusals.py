"""What cannot be flattened or split: the refusals of `flatten` and `unflatten`, and what both ask of mesh dims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat import _layout
from meshcompat._errors import MeshDimError, MeshLayoutError
from meshcompat._fitting import split_axes
from meshcompat._mesh import foreign
from meshcompat._mesh.lookup import find_flat
from meshcompat._mesh.objects import sorted_message
from meshcompat._mesh.order import keeps_order
from meshcompat._plain_arguments import is_int

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcompat._eras.process_groups import GroupOptions
    from meshcompat._layout import Axes
    from meshcompat._mesh.memory import Dim, View


def refuse_flatten(view: View, name: str, made_with: GroupOptions, *, is_asked: bool) -> None:
    """Refuse to flatten *view* under *name* where `flatten` must not; make nothing.

    *made_with* is checked against a flattened mesh that is there only where *is_asked*.

    Raises:
        MeshLayoutError: See `flatten`.
    """
    if view.names == (name,):
        _refuse_other_options(view.dims[0], made_with, is_asked=is_asked)
        return
    _refuse_taken_name(view, name)
    axes = _layout.join(view.layouts)
    known = find_flat(view.root, name)
    if known is None or known[0].axes != axes:
        _refuse_descending(view, axes)
    if known is not None:
        _refuse_other_dims(known[0], axes)
        _refuse_other_options(known[0], made_with, is_asked=is_asked)
        if known[0].group is not None and not known[0].group.in_order:
            raise MeshLayoutError(sorted_message(known[0]))


def _refuse_descending(view: View, axes: Axes) -> None:
    if not keeps_order(view.root, axes):
        raise MeshLayoutError(
            f"flattening mesh dims {view.names} gives ranks that do not ascend, and a process "
            f"group would sort them, so mesh and group would disagree; {_way_to_ascend(view)}"
        )


def _way_to_ascend(view: View) -> str:
    """Say what to do about dims of *view* whose ranks, joined, do not ascend."""
    root, ordered = view.root, in_root_order(view.dims)
    axes = _layout.join(dim.axes for dim in ordered)
    if keeps_order(root, axes):
        return f"select the dims in the order {tuple(dim.name for dim in ordered)} first"
    ascending = _layout.outermost_first(axes)
    if not keeps_order(root, ascending):
        return "make the root over ranks that ascend along these dims, or use torch 2.15"
    native = foreign.dims_along(root, _layout.offsets(axes))
    if _layout.join(dim.axes for dim in native) == ascending:
        names = tuple(dim.name for dim in native)
        return f"join the mesh dims of the root that make up the same ranks, in its order {names}"
    return "no order of these dims ascends; for a group alone ask meshcompat.get_group"


def _refuse_taken_name(view: View, name: str) -> None:
    taken = {*view.names, *(dim.name for dim in view.root.dims)}
    if name in taken:
        raise MeshLayoutError(
            f"mesh_dim_name {name!r} is the name of a mesh dim already; the mesh has "
            f"{view.names} and its root {tuple(dim.name for dim in view.root.dims)}; choose "
            f"another name"
        )


def _refuse_other_dims(known: Dim, axes: Axes) -> None:
    if known.axes != axes:
        raise MeshLayoutError(
            f"mesh_dim_name {known.name!r} is taken by a flattened mesh of other ranks, of size "
            f"{_layout.size_of(known.axes)}; choose another name"
        )


def _refuse_other_options(known: Dim, made_with: GroupOptions, *, is_asked: bool) -> None:
    if is_asked and (known.group is None or known.group.made_with != made_with):
        raise MeshLayoutError(
            f"mesh dim {known.name!r} is there already with another backend, options or "
            f"timeout; choose another mesh_dim_name, or leave them out to get what is there"
        )


def in_root_order(dims: Sequence[Dim]) -> list[Dim]:
    """Sort mesh dims by stride, largest first; a dim of size 1 may stand anywhere."""
    return sorted(dims, key=lambda dim: -dim.axes[0][1] if dim.axes else 0)


def dim_index(view: View, mesh_dim: object) -> int:
    count = len(view.dims)
    if is_int(mesh_dim) and -count <= mesh_dim < count:
        return int(mesh_dim) % count
    for index, dim in enumerate(view.dims):
        if dim.name is not None and dim.name == mesh_dim:
            return index
    raise MeshDimError(
        f"unknown mesh_dim {mesh_dim!r}: the mesh has {count} mesh dims, {view.names}; give "
        f"one of these names, or an index below {count}"
    )


def split_dim(view: View, index: int, sizes: tuple[int, ...]) -> tuple[Axes, ...]:
    """Return the axes of the parts of one mesh dim.

    Raises:
        MeshLayoutError: See `unflatten`.
    """
    parts = split_axes(view.dims[index].name, view.dims[index].axes, sizes)
    if not all(keeps_order(view.root, part) for part in parts):
        raise MeshLayoutError(
            f"splitting mesh dim {view.dims[index].name!r} into sizes {sizes!r} gives ranks that "
            f"do not ascend, and a process group would sort them, so mesh and group would "
            f"disagree; split a mesh dim along which ranks ascend"
        )
    return parts
