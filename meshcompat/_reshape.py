"""Mesh dims joined into one, and split into several: groups are made where ranks are new."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, overload

import torch.distributed as dist
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _eras, _groups, _layout
from meshcompat._arguments import as_group_options
from meshcompat._eras.compiled import object_when_compiled
from meshcompat._eras.process_groups import GroupOptions
from meshcompat._errors import MeshLayoutError, NotInMeshError
from meshcompat._mesh import foreign, places
from meshcompat._mesh.links import links
from meshcompat._mesh.lookup import find_flat, once, view_of
from meshcompat._mesh.memory import Dim, lock, refuse_detached
from meshcompat._mesh.objects import flat_mesh, mesh_of
from meshcompat._mesh.order import keeps_order
from meshcompat._mesh.recalling import recalled
from meshcompat._plain_arguments import (
    as_name,
    as_names,
    as_new_names,
    as_sizes,
    as_timeout,
    in_order,
)
from meshcompat._reshape_refusals import dim_index, refuse_flatten, split_dim
from meshcompat._select import get_submesh, part_of, part_over

if TYPE_CHECKING:
    from meshcompat._layout import Axes
    from meshcompat._mesh.memory import View


@overload
def flatten(
    mesh: DeviceMesh,
    mesh_dim_name: str,
    /,
    *,
    backend_override: object = None,
    timeout: timedelta | float | None = None,
    share_groups: bool = True,
) -> DeviceMesh: ...


@overload
def flatten(
    mesh: DeviceMesh,
    *,
    mesh_dim_name: str | None = None,
    backend_override: object = None,
    timeout: timedelta | float | None = None,
    share_groups: bool = True,
) -> DeviceMesh: ...


@overload
def flatten(
    mesh: DeviceMesh,
    mesh_dims: Sequence[str],
    mesh_dim_name: str | None = None,
    *,
    backend_override: object = None,
    timeout: timedelta | float | None = None,
    share_groups: bool = True,
) -> DeviceMesh: ...


@object_when_compiled
@recalled
def flatten(
    mesh: DeviceMesh,
    mesh_dims: str | Sequence[str] | None = None,
    mesh_dim_name: str | None = None,
    *,
    backend_override: object = None,
    timeout: timedelta | float | None = None,
    share_groups: bool = True,
) -> DeviceMesh:
    """Return the 1-D mesh over the named dims of *mesh*, and keep it under a name.

    The last mesh dim varies fastest, so ranks ascend where the dims stand in the order of
    their root. ``flatten(mesh, "name")`` joins all dims of *mesh*.

    Args:
        mesh: The root or any submesh.
        mesh_dims: Names of mesh dims of sizes ``(s0, ..., sn)``, adjacent or not, as a tuple or
            list; by default all dims of *mesh*.
        mesh_dim_name: Name of the joined mesh dim, new in the root; by default the names
            of the dims joined with ``_``.
        backend_override: Backend name, options, or a pair of both for a new group.
        timeout: Timeout of the group, a timedelta or seconds; by default that of the root.
        share_groups: Take a group of the root that has the same partition of ranks,
            backend, options and timeout. False makes one of its own, except over one rank
            or over the whole world.

    Returns:
        A 1-D mesh of size ``s0 * ... * sn`` with the same root. A 1-D mesh flattened to its
        own name is that mesh itself.

    Raises:
        MeshDimError: One of *mesh_dims* is unknown.
        MeshLayoutError: The name is taken, or the ranks would not ascend, which torch's
            process groups cannot keep; or *mesh_dims* repeat or overlap.
        MeshMismatchError: Another rank asks for other groups, or does not come; see `unchecked`.

    Collective:
        Yes, where a group is made: all ranks of the world, members of the mesh or not.

    Torch:
        From 2.5 to 2.8 torch accepts the name of a dim, and breaks every equal mesh. From
        2.11 a mesh that *torch* flattened makes DTensor's redistribute of uneven shards
        return wrong values: https://github.com/pytorch/pytorch/pull/194457. So the flattened
        mesh is kept by meshcompat, and is written to torch's registry on 2.5 to 2.9 only,
        where FSDP2 finds it nowhere else.

    Example:
        >>> from meshcompat import flatten, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "cp"))
        >>> flatten(mesh, ("pp", "cp"), "pp_cp").mesh.tolist()    # on rank 0
        [0, 1, 4, 5]
        >>> flatten(mesh, "world").size()
        8
    """
    if mesh_dim_name is None and in_order(mesh_dims) is None:
        mesh_dims, name = None, mesh_dims
    else:
        name = mesh_dim_name
    view = view_of(mesh)
    if mesh_dims is not None:
        view = part_of(view, as_names(mesh_dims))
    name = _flat_name(view, name)
    limit = as_timeout(timeout)
    (asked,) = as_group_options(backend_override, (name,), limit)
    made_with = asked if limit is not None else asked._replace(timeout=view.root.timeout)
    is_asked = backend_override is not None or limit is not None
    flat = flatten_view(view, name, made_with, is_asked=is_asked, share=share_groups)
    if flat is None:
        return mesh if mesh_dims is None else get_submesh(mesh, mesh_dims)
    return flat


def flatten_view(
    view: View, name: str, made_with: GroupOptions, *, is_asked: bool, share: bool = True
) -> DeviceMesh | None:
    """Return the 1-D mesh over all dims of *view*, which needs no mesh; see `flatten`.

    None where these are one mesh dim of that name.
    """
    root = view.root
    with lock:
        refuse_flatten(view, name, made_with, is_asked=is_asked)
        if view.names == (name,):
            return None
        axes = _layout.join(view.layouts)
        known = find_flat(root, name)
        if known is not None:
            dim, flat = known
            links.relink(flat)
        else:
            (group,) = _groups.serve(root, [(name, axes, made_with)], share=share, call="flatten")
            dim = Dim(name, axes, group)
            flat = flat_mesh(root, dim, view.dims)
    return flat if view.elsewhere is None else mesh_of(view, (dim,))


def dim_over(view: View, dims: Sequence[Dim], name: str) -> Dim:
    """Return one mesh dim over *dims* in whatever order, with a group that is there or is made.

    It is kept as the flattened mesh *name* too, where no other dim has that name and where ranks
    ascend along it: a group that torch sorts needs no mesh to be right.

    Raises:
        MeshLayoutError: The dims overlap, or the root is detached.
        MeshMismatchError: See `flatten`.
    """
    root = part_over(view, tuple(dims)).root
    axes = _layout.outermost_first(axis for dim in dims for axis in dim.axes)
    with lock:
        known = find_flat(root, name)
        if known is not None and _layout.outermost_first(known[0].axes) == axes:
            return known[0]
        wanted = (name, axes, GroupOptions(timeout=root.timeout))
        (group,) = _groups.serve(root, [wanted], share=True, call="flatten")
        dim = Dim(name, axes, group)
        is_taken = known is not None or name in {*view.names, *(own.name for own in root.dims)}
        if not is_taken and keeps_order(root, axes):
            flat_mesh(root, dim, dims)
    return dim


@object_when_compiled
@recalled
def unflatten(
    mesh: DeviceMesh,
    mesh_dim: int | str,
    mesh_sizes: Sequence[int],
    mesh_dim_names: Sequence[str],
    *,
    backend_override: object = None,
    timeout: timedelta | float | None = None,
    share_groups: bool = False,
) -> DeviceMesh:
    """Return *mesh* with one mesh dim split into several.

    The last new mesh dim varies fastest. The result is a second view of the root's ranks: it
    may use names that the root has for other dims.

    Args:
        mesh: The root, or any mesh derived from it.
        mesh_dim: Name or index of the mesh dim to split, of size ``s``.
        mesh_sizes: Sizes of the new mesh dims; their product is ``s``.
        mesh_dim_names: A name for each new mesh dim.
        backend_override: Dict from new name, or index among the new dims, to a backend
            name, options, or a pair of both.
        timeout: Timeout of the new groups, a timedelta or seconds; by default that of the
            root.
        share_groups: Take groups of the root that serve. By default the new dims get their
            own, so that their collectives overlap with those of other dims; only dims of
            size 1, and dims that span the world, share.

    Returns:
        A mesh of shape ``(..., *mesh_sizes, ...)`` with the same root; the same object for
        the same call.

    Raises:
        MeshDimError: The mesh dim is unknown.
        MeshLayoutError: The sizes do not multiply up to ``s`` or do not divide its strides,
            or names repeat.
        MeshMismatchError: Another rank asks for other groups, or does not come; see `unchecked`.

    Collective:
        Yes, at the first such call: all ranks of the world, members of the mesh or not.

    Torch:
        Private, and from 2.10 only; 2.10 and 2.11 refuse a mesh dim given by a valid name.
        Rebuilding it from local ranks on older releases hangs or pairs wrong ranks.

    Example:
        >>> from meshcompat import init_device_mesh, unflatten
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("pp", "dp"))
        >>> unflatten(mesh, "dp", (2, 2), ("ep_shard", "ep")).mesh.tolist()
        [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    """
    view = view_of(mesh)
    index = dim_index(view, mesh_dim)
    sizes = as_sizes(mesh_sizes, "mesh_sizes")
    names = as_new_names(mesh_dim_names, len(sizes))
    parts = split_dim(view, index, sizes)
    others = view.dims[:index] + view.dims[index + 1 :]
    if any(dim.name is None or dim.name in names for dim in others):
        raise MeshLayoutError(
            f"mesh_dim_names {names!r} beside mesh dims {tuple(dim.name for dim in others)} are "
            f"not one name each; choose names that the mesh does not have"
        )
    limit = as_timeout(timeout) or view.root.timeout
    options = as_group_options(backend_override, names, limit)

    def make(view: View) -> DeviceMesh:
        new = list(zip(names, parts, options, strict=True))
        return unflatten_view(view, index, new, share=share_groups)

    return once(mesh, ("unflatten", index, sizes, names, options, share_groups), make)


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
    refuse_detached(view.root)
    wanted = as_name(name)
    if view.root.mesh is not root:
        raise MeshLayoutError(f"{root!r} is no root mesh; pass meshcompat.get_root_mesh(mesh)")
    if not view.root.is_member:
        raise NotInMeshError(
            f"rank {dist.get_rank()} is outside the mesh and has no group to register there"
        )
    if not foreign.are_living_groups([group]):
        raise MeshLayoutError(
            f"group {group!r} must be a living process group that rank {dist.get_rank()} is in; "
            f"make one with torch.distributed.new_group"
        )
    with lock:
        joined = foreign.covered_dims(view.root, group)
        axes = _layout.join(dim.axes for dim in joined)
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
        record = foreign.take_up_group(view.root, axes, group)
        return flat_mesh(view.root, Dim(wanted, axes, record), joined)


def unflatten_view(
    view: View, index: int, new: Sequence[tuple[str, Axes, GroupOptions]], *, share: bool = False
) -> DeviceMesh:
    """Return the mesh of *view* with one dim split into the *new* ones; see `unflatten`."""
    with lock:
        # Two meshes can be one object on one rank and two on another: groups are not made by that.
        key = (view.dims, index, tuple(new), share)
        dims = view.root.factorised.get(key)
        if dims is None:
            groups = _groups.serve(view.root, new, share=share, call="unflatten")
            pairs = zip(new, groups, strict=True)
            dims = tuple(Dim(name, axes, group) for (name, axes, _), group in pairs)
            view.root.factorised[key] = dims
            places.keep_parts(view.root, view.dims[index], dims)
        return mesh_of(view, view.dims[:index] + dims + view.dims[index + 1 :])


def _flat_name(view: View, name: object) -> str:
    if name is not None:
        return as_name(name)
    if len(view.names) < len(view.dims):
        raise MeshLayoutError(
            "a mesh without names has no default name for its flattened mesh; give "
            "mesh_dim_name, or mesh_dim_names to meshcompat.init_device_mesh"
        )
    return "_".join(view.names)
