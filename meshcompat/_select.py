"""Meshes picked from a mesh by the names of its dims: no group is made, no rank waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _layout
from meshcompat._eras.compiled import object_when_compiled
from meshcompat._errors import MeshDimError, MeshLayoutError
from meshcompat._mesh.links import links, recall
from meshcompat._mesh.lookup import find_dim, find_flat, get_dim, once, view_of
from meshcompat._mesh.memory import View, recall_told
from meshcompat._mesh.objects import inert_mesh, mesh_of
from meshcompat._mesh.recalling import key_of, recall_meshes, tell, tell_meshes
from meshcompat._plain_arguments import as_names, in_order

if TYPE_CHECKING:
    from meshcompat._mesh.memory import Dim


@object_when_compiled
def get_submesh(mesh: DeviceMesh, names: str | Sequence[str]) -> DeviceMesh:
    """Return the submesh of the named mesh dims, native or flattened, in any order.

    The order of the names is the order of the dims. A name is looked up among the dims of
    *mesh*, then the flattened dims of its root, then the dims of its root.

    Args:
        mesh: Mesh with named mesh dims, the root or any submesh.
        names: One name, or a list or tuple of names.

    Returns:
        A mesh of shape ``(size of each named dim)`` around this rank, with the same root
        and the groups that the dims have; the same object at every call.

    Raises:
        MeshDimError: A name is unknown.
        MeshLayoutError: A name is repeated, or two dims overlap.

    Collective:
        No, and no process group is made.

    Torch:
        From 2.5 to 2.9 torch's slice by the name of flattened dims that do not lie side by
        side returns wrong ranks: https://github.com/pytorch/pytorch/issues/157393. Names out
        of order raise on every release but 2.4:
        https://github.com/pytorch/pytorch/pull/133193. Up to 2.9 FSDP2 beside TP takes dims of
        one mesh that torch can take for the root of both: docs/consumers.md.

    Example:
        >>> from meshcompat import get_submesh, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
        >>> get_submesh(mesh, ("tp", "pp")).mesh.tolist()    # on rank 0
        [[0, 4], [1, 5]]
    """
    known = recall(mesh, names)
    return _find(mesh, names) if known is None else known


@object_when_compiled
def get_flat_mesh(mesh: DeviceMesh, name: str) -> DeviceMesh:
    """Return the 1-D mesh of one mesh dim, native or flattened.

    Args:
        mesh: The root or any submesh.
        name: Name of the mesh dim, looked up as in `get_submesh`.

    Returns:
        A 1-D mesh around this rank; the same object at every call.

    Raises:
        MeshDimError: The name is unknown.

    Collective:
        No, and no process group is made.

    Torch:
        From 2.10 ``root[name]`` of a flattened dim warns of a removal:
        https://github.com/pytorch/pytorch/pull/164993

    Example:
        >>> from meshcompat import flatten, get_flat_mesh, get_submesh, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "cp"))
        >>> _ = flatten(get_submesh(mesh, ("dp", "cp")), "dp_cp")
        >>> get_flat_mesh(mesh, "dp_cp").mesh.tolist()    # on rank 0
        [0, 1, 2, 3]
    """
    # What `get_submesh` keeps under a tuple of names is no answer here.
    key: object = name
    known = recall(mesh, name) if isinstance(key, str) else None
    return _find(mesh, *as_names((name,))) if known is None else known


@object_when_compiled
def get_all_submeshes(mesh: DeviceMesh, name: str) -> list[DeviceMesh]:
    """Return the 1-D meshes of a mesh dim, one for each subgroup of *mesh*.

    They come in ascending order of their first rank's place in the mesh. This rank's own is
    the mesh of `get_flat_mesh`; in the others this rank has no coordinate and no group.

    Args:
        mesh: The root or any submesh.
        name: Name of a mesh dim whose ranks lie inside *mesh*.

    Returns:
        ``size of mesh // size of the dim`` meshes.

    Raises:
        MeshDimError: The name is unknown, or its ranks do not all lie inside *mesh*.

    Collective:
        No, and no process group is made.

    Example:
        >>> from meshcompat import get_all_submeshes, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> [submesh.mesh.tolist() for submesh in get_all_submeshes(mesh, "tp")]
        [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    key = key_of("get_all_submeshes", (name,))
    known = recall_meshes(mesh, key)
    if known is not None:
        return known
    view = view_of(mesh)
    dim = get_dim(view, name)
    root = view.root
    axes = _layout.join(view.layouts)
    first = _layout.start_of(axes, view.position)
    inside = [first + offset for offset in _layout.offsets(axes)]
    starts = list(dict.fromkeys(_layout.start_of(dim.axes, position) for position in inside))
    if len(starts) * _layout.size_of(dim.axes) != len(inside):
        raise MeshDimError(
            f"mesh dim {name!r} reaches ranks outside this mesh, which has {view.names}; ask "
            f"a mesh that holds them, such as meshcompat.get_root_mesh(mesh)"
        )
    own = _layout.start_of(dim.axes, root.position) if view.is_member else None
    found = [
        get_flat_mesh(mesh, name) if start == own else inert_mesh(root, (dim,), start)
        for start in starts
    ]
    tell_meshes(mesh, key, found)
    return found


@object_when_compiled
def concatenate(meshes: Sequence[DeviceMesh]) -> DeviceMesh:
    """Return one mesh with the dims of several submeshes of the same root.

    Args:
        meshes: Meshes of one root whose dims do not overlap.

    Returns:
        A mesh whose dims are those of the first mesh, then of the second, and so on; it has the
        ranks of the first mesh, which need not be around this rank.

    Raises:
        MeshLayoutError: No mesh, meshes of different roots, repeated names, or dims that
            overlap.

    Collective:
        No, and no process group is made.

    Torch:
        Private, and from 2.10 only.

    Example:
        >>> from meshcompat import concatenate, get_flat_mesh, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
        >>> parts = [get_flat_mesh(mesh, "pp"), get_flat_mesh(mesh, "tp")]
        >>> concatenate(parts).mesh.tolist()    # on rank 0
        [[0, 1], [4, 5]]
    """
    given = in_order(meshes)
    # The answer keeps the meshes that were asked for, so that their ids stay theirs.
    key = ("concatenate", *map(id, given or ()))
    known = recall_told(given[0], key) if given else None
    if known is not None:
        found: DeviceMesh = known[-1]
        links.relink(found)
        return found
    if not given:
        raise MeshLayoutError(f"expected a list or tuple of at least one mesh, got {meshes!r}")
    views = [view_of(mesh) for mesh in given]
    root = views[0].root
    if any(view.root is not root for view in views):
        raise MeshLayoutError(
            f"meshes {meshes!r} have different roots; take all of them from one mesh with "
            f"meshcompat.get_submesh"
        )
    dims = tuple(dim for view in views for dim in view.dims)
    names = [dim.name for dim in dims]
    if len(dims) > 1 and (None in names or len(set(names)) < len(names)):
        raise MeshLayoutError(
            f"the meshes' dims {tuple(names)} are not one name each; give every mesh dim its "
            f"own name, as meshcompat.flatten and meshcompat.unflatten do"
        )
    _refuse_overlap(views[0], dims)
    around = [view for view in views if view.elsewhere == views[0].elsewhere]
    within = next((view for view in around if view.anchor is not root.mesh), views[0])
    found = mesh_of(within, dims)
    # Slices that somebody makes anew each time are not kept.
    if all(mesh_of(view, view.dims) is mesh for view, mesh in zip(views, given, strict=True)):
        tell(given[0], key, (*given, found))
    return found


@object_when_compiled
def get_fsdp_dp_mesh(
    mesh: DeviceMesh,
    dp_replicate_name: str = "dp_replicate",
    dp_shard_cp_name: str = "dp_shard_cp",
    *,
    native_dims: bool = False,
) -> DeviceMesh:
    """Return the mesh to hand to FSDP2, with the root that TP and EP meshes have too.

    FSDP2 reads every 2-D mesh as HSDP: it replicates over the first dim. So a mesh with
    context parallelism and no replication must be 1-D.

    Args:
        mesh: Mesh with dims *dp_replicate_name*, ``dp_shard`` and ``cp``, and the flattened
            dim *dp_shard_cp_name* where ``cp`` is larger than 1.
        dp_replicate_name: Name of the mesh dim to replicate over.
        dp_shard_cp_name: Name of the flattened mesh dim to shard over.
        native_dims: Give ``(dp_shard, cp)`` where 1-D ``dp_shard_cp`` would be given.

    Returns:
        ``dp_shard`` without both; ``(dp_replicate, dp_shard)`` with replication;
        ``dp_shard_cp`` with context parallelism; ``(dp_replicate, dp_shard_cp)`` with both,
        and where *mesh* has no ``dp_shard`` or no ``cp``.

    Raises:
        MeshDimError: A name is unknown, such as a flattened dim that was not made yet.

    Collective:
        No, and no process group is made.

    Example:
        >>> from meshcompat import get_fsdp_dp_mesh, init_device_mesh
        >>> names = ("dp_replicate", "dp_shard", "cp", "tp")
        >>> mesh = init_device_mesh("cpu", (2, 2, 1, 2), mesh_dim_names=names)
        >>> get_fsdp_dp_mesh(mesh).mesh_dim_names
        ('dp_replicate', 'dp_shard')
    """
    view = view_of(mesh)
    natives = [find_dim(view, name) for name in (dp_replicate_name, "dp_shard", "cp")]
    replicate, shard, cp = natives
    if replicate is None or shard is None or cp is None:
        return get_submesh(mesh, (dp_replicate_name, dp_shard_cp_name))
    if cp.axes == ():
        sharded: tuple[str, ...] = ("dp_shard",)
    elif native_dims and replicate.axes == ():
        sharded = ("dp_shard", "cp")
    else:
        sharded = (dp_shard_cp_name,)
    return get_submesh(mesh, sharded if replicate.axes == () else (dp_replicate_name, *sharded))


def part_of(view: View, names: tuple[str, ...]) -> View:
    """Return the view of the submesh of these names, without making the mesh.

    Raises:
        MeshDimError: A name is unknown.
        MeshLayoutError: Two dims overlap.
    """
    return part_over(view, tuple(get_dim(view, name) for name in names))


def part_over(view: View, dims: tuple[Dim, ...]) -> View:
    """Return the view of the submesh of these dims; see `part_of`."""
    _refuse_overlap(view, dims)
    if view.elsewhere is None:
        return View(view.root, dims, view.anchor)
    start = _layout.start_of(_layout.join(dim.axes for dim in dims), view.elsewhere)
    return View(view.root, dims, view.anchor, elsewhere=start)


def _find(mesh: DeviceMesh, names: str | Sequence[str]) -> DeviceMesh:
    """Return the mesh of dims that were not recalled: a first call, or one with a list."""
    known = recall(mesh, tuple(names)) if isinstance(names, list) else None
    if known is not None:
        return known
    key = names if isinstance(names, str) else as_names(names)
    return once(mesh, key, lambda view: _pick(mesh, view, as_names(names)))


def _pick(mesh: DeviceMesh, view: View, names: tuple[str, ...]) -> DeviceMesh:
    dims = tuple(get_dim(view, name) for name in names)
    if dims == view.dims:
        return mesh
    if len(dims) == 1 and view.elsewhere is None and not links.belongs_to_view(view, dims[0]):
        flat = find_flat(view.root, names[0])
        if flat is not None and flat[0] == dims[0]:
            return flat[1]
    _refuse_overlap(view, dims)
    return mesh_of(view, dims)


def _refuse_overlap(view: View, dims: tuple[Dim, ...]) -> None:
    if _layout.complement(_layout.join(dim.axes for dim in dims), view.root.size) is None:
        raise MeshLayoutError(
            f"mesh dims {tuple(dim.name for dim in dims)} overlap: a rank would stand in two "
            f"places; choose dims that share no rank"
        )
