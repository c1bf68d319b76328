"""A mesh as plain data, and back: what a pickle of one holds, whatever torch wrote and reads it.

Plain data names the root by what all ranks know of it, and the mesh dims by name and layout. Read
back, it is the mesh of the live root that fits, with the groups that are there: reading makes no
process group, so it is no collective. Where no root fits it can be a detached mesh.
"""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _layout
from meshcompat._errors import MeshLayoutError
from meshcompat._mesh import foreign
from meshcompat._mesh.links import links
from meshcompat._mesh.lookup import view_of
from meshcompat._mesh.memory import ATTRIBUTE, Dim, Group, Root, View, live_roots, lock
from meshcompat._mesh.objects import inert_mesh, mesh_of
from meshcompat._travel import detached as apart

FORMAT = 1


def mesh_to_dict(mesh: DeviceMesh) -> dict[str, Any]:
    """Return *mesh* in dicts, lists, strings and integers, fit for JSON.

    `pickle`, `torch.save` and `copy.deepcopy` write the same of every mesh that meshcompat made,
    instead of torch's private state, which another release cannot read. What torch or somebody
    else made keeps torch's own pickle.

    Args:
        mesh: The root or any submesh.

    Returns:
        Device type, shape, names and ranks of the root; the mesh dims by name and layout, with
        what tells a second factorisation's groups from others (``groups``); and the rank that
        wrote it.

    Collective:
        No.

    Example:
        >>> from meshcompat import get_submesh, init_device_mesh, mesh_to_dict
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> mesh_to_dict(get_submesh(mesh, "tp"))["dims"]
        [['tp', [[4, 1]]]]
    """
    return to_plain(view_of(mesh))


def mesh_from_dict(data: object, *, detached: bool = False) -> DeviceMesh:
    """Return the mesh that `mesh_to_dict` wrote, in this world or in another one.

    The root must be there: one of the same device type, shape, names and ranks. Roots that are
    alike are numbered in the order in which `init_device_mesh` made them, and the number decides.
    The mesh dims must be there too: flatten and unflatten first, in the same order as before the
    mesh was written. That order tells second factorisations of the same names apart.

    Args:
        data: What `mesh_to_dict` returned, also after JSON.
        detached: Where no root fits, or there is no world, return a detached mesh instead of
            raising, as a pickle does: a `DeviceMesh` with the ranks, the names, the sizes and the
            coordinate that it was written with. Look-ups on it are arithmetic; what needs a
            process group raises `MeshLayoutError`.

    Returns:
        The mesh of the ranks that were written, on the live root with the groups it has. A rank
        that is not among these ranks gets a mesh whose coordinate is None.

    Raises:
        MeshLayoutError: *data* is no mesh; no live root has these mesh dims, unless *detached*;
            or roots or mesh dims are alike and which of them is meant cannot be told, because
            torch made it, or what was written does not say it.

    Collective:
        No, and no process group is made.

    Example:
        >>> from meshcompat import get_submesh, init_device_mesh, mesh_from_dict, mesh_to_dict
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> tp = get_submesh(mesh, "tp")
        >>> mesh_from_dict(mesh_to_dict(tp)) is tp
        True
    """
    return read(data, detached=detached)


def to_plain(view: View, *, in_process: bool = False) -> dict[str, Any]:
    """Return the mesh of *view* in dicts, lists, strings and integers.

    *in_process* adds what finds a root without a number again in this process, as a copy does.
    """
    root = view.root
    start = _layout.start_of(_layout.join(view.layouts), view.position)
    plain = {
        "format": FORMAT,
        "root": _plain_root(root),
        "number": root.number,
        "dims": [_plain_dim(dim) for dim in view.dims],
        "start": start,
        "rank": root.rank,
        "groups": [_plain_group(root, dim) for dim in view.dims],
    }
    return {**plain, "token": root.token} if in_process and root.number is None else plain


def read(data: object, *, detached: bool) -> DeviceMesh:
    """Return the mesh that `to_plain` wrote, on a live root, or *detached* where none fits.

    Raises:
        MeshLayoutError: *data* is none of ours; no live root has these mesh dims, and it may not
            be detached; or which of several roots is meant cannot be told.
    """
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise MeshLayoutError(
            f"{data!r} is no mesh as this meshcompat writes one, with format {FORMAT}; pass what "
            f"meshcompat.mesh_to_dict returned"
        )
    if not dist.is_initialized() and not detached:
        raise MeshLayoutError(
            "a mesh is read onto the living process groups of its world; call "
            "torch.distributed.init_process_group and make its root mesh first, or give "
            "detached=True for a mesh without process groups"
        )
    with lock:
        root = _find_root(data, detached=detached)
        dims = None if root is None else _find_dims(root, data, detached=detached)
        if root is None or dims is None:
            root = apart.root_of(data)
            dims = apart.dims_of(root, data)
        return _mesh_on(root, dims, data)


def _mesh_on(root: Root, dims: tuple[Dim, ...], data: dict[str, Any]) -> DeviceMesh:
    start = data.get("start")
    axes = _layout.join(dim.axes for dim in dims)
    if (
        type(start) is not int
        or not 0 <= start < root.size
        or _layout.complement(axes, root.size) is None
        or _layout.start_of(axes, start) != start
    ):
        raise MeshLayoutError(f"{data!r} has mesh dims that overlap, or starts at no mesh of them")
    if _layout.start_of(axes, root.position) == start:
        found = _made(root, dims) or mesh_of(_view(root.mesh), dims)
        links.relink(found)
        return found
    return inert_mesh(root, dims, start)


def _find_root(data: dict[str, Any], *, detached: bool) -> Root | None:
    """Return the living root that was written; of several alike only where it can be told.

    None where there is none, and the mesh may be *detached*.
    """
    wanted, number = data.get("root"), data.get("number")
    living = live_roots()
    alike = [root for root in living if _plain_root(root) == wanted]
    if not alike:
        if detached:
            return None
        raise MeshLayoutError(
            f"the mesh belongs to root mesh {wanted!r}, and the live ones are "
            f"{[_plain_root(root) for root in living]}; make the root first, as it was made before "
            f"the mesh was written, or give detached=True for a mesh without process groups"
        )
    found = [root for root in alike if _is_the_one(root, data)] or _only(alike, number)
    if len(found) == 1:
        return found[0]
    raise MeshLayoutError(
        f"the mesh belongs to root mesh {wanted!r} with number {number!r}, and which of the roots "
        f"like it that is cannot be told: the live ones have the numbers "
        f"{[root.number for root in alike]}, where None is a root that torch made, maybe one of "
        f"several; make the root first with meshcompat.init_device_mesh, as often as before the "
        f"mesh was written"
    )


def _is_the_one(root: Root, data: dict[str, Any]) -> bool:
    if root.number is None:
        return data.get("token") == root.token
    return data.get("number") == root.number


def _only(alike: list[Root], number: object) -> list[Root]:
    """Return the root that must be meant because this world never had another one like it.

    A mesh of a root that torch made is not taken for one of a root that all ranks made: beside
    that one, torch's root may be here, and nobody has asked about it yet. Nor is it taken for one
    of the only root that was asked about where torch has made two.
    """
    numbered = alike[0].count_of_kind()
    unnumbered = [root for root in alike if root.number is None]
    if any(foreign.can_have_twin(root) for root in unnumbered):
        return []
    if number is None:
        return [] if numbered else unnumbered
    return alike if numbered + len(unnumbered) == 1 else []


def _find_dims(root: Root, data: dict[str, Any], *, detached: bool) -> tuple[Dim, ...] | None:
    """Return the living mesh dims that were written; of several alike only where it can be told.

    None where one is not there, and the mesh may be *detached*.
    """
    wanted = data.get("dims")
    plain = wanted if isinstance(wanted, list) else []
    told = apart.groups_of(data)
    found = [_dims_like(root, *each) for each in zip(plain, told, strict=True)]
    if found and all(found):
        _refuse_several(wanted, found)
        return tuple(dims[0] for dims in found)
    if detached:
        return None
    known = [[*_plain_dim(dim), _plain_group(root, dim)] for dim in _known_dims(root)]
    raise MeshLayoutError(
        f"the mesh has mesh dims {wanted!r} of groups {told!r}, and its root has {known}; flatten "
        f"or unflatten as it was done before the mesh was written, or give detached=True for a "
        f"mesh without process groups"
    )


def _dims_like(root: Root, plain: object, told: object) -> list[Dim]:
    """Return the living mesh dims that one which was written can be."""
    like = [dim for dim in _known_dims(root) if _plain_dim(dim) == plain]
    own = [dim for dim in like if _is_own(root, dim)]
    if told is None:
        return own[:1]
    if told == apart.UNTOLD:
        return own[:1] or like
    return [dim for dim in like if dim not in root.dims and _words_of(dim.group) == told]


def _refuse_several(wanted: object, found: list[list[Dim]]) -> None:
    if any(len(dims) > 1 for dims in found):
        raise MeshLayoutError(
            f"the mesh has mesh dims {wanted!r}, and its root has several of a name over the same "
            f"ranks, each with process groups of its own; which is meant cannot be told from what "
            f"was written; give each factorisation its own names"
        )


def _known_dims(root: Root) -> list[Dim]:
    """Return the living mesh dims, each once: the root's own, flattened ones, those of other views."""
    known = [*root.dims]
    for mesh in (*root.flattened.values(), *root.made.values()):
        known += _view(mesh).dims
    for dims in root.factorised.values():
        known += dims
    return list(dict.fromkeys(known))


def _is_own(root: Root, dim: Dim) -> bool:
    """Return whether *dim* is what its root calls so: the root's own, or flattened."""
    flat = root.flattened.get(dim.name or "")
    return dim in root.dims or (flat is not None and dim in _view(flat).dims)


def _made(root: Root, dims: tuple[Dim, ...]) -> DeviceMesh | None:
    return next((mesh for mesh in root.made.values() if _view(mesh).dims == dims), None)


def _view(mesh: DeviceMesh) -> View:
    view: View = mesh.__dict__[ATTRIBUTE]  # a root keeps only meshes that have one
    return view


def _plain_root(root: Root) -> dict[str, Any]:
    names = root.mesh.mesh_dim_names
    return {
        "device_type": root.mesh.device_type,
        "shape": list(root.shape),
        "names": None if names is None else list(names),
        "ranks": None if root.is_range else root.ranks_at(range(root.size)),
    }


def _plain_dim(dim: Dim) -> list[Any]:
    return [dim.name, [list(axis) for axis in dim.axes]]


def _plain_group(root: Root, dim: Dim) -> list[Any] | None:
    return None if dim.group is None or _is_own(root, dim) else _words_of(dim.group)


def _words_of(group: Group | None) -> list[Any]:
    return list((group and group.made_as) or ())
