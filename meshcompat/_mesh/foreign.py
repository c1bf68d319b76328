"""Meshes that someone else made: by torch, or by another library.

Their layout is read from their ranks. What torch says of their root is believed up to 2.9
only where the groups agree, because there a root can equal another root's submesh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from meshcompat import _eras, _layout
from meshcompat._eras.process_groups import GroupOptions
from meshcompat._errors import MeshLayoutError
from meshcompat._mesh.memory import Dim, Group, Root, View, remember, remembered
from meshcompat._mesh.tables import native_dims

if TYPE_CHECKING:
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
        root_view = _root_view(torch_root)
        view = root_view and _as_submesh(mesh, root_view.root, torch_root)
        if view is not None:
            return remember(mesh, view)
    return remember(mesh, _as_root(mesh))


def find_flattened(root: Root) -> None:
    """Take up what someone flattened in *root* behind our back."""
    for name, mesh in _eras.primitives().native_flattened(root.mesh).items():
        if name in root.flattened:
            continue
        view = remembered(mesh) or _as_submesh(mesh, root, root.mesh)
        if view is None or view.root is not root:
            continue
        remember(mesh, view)
        root.flattened[name] = mesh
        root_dims = _covered(root, view.dims[0].axes)
        if _eras.primitives().publishes_flattened() and root_dims is not None:
            root.published[name] = (view.dims[0], root_dims)


def adopt_group(
    root: Root, axes: Axes, handle: Handle, mesh: DeviceMesh, *, in_order: bool = False
) -> Group:
    """Return the record of a group that is there already, after checking its ranks.

    Only where the root covers the world do all ranks see the same groups, so only there can
    the group stand in for another one later. *in_order* asks for the mesh's order of ranks,
    which torch does not keep in its own permuted meshes.
    """
    partition = _layout.outermost_first(axes)
    for known in root.groups:
        if known.handle == handle and known.partition == partition:
            return known
    group = _eras.primitives().group_of(handle)
    start = _layout.start_of(axes, root.position)
    expected = root.ranks_at([start + offset for offset in _layout.offsets(axes)])
    found = None if group is None else dist.get_process_group_ranks(group)
    if found is not None and not in_order:
        found, expected = sorted(found), sorted(expected)
    if group is None or found != expected:
        state = "is gone" if found is None else f"holds ranks {found}"
        raise MeshLayoutError(
            f"{mesh!r} has a mesh dim of ranks {expected} whose process group {state}; make "
            f"the mesh again in this world, and select flattened dims with "
            f"meshcompat.get_submesh instead of slicing"
        )
    made_with = GroupOptions(backend=backend_of(group))
    record = Group(axes, made_with, handle, shareable=root.covers_world)
    root.groups.append(record)
    return record


def backend_of(group: ProcessGroup) -> str | None:
    """Return the backend of a group by name, or None where it is that of the world."""
    backend: str = dist.get_backend(group)
    return None if backend == dist.get_backend() else backend


def _root_view(torch_root: DeviceMesh) -> View | None:
    """Return what is known of torch's root.

    None up to 2.9 where it is of a destroyed world: an equal mesh had that root.
    """
    if _eras.primitives().has_one_root():
        return remembered(torch_root) or adopt(torch_root)
    try:
        view = remembered(torch_root) or adopt(torch_root)
    except MeshLayoutError:
        return None
    return view if view.root.is_alive else None


def _as_root(mesh: DeviceMesh) -> View:
    root = Root(mesh)
    handles = _eras.primitives().group_handles(mesh) or []
    names = mesh.mesh_dim_names or (None,) * len(root.shape)
    layouts = _layout.dims_of(root.shape)
    groups = _groups(root, layouts, handles, mesh)
    root.dims = tuple(map(Dim, names, layouts, groups))
    return View(root, root.dims, mesh)


def _as_submesh(mesh: DeviceMesh, root: Root, torch_root: DeviceMesh) -> View | None:
    """Return the view of *mesh* as a part of *root*, or None where it is none."""
    positions = root.positions_of(mesh.mesh.flatten().tolist())
    layouts = None if positions is None else _layout.derive(positions, tuple(mesh.mesh.shape))
    if not positions or layouts is None:
        return None
    axes = _layout.join(layouts)
    first = _layout.start_of(axes, positions[0])
    if _layout.complement(axes, root.size) is None or first != positions[0]:
        return None
    era = _eras.primitives()
    handles = era.group_handles(mesh) or []
    belongs = era.root(mesh) is torch_root if era.has_one_root() else _belong(handles, root)
    if not belongs:
        return None
    names = mesh.mesh_dim_names or (None,) * len(layouts)
    if root.is_member and root.position not in positions:
        dims = tuple(map(Dim, names, layouts, [None] * len(layouts)))
        return View(root, dims, torch_root, elsewhere=positions[0])
    dims = tuple(map(Dim, names, layouts, _groups(root, layouts, handles, mesh)))
    return View(root, dims, torch_root)


def _groups(
    root: Root, layouts: tuple[Axes, ...], handles: list[Handle], mesh: DeviceMesh
) -> list[Group | None]:
    if not root.is_member or len(handles) != len(layouts):
        return [None] * len(layouts)
    return [adopt_group(root, *pair, mesh) for pair in zip(layouts, handles, strict=True)]


def _belong(handles: list[Handle], root: Root) -> bool:
    known = [group.handle for group in root.groups]
    for flat in _eras.primitives().native_flattened(root.mesh).values():
        known += _eras.primitives().group_handles(flat) or []
    return all(handle in known for handle in handles)


def _covered(root: Root, axes: Axes) -> tuple[int, ...] | None:
    """Return the neighbouring dims of the root that make up *axes*, if some do."""
    count = len(root.dims)
    for first in range(count):
        for after in range(first + 1, count + 1):
            dims = root.dims[first:after]
            if _layout.join(dim.axes for dim in dims) == axes and native_dims(root, dims):
                return tuple(range(first, after))
    return None


def covered_dims(root: Root, group: ProcessGroup) -> tuple[int, ...]:
    """Return the dims of the root whose ranks together are those of *group*."""
    ranks = sorted(dist.get_process_group_ranks(group))
    where = {rank: position for position, rank in enumerate(root.rank_map.tolist())}
    positions = [where[rank] for rank in ranks if rank in where]
    covered = tuple(
        index
        for index, dim in enumerate(root.dims)
        if len({_layout.coordinate(dim.axes, position) for position in positions}) > 1
    )
    axes = _layout.join(root.dims[index].axes for index in covered)
    start = _layout.start_of(axes, root.position)
    expected = root.ranks_at([start + offset for offset in _layout.offsets(axes)])
    if sorted(expected) != ranks:
        raise MeshLayoutError(
            f"the group holds ranks {ranks}, which are no union of mesh dims "
            f"{tuple(dim.name for dim in root.dims)} around rank {dist.get_rank()}; register a "
            f"group over whole mesh dims"
        )
    return covered


def are_living_groups(groups: list[Any]) -> bool:
    return all(isinstance(group, dist.ProcessGroup) and _is_alive(group) for group in groups)


def _is_alive(group: ProcessGroup) -> bool:
    try:
        dist.get_process_group_ranks(group)
    except (KeyError, ValueError):
        return False
    return True
