"""Questions about a mesh. They are answered by arithmetic; only `get_group` may make a group."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, overload

from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _layout
from meshcompat._eras.compiled import constant_when_compiled, object_when_compiled
from meshcompat._eras.process_groups import is_living
from meshcompat._errors import MeshDimError, MeshLayoutError, NotInMeshError
from meshcompat._layout import MeshLayout
from meshcompat._mesh import foreign, places
from meshcompat._mesh.links import recall
from meshcompat._mesh.lookup import find_dim, get_dim, group_in, once, unknown_message, view_of
from meshcompat._mesh.memory import Dim, names_of, recall_told
from meshcompat._mesh.objects import outside_message
from meshcompat._mesh.recalling import key_of, tell
from meshcompat._plain_arguments import as_names
from meshcompat._reshape import dim_over
from meshcompat._select import part_over

if TYPE_CHECKING:
    from meshcompat._mesh.memory import View

T = TypeVar("T")

_RAISE = object()
_ROOT = object()
"""What no name equals."""


@object_when_compiled
def get_root_mesh(mesh: DeviceMesh) -> DeviceMesh:
    """Return the root mesh that *mesh* was derived from; a root's root is itself.

    Args:
        mesh: Any mesh.

    Returns:
        The root, the same object for every mesh derived from it.

    Raises:
        MeshLayoutError: The mesh's world was destroyed.

    Collective:
        No.

    Torch:
        From 2.4 to 2.9 torch loses the root among equal meshes and in other threads:
        https://github.com/pytorch/pytorch/issues/173789 and
        https://github.com/pytorch/pytorch/issues/159014. A submesh that torch sliced, and
        that meshcompat first sees in another thread, is its own root there.

    Example:
        >>> from meshcompat import get_flat_mesh, get_root_mesh, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> get_root_mesh(get_flat_mesh(mesh, "tp")) is mesh
        True
    """
    known = recall(mesh, _ROOT)
    return once(mesh, _ROOT, lambda view: view.root.mesh) if known is None else known


@constant_when_compiled
def same_root(a: DeviceMesh, b: DeviceMesh) -> bool:
    """Return whether two meshes share a root; equal roots are not the same root.

    Collective:
        No.

    Example:
        >>> from meshcompat import get_flat_mesh, init_device_mesh, same_root
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> same_root(get_flat_mesh(mesh, "dp"), get_flat_mesh(mesh, "tp"))
        True
    """
    return view_of(a).root is view_of(b).root


@constant_when_compiled
def is_member(mesh: DeviceMesh) -> bool:
    """Return whether this rank is in the mesh, and so has a coordinate and groups there.

    Collective:
        No.

    Example:
        >>> from meshcompat import init_device_mesh, is_member
        >>> is_member(init_device_mesh("cpu", (2,), ranks=[4, 5]))    # on rank 0
        False
    """
    view_of(mesh)
    return mesh.get_coordinate() is not None


@object_when_compiled
def get_flattened_meshes(mesh: DeviceMesh) -> Mapping[str, DeviceMesh]:
    """Return the flattened meshes of the root of *mesh*, by name, in the order they were made.

    Args:
        mesh: The root or any submesh.

    Returns:
        A read-only mapping from name to 1-D mesh; those that torch flattened are in it too.

    Collective:
        No.

    Example:
        >>> from meshcompat import flatten, get_flattened_meshes, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> _ = flatten(mesh, "world")
        >>> list(get_flattened_meshes(mesh))
        ['world']
    """
    root = view_of(mesh).root
    foreign.find_flattened(root)
    return MappingProxyType(dict(root.flattened))


@overload
def get_axis_size(mesh: DeviceMesh, name: str) -> int: ...


@overload
def get_axis_size(mesh: DeviceMesh, name: str, default: T) -> int | T: ...


@constant_when_compiled
def get_axis_size(mesh: DeviceMesh, name: str, default: object = _RAISE) -> object:
    """Return the size of a mesh dim by name, native or flattened.

    Args:
        mesh: The root or any submesh.
        name: Name of the mesh dim, looked up as in `get_submesh`.
        default: What to return for an unknown name, instead of raising.

    Returns:
        Number of ranks along the mesh dim.

    Raises:
        MeshDimError: The name is unknown, and there is no default.

    Collective:
        No.

    Example:
        >>> from meshcompat import get_axis_size, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> get_axis_size(mesh, "tp"), get_axis_size(mesh, "cp", 1)
        (4, 1)
    """
    known: int | None = recall_told(mesh, name)
    if known is not None:
        return known
    view = view_of(mesh)
    dim = find_dim(view, name)
    if dim is not None:
        size: int = view.told.setdefault(name, _layout.size_of(dim.axes))
        return size
    if default is _RAISE:
        raise MeshDimError(unknown_message(view, name))
    return default


@object_when_compiled
def get_group(mesh: DeviceMesh, names: str | Sequence[str] | None = None) -> ProcessGroup:
    """Return the process group over one or several mesh dims, by default over all of *mesh*.

    A group that the root has for these ranks is taken, whatever it is called; else it is made as
    `flatten` makes it. A group has no order of mesh dims, so the order of *names* does not matter.
    Several dims are a flattened mesh afterwards, under their names in the order of the root joined
    with ``_``, unless that name is taken: then the group alone is there.

    Args:
        mesh: The root or any submesh.
        names: One name, or several in a list or tuple; a 1-D mesh needs none.

    Returns:
        This rank's process group.

    Raises:
        MeshDimError: A name is unknown.
        MeshLayoutError: Names repeat, dims overlap, several dims have no names, or torch sorted
            the ranks of its group against the mesh.
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
    key = key_of("get_group", (names,))
    known: weakref.ref[ProcessGroup] | None = recall_told(mesh, key)
    group = None if known is None else known()
    if group is None or not is_living(group):
        view = view_of(mesh)
        dims = _dims_asked(view, names)
        dim = dims[0] if len(dims) == 1 else _named_dim_over(view, dims)
        group = group_in(view, dim)
        tell(mesh, key, weakref.ref(group))
    return group


@object_when_compiled
def get_all_groups(mesh: DeviceMesh) -> list[ProcessGroup]:
    """Return this rank's process group of every dim of *mesh*, in the order of the dims.

    Args:
        mesh: The root or any submesh.

    Raises:
        NotInMeshError: This rank is outside the mesh.
        MeshLayoutError: The mesh was made without groups, or torch sorted the ranks of one
            against the mesh.

    Collective:
        No, and no process group is made.

    Torch:
        Public from 2.3 on, as ``DeviceMesh.get_all_groups``.

    Example:
        >>> from torch.distributed import get_process_group_ranks
        >>> from meshcompat import get_all_groups, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> [get_process_group_ranks(group) for group in get_all_groups(mesh)]    # on rank 0
        [[0, 4], [0, 1, 2, 3]]
    """
    view = view_of(mesh)
    return [group_in(view, dim) for dim in view.dims]


@constant_when_compiled
def get_ranks(mesh: DeviceMesh, names: str | Sequence[str] | None = None) -> list[int]:
    """Return the global ranks of the group over mesh dims, by default over all of *mesh*.

    Args:
        mesh: The root or any submesh.
        names: One name, or several in a list or tuple; a 1-D mesh needs none.

    Returns:
        Ranks around this one in the order of the mesh dim, which is that of their group; on a
        rank outside the mesh those of the first group. Over several dims they ascend where
        torch sorts the ranks of a group.

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
    key = key_of("get_ranks", (names,))
    known: list[int] | None = recall_told(mesh, key)
    if known is None:
        view = view_of(mesh)
        dims = _dims_asked(view, names)
        ranks = part_over(view, dims).ranks
        if len(dims) > 1:  # in the order of their group
            axes = _layout.outermost_first(axis for dim in dims for axis in dim.axes)
            ranks = part_over(view, (Dim(None, axes, None),)).ranks
        known = ranks if len(dims) == 1 or view.root.keeps_order else sorted(ranks)
        tell(mesh, key, known)
    return list(known)


@constant_when_compiled
def get_local_rank(mesh: DeviceMesh, name: str) -> int:
    """Return this rank's place along a mesh dim, native or flattened.

    Args:
        mesh: The root or any submesh.
        name: Name of the mesh dim, looked up as in `get_submesh`.

    Returns:
        A number from 0 to the size of the dim - 1.

    Raises:
        MeshDimError: The name is unknown.
        NotInMeshError: This rank is outside the mesh.

    Collective:
        No.

    Example:
        >>> from meshcompat import get_local_rank, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> get_local_rank(mesh, "tp")    # on rank 0
        0
    """
    view = view_of(mesh)
    dim = get_dim(view, *as_names((name,)))
    if not view.is_member:
        raise NotInMeshError(outside_message())
    return _layout.coordinate(dim.axes, view.root.position)


@constant_when_compiled
def get_axis_names(mesh: DeviceMesh, *, flattened: bool = True) -> tuple[str, ...]:
    """Return every name that `get_submesh` takes on *mesh*.

    Native mesh dims come first, in the order of the root; then those of *mesh* that are
    native to an `unflatten` only; then the flattened ones, in the order they were made.

    Args:
        mesh: The root or any submesh.
        flattened: Whether to list flattened names.

    Collective:
        No.

    Example:
        >>> from meshcompat import flatten, get_axis_names, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> _ = flatten(mesh, "world")
        >>> get_axis_names(mesh)
        ('dp', 'tp', 'world')
    """
    view = view_of(mesh)
    flat = tuple(get_flattened_meshes(mesh))
    native = [dim.name for dim in view.root.dims if dim.name is not None]
    native += [name for name in view.names if name not in native and name not in flat]
    return (*native, *flat) if flattened else tuple(native)


@constant_when_compiled
def has_axis(mesh: DeviceMesh, name: str) -> bool:
    """Return whether `get_submesh` takes this name on *mesh*.

    Collective:
        No.

    Example:
        >>> from meshcompat import has_axis, init_device_mesh
        >>> has_axis(init_device_mesh("cpu", (8,), mesh_dim_names=("dp",)), "tp")
        False
    """
    return find_dim(view_of(mesh), name) is not None


@constant_when_compiled
def layout_of(mesh: DeviceMesh) -> MeshLayout:
    """Return the mesh as plain data, without torch: comparable, hashable, picklable.

    Args:
        mesh: Any mesh.

    Returns:
        Root shape, and per mesh dim its ``(size, stride)`` pairs and its name.

    Collective:
        No.

    Example:
        >>> from meshcompat import get_submesh, init_device_mesh, layout_of
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> layout_of(get_submesh(mesh, "tp")).dims
        (((4, 1),),)
    """
    view = view_of(mesh)
    names = view.names
    return MeshLayout(
        root_shape=view.root.shape,
        dims=view.layouts,
        names=names if len(names) == len(view.dims) else None,
    )


def _dims_asked(view: View, names: object) -> tuple[Dim, ...]:
    if names is None:
        return view.dims
    return tuple(get_dim(view, name) for name in as_names(names))


def _named_dim_over(view: View, dims: tuple[Dim, ...]) -> Dim:
    dims = tuple(places.in_places(view.root, dims))
    names = names_of(dims)
    if names is None:
        sizes = tuple(map(_layout.size_of, view.layouts))
        raise MeshLayoutError(
            f"mesh dims of sizes {sizes} have no names to make a group over all of them "
            f"under; give mesh_dim_names to meshcompat.init_device_mesh, or flatten the mesh "
            f"under a name with meshcompat.flatten first"
        )
    return dim_over(view, dims, "_".join(names))
