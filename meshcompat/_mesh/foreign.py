"""Meshes that someone else made: by torch, or by another library.

Their layout is read from their ranks. What torch says of their root is believed up to 2.9
only where the groups agree, because there a root can equal another root's submesh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from meshcompat import _eras, _layout
from meshcompat._eras.process_groups import GroupOptions, group_named, made_like, own_timeout
from meshcompat._eras.rank_tensors import shape_and_ranks
from meshcompat._errors import MeshLayoutError
from meshcompat._mesh.links import links
from meshcompat._mesh.memory import (
    Dim,
    Group,
    Root,
    View,
    live_roots,
    refuse_detached,
    remember_of_others,
    remembered,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._eras._primitives import Handle
    from meshcompat._layout import Axes


def adopt(mesh: DeviceMesh) -> View:
    """Look a new mesh over and remember what it is.

    Raises:
        MeshLayoutError: Its groups are gone, or do not hold its ranks.
    """
    torch_root = _eras.primitives().root(mesh)
    if torch_root is not mesh:
        root_view = links.root_view(torch_root, adopt)
        view = root_view and _as_submesh(mesh, root_view.root, torch_root)
        if view is not None:
            return remember_of_others(mesh, view)
    return remember_of_others(mesh, _as_root(mesh))


def find_flattened(root: Root) -> None:
    """Take up what someone flattened in *root* behind our back."""
    for name, mesh in _eras.primitives().native_flattened(root.mesh).items():
        if name in root.flattened:
            continue
        view = remembered(mesh) or _as_submesh(mesh, root, root.mesh)
        if view is None or view.root is not root:
            continue
        remember_of_others(mesh, view)
        root.flattened[name] = mesh
        links.take_up_flat(root, view.dims[0])


def part_kept_apart(mesh: DeviceMesh, root: Root) -> Dim | None:
    """Return what a 1-D *mesh* that torch does not link to *root* is there; None where nothing."""
    if mesh.ndim != 1:
        return None
    try:
        view = _as_submesh(mesh, root, root.mesh, is_apart=True)
    except MeshLayoutError:  # its groups are gone, or of other ranks
        return None
    return view.dims[0] if view is not None and view.elsewhere is None else None


def adopt_group(
    root: Root,
    axes: Axes,
    handle: Handle,
    mesh: DeviceMesh,
    *,
    known_to_all: bool,
    in_order: bool = False,
) -> Group:
    """Return the record of a group that is there already, after checking its ranks.

    *known_to_all* says that all ranks of the root take the group up at this place of their
    program. Only such a group can stand in for another one later, and only where the root covers
    the world. *in_order* asks for the mesh's order of ranks, which torch does not keep in its own
    permuted meshes; a group without it is known, but serves nobody.
    """
    refuse_detached(root)
    of_dim = (group for group in root.groups if (group.handle, group.axes) == (handle, axes))
    record = next(of_dim, None)
    if record is None or (in_order and not record.in_order):
        record = _look_at_group(root, axes, handle, mesh, in_order=in_order)
        root.groups.append(record)
    if known_to_all and not record.shareable and _serves_all(root, axes, in_order=in_order):
        record.shareable = True
        # Only now do all ranks know it, so it stands behind the groups made before.
        root.groups.remove(record)
        root.groups.append(record)
    return record


def _look_at_group(
    root: Root, axes: Axes, handle: Handle, mesh: DeviceMesh, *, in_order: bool
) -> Group:
    group = _eras.primitives().group_of(handle)
    start = _layout.start_of(axes, root.position)
    expected = root.ranks_at([start + offset for offset in _layout.offsets(axes)])
    found = [] if group is None else dist.get_process_group_ranks(group)
    is_right = found == expected if in_order else sorted(found) == sorted(expected)
    if group is None or not is_right:
        state = "is gone" if group is None else f"holds ranks {found}"
        raise MeshLayoutError(
            f"{mesh!r} has a mesh dim of ranks {expected} whose process group {state}; make "
            f"the mesh again in this world, and select flattened dims with "
            f"meshcompat.get_submesh instead of slicing"
        )
    made_with = GroupOptions(backend=backend_of(group))
    return Group(axes, made_with, handle, shareable=False, in_order=found == expected)


def _serves_all(root: Root, axes: Axes, *, in_order: bool) -> bool:
    """Return whether the groups of all ranks along *axes* are known to be in the mesh's order.

    Where torch sorts, those of other ranks can be out of order though this rank's own is not.
    Where it is asked for *in_order*, every rank has checked its own.
    """
    if not root.covers_world:
        return False
    return in_order or _eras.primitives().preserves_order(root.mesh) or not root.descends(axes)


def take_up_group(root: Root, axes: Axes, group: ProcessGroup) -> Group:
    """Return the record of a group that the caller made, whose ranks must be in the mesh's order."""
    handle = _eras.primitives().handle_for(root.mesh, group)
    record = adopt_group(root, axes, handle, root.mesh, known_to_all=True, in_order=True)
    if not record.is_ours:
        record.made_with = record.made_with._replace(timeout=own_timeout(group))
    return record


def backend_of(group: ProcessGroup) -> str | None:
    """Return the backend of a group by name, or None where it is that of the world."""
    backend: str = dist.get_backend(group)
    return None if backend == dist.get_backend() else backend


def _as_root(mesh: DeviceMesh) -> View:
    root = Root(mesh)
    handles = _eras.primitives().group_handles(mesh) or []
    dims = _layout.dims_of(root.shape)
    return root.settle(_groups(root, dims, handles, mesh, known_to_all=True))


def _as_submesh(
    mesh: DeviceMesh, root: Root, torch_root: DeviceMesh, *, is_apart: bool = False
) -> View | None:
    """Return the view of *mesh* as a part of *root*, or None where it is none.

    Where it *is_apart*, its ranks and groups alone say so. Its own groups serve no other dim: the
    other ranks do not know that this rank has asked about the mesh.
    """
    shape, ranks = shape_and_ranks(mesh)
    positions = root.positions_of(ranks)
    layouts = None if positions is None else _layout.derive(positions, shape)
    if not positions or layouts is None:
        return None
    axes = _layout.join(layouts)
    first = _layout.start_of(axes, positions[0])
    if _layout.complement(axes, root.size) is None or first != positions[0]:
        return None
    if not is_apart and not links.is_part(mesh, root, torch_root):
        return None
    handles = _eras.primitives().group_handles(mesh) or []
    if is_apart:
        handles = handles or _named_handles(mesh, root)
    names = mesh.mesh_dim_names or (None,) * len(layouts)
    if root.is_member and root.position not in positions:
        dims = tuple(map(Dim, names, layouts, [None] * len(layouts)))
        return View(root, dims, torch_root, elsewhere=positions[0])
    groups = _groups(root, layouts, handles, mesh, known_to_all=False)
    return View(root, tuple(map(Dim, names, layouts, groups)), torch_root)


def _groups(
    root: Root,
    layouts: tuple[Axes, ...],
    handles: list[Handle],
    mesh: DeviceMesh,
    *,
    known_to_all: bool,
) -> list[Group | None]:
    if not root.is_member or len(handles) != len(layouts):
        return [None] * len(layouts)
    return [
        adopt_group(root, axes, handle, mesh, known_to_all=known_to_all)
        for axes, handle in zip(layouts, handles, strict=True)
    ]


def _named_handles(mesh: DeviceMesh, root: Root) -> list[Handle]:
    """Return the groups that somebody named on *mesh* as torch does from 2.8 on, for any torch."""
    names: list[str] = vars(mesh).get("_dim_group_names") or []
    groups = [group_named(name) for name in names]
    return [
        _eras.primitives().handle_for(root.mesh, group) for group in groups if group is not None
    ]


def can_have_twin(root: Root) -> bool:
    """Return whether torch can have made another root like *root* that nobody asked about here.

    Then there is, for every mesh dim that has a group of its own, one more like it which belongs to
    no root that is known.
    """
    world: Any = dist.group.WORLD
    known = {group for other in live_roots() for group in _living(other.groups)}
    dims = [dim.group for dim in root.dims if dim.axes and dim.group is not None]
    own = [group for group in _living(dims) if group is not world]
    return bool(own) and all(set(made_like(group)) - known for group in own)


def _living(groups: Sequence[Group]) -> list[ProcessGroup]:
    handles = [group.handle for group in groups if group.handle is not None]
    found = [_eras.primitives().group_of(handle) for handle in handles]
    return [group for group in found if group is not None and _is_alive(group)]


def covered_dims(root: Root, group: ProcessGroup) -> tuple[Dim, ...]:
    """Return the dims of the root whose ranks together are those of *group*."""
    ranks = sorted(dist.get_process_group_ranks(group))
    where = {rank: position for position, rank in enumerate(root.rank_map)}
    covered = dims_along(root, [where[rank] for rank in ranks if rank in where])
    axes = _layout.join(dim.axes for dim in covered)
    start = _layout.start_of(axes, root.position)
    expected = root.ranks_at([start + offset for offset in _layout.offsets(axes)])
    if sorted(expected) != ranks:
        raise MeshLayoutError(
            f"the group holds ranks {ranks}, which are no union of mesh dims "
            f"{tuple(dim.name for dim in root.dims)} around rank {dist.get_rank()}; register a "
            f"group over whole mesh dims"
        )
    return covered


def dims_along(root: Root, positions: Sequence[int]) -> tuple[Dim, ...]:
    """Return the dims of the root along which these positions differ."""
    return tuple(
        dim
        for dim in root.dims
        if len({_layout.coordinate(dim.axes, position) for position in positions}) > 1
    )


def are_living_groups(groups: list[Any]) -> bool:
    return all(isinstance(group, dist.ProcessGroup) and _is_alive(group) for group in groups)


def _is_alive(group: ProcessGroup) -> bool:
    try:
        dist.get_process_group_ranks(group)
    except (KeyError, ValueError):
        return False
    return True
