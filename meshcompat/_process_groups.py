"""Between meshes and process groups: a mesh's groups and ranks, and groups that become a mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from meshcompat import _eras, _foreign, _layout
from meshcompat._anchors import relink
from meshcompat._arguments import as_device_type, as_name, as_names, as_new_names, as_ranks
from meshcompat._errors import MeshLayoutError, NotInMeshError
from meshcompat._lookup import find_flat, get_dim, group_in, view_of
from meshcompat._meshes import flat_mesh, set_groups
from meshcompat._reshape import flatten, in_root_order
from meshcompat._select import get_submesh
from meshcompat._views import Dim, Group, Root, View, making, remember

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh


def get_group(mesh: DeviceMesh, names: str | Sequence[str]) -> ProcessGroup:
    """Return the process group over one or several mesh dims.

    A group that the root has for these ranks is taken; else `flatten` makes it, under its
    default name. A group has no order of mesh dims, so the order of *names* does not matter.

    Args:
        mesh: The root or any submesh.
        names: One name, or a list or tuple of names.

    Returns:
        This rank's process group.

    Raises:
        MeshDimError: A name is unknown.
        MeshLayoutError: Names repeat, dims overlap, or the name for a new flattened mesh is
            taken.
        NotInMeshError: This rank is outside the mesh; it has taken part all the same.
        MeshMismatchError: Another rank asks for other groups, or does not come; see `unchecked`.

    Collective:
        Yes, where a group is made: all ranks of the world, members of the mesh or not.

    Example:
        >>> from torch.distributed import get_process_group_ranks
        >>> from meshcompat import get_group, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> get_process_group_ranks(get_group(mesh, "tp"))    # on rank 0
        [0, 1, 2, 3]
    """
    view = view_of(mesh)
    dims = in_root_order([get_dim(view, name) for name in as_names(names)])
    if len(dims) == 1:
        return group_in(view, dims[0])
    flat = flatten(get_submesh(mesh, tuple(dim.name or "" for dim in dims)))
    return group_in(view, view_of(flat).dims[0])


def get_ranks(mesh: DeviceMesh, names: str | Sequence[str]) -> list[int]:
    """Return the global ranks of the group over one or several mesh dims.

    Args:
        mesh: The root or any submesh.
        names: One name, or a list or tuple of names.

    Returns:
        Ranks around this one in the order of their group; on a rank outside the mesh those
        of the first group.

    Raises:
        MeshDimError: A name is unknown.
        MeshLayoutError: Names repeat, or dims overlap.

    Collective:
        No, and no process group is made.

    Example:
        >>> from meshcompat import get_ranks, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
        >>> get_ranks(mesh, ("pp", "tp"))    # on rank 0
        [0, 1, 4, 5]
    """
    view = view_of(mesh)
    dims = in_root_order([get_dim(view, name) for name in as_names(names)])
    submesh = get_submesh(mesh, tuple(dim.name or "" for dim in dims))
    ranks: list[int] = submesh.mesh.flatten().tolist()
    return ranks if len(dims) == 1 or view.root.keeps_order else sorted(ranks)


def from_group(
    groups: ProcessGroup | Sequence[ProcessGroup],
    device_type: str,
    mesh: object = None,
    *,
    mesh_dim_names: Sequence[str] | None = None,
) -> DeviceMesh:
    """Return a root mesh over process groups that exist; their objects are kept.

    Args:
        groups: This rank's group of each mesh dim: one group, or a list of them.
        device_type: As for `init_device_mesh`.
        mesh: Global ranks as a tensor or nested list with one dim per group; needed for
            more than one group, and on ranks outside.
        mesh_dim_names: A name for each mesh dim.

    Returns:
        A mesh whose groups are *groups*.

    Raises:
        MeshLayoutError: The groups do not hold the ranks of *mesh*, or *mesh* is missing.

    Collective:
        No, and no process group is made.

    Torch:
        Absent before 2.4.

    Example:
        >>> import torch.distributed as dist
        >>> from meshcompat import from_group, get_group
        >>> mesh = from_group(dist.group.WORLD, "cpu", mesh_dim_names=("dp",))
        >>> get_group(mesh, "dp") is dist.group.WORLD
        True
    """
    given: list[Any] = list(groups) if isinstance(groups, (list, tuple)) else [groups]
    if not dist.is_initialized() or not given:
        raise MeshLayoutError(
            f"groups {groups!r} must be one or more process groups of an initialised world; "
            f"call torch.distributed.init_process_group and new_group first"
        )
    device = as_device_type(device_type)
    tensor = _rank_tensor(given, mesh)
    names = None if mesh_dim_names is None else as_new_names(mesh_dim_names, len(given))
    is_inside = dist.get_rank() in tensor.flatten().tolist()
    if is_inside and not _are_groups(given):
        raise MeshLayoutError(
            f"groups {groups!r} must be living process groups that rank {dist.get_rank()} is in; "
            f"make them with torch.distributed.new_group"
        )
    with making:
        made = _eras.primitives().make_root(device, tensor, names, keep_order=False)
        root = Root(made)
        records: list[Group | None] = []
        for axes, group in zip(_layout.dims_of(root.shape), given, strict=True):
            if is_inside:
                handle = _eras.primitives().handle_for(made, group)
                records.append(_foreign.adopt_group(root, axes, handle, made, in_order=True))
            else:
                records.append(None)
        layouts = _layout.dims_of(root.shape)
        root.dims = tuple(map(Dim, names or (None,) * len(given), layouts, records))
        set_groups(made, root, root.dims)
        remember(made, View(root, root.dims, made))
        relink(made)
    return made


def register_axis(root: DeviceMesh, name: str, group: ProcessGroup) -> DeviceMesh:
    """Keep a process group that was made elsewhere as a flattened mesh dim of *root*.

    Args:
        root: A root mesh that this rank is in.
        name: Name of the mesh dim, new in the root.
        group: This rank's group; its ranks are those of some of the root's dims together.

    Returns:
        A 1-D mesh with that group and the same root; registering the same again gives the
        same mesh.

    Raises:
        MeshLayoutError: *root* is no root, the name is taken, or the ranks are no union of
            mesh dims.
        NotInMeshError: This rank is outside *root*.

    Collective:
        No, and no process group is made; but every rank of *root* registers its group of
        the same dims.

    Example:
        >>> import torch.distributed as dist
        >>> from meshcompat import get_flat_mesh, init_device_mesh, register_axis
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> _ = register_axis(mesh, "world", dist.group.WORLD)
        >>> get_flat_mesh(mesh, "world").size()
        8
    """
    view = view_of(root)
    wanted = as_name(name)
    if view.root.mesh is not root:
        raise MeshLayoutError(f"{root!r} is no root mesh; pass meshcompat.get_root_mesh(mesh)")
    if not view.root.is_member:
        raise NotInMeshError(
            f"rank {dist.get_rank()} is outside the mesh and has no group to register there"
        )
    if not _are_groups([group]):
        raise MeshLayoutError(
            f"group {group!r} must be a living process group that rank {dist.get_rank()} is in; "
            f"make one with torch.distributed.new_group"
        )
    with making:
        covered = _covered_by(view.root, group)
        axes = _layout.join(view.root.dims[index].axes for index in covered)
        handle = _eras.primitives().handle_for(root, group)
        known = find_flat(view.root, wanted)
        if known is not None and known[0].axes == axes:
            record = known[0].group
            if record is not None and record.handle == handle:
                return known[1]
        if known is not None or wanted in view.names:
            raise MeshLayoutError(
                f"name {name!r} is taken by another mesh dim of the root; choose another name"
            )
        record = _foreign.adopt_group(view.root, axes, handle, root, in_order=True)
        is_run = bool(covered) and covered[-1] - covered[0] == len(covered) - 1
        dim = Dim(wanted, axes, record)
        return flat_mesh(view.root, dim, covered if is_run else None)


def _are_groups(groups: list[Any]) -> bool:
    return all(isinstance(group, dist.ProcessGroup) and _is_alive(group) for group in groups)


def _is_alive(group: ProcessGroup) -> bool:
    try:
        dist.get_process_group_ranks(group)
    except (KeyError, ValueError):
        return False
    return True


def _rank_tensor(groups: list[Any], mesh: object) -> torch.Tensor:
    if mesh is None:
        if len(groups) != 1 or not _are_groups(groups):
            raise MeshLayoutError(
                f"groups {groups!r} are not one living process group that this rank is in, so "
                f"they do not say which ranks the mesh has; give mesh, the global ranks with "
                f"one dim per group"
            )
        mesh = dist.get_process_group_ranks(groups[0])
    try:
        tensor = torch.as_tensor(mesh, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise MeshLayoutError(
            f"mesh {mesh!r} must be a tensor or nested list of global ranks"
        ) from error
    if tensor.ndim != len(groups) or tensor.numel() == 0:
        raise MeshLayoutError(
            f"mesh {mesh!r} has {tensor.ndim} dims for {len(groups)} groups; give the global "
            f"ranks with one dim per group"
        )
    as_ranks(tensor.flatten(), tensor.numel(), dist.get_world_size())
    return tensor.to(torch.int)


def _covered_by(root: Root, group: ProcessGroup) -> tuple[int, ...]:
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
