"""A mesh as plain data, and back: what a pickle of one holds, whatever torch wrote and reads it.

Plain data names the root by what all ranks know of it, and the mesh dims by name and layout. Read
back, it is the mesh of the live root that fits, with the groups that are there: reading makes no
process group, so it is no collective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from meshcompat import _layout
from meshcompat._errors import MeshLayoutError
from meshcompat._mesh.links import links
from meshcompat._mesh.memory import ATTRIBUTE, Dim, Root, View, live_roots, lock
from meshcompat._mesh.objects import inert_mesh, mesh_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch.distributed.device_mesh import DeviceMesh

FORMAT = 1


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
    }
    return {**plain, "token": root.token} if in_process and root.number is None else plain


def from_plain(data: object) -> DeviceMesh:
    """Return the mesh that `to_plain` wrote, on a live root; the name of this is in pickles.

    Raises:
        MeshLayoutError: *data* is none of ours, or no live root has these mesh dims.
    """
    if not dist.is_initialized():
        raise MeshLayoutError(
            "a mesh is read onto the living process groups of its world; call "
            "torch.distributed.init_process_group and make its root mesh first"
        )
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise MeshLayoutError(
            f"{data!r} is no mesh as this meshcompat writes one, with format {FORMAT}; pass what "
            f"meshcompat.mesh_to_dict returned"
        )
    with lock:
        return _read(data)


def _read(data: dict[str, Any]) -> DeviceMesh:
    root = _find_root(data)
    dims = _find_dims(root, data.get("dims"))
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


def _find_root(data: dict[str, Any]) -> Root:
    """Return the living root that was written; of several alike only where it can be told."""
    wanted, number = data.get("root"), data.get("number")
    living = live_roots()
    alike = [root for root in living if _plain_root(root) == wanted]
    if not alike:
        raise MeshLayoutError(
            f"the mesh belongs to root mesh {wanted!r}, and the live ones are "
            f"{[_plain_root(root) for root in living]}; make the root first, as it was made before "
            f"the mesh was written"
        )
    found = [root for root in alike if _is_the_one(root, data)] or _only(alike, number)
    if len(found) == 1:
        return found[0]
    raise MeshLayoutError(
        f"the mesh belongs to root mesh {wanted!r} with number {number!r}, and which of the roots "
        f"like it that is cannot be told: the live ones have the numbers "
        f"{[root.number for root in alike]}, where None is a root that torch made; make the root "
        f"first with meshcompat.init_device_mesh, as often as before the mesh was written"
    )


def _is_the_one(root: Root, data: dict[str, Any]) -> bool:
    if root.number is None:
        return data.get("token") == root.token
    return data.get("number") == root.number


def _only(alike: list[Root], number: object) -> list[Root]:
    """Return the root that must be meant because this world never had another one like it.

    A mesh of a root that torch made is not taken for one of a root that all ranks made: beside
    that one, torch's root may be here, and nobody has asked about it yet.
    """
    numbered = alike[0].count_of_kind()
    unnumbered = [root for root in alike if root.number is None]
    if number is None:
        return [] if numbered else unnumbered
    return alike if numbered + len(unnumbered) == 1 else []


def _find_dims(root: Root, wanted: object) -> tuple[Dim, ...]:
    """Return the living mesh dims: the root's own, flattened ones, those of other views."""
    known = list(_known_dims(root))
    plain = [_plain_dim(dim) for dim in known]
    if not isinstance(wanted, list) or not wanted or any(dim not in plain for dim in wanted):
        raise MeshLayoutError(
            f"the mesh has mesh dims {wanted!r}, and its root has {plain}; flatten or unflatten "
            f"as it was done before the mesh was written"
        )
    return tuple(known[plain.index(dim)] for dim in wanted)


def _known_dims(root: Root) -> Iterator[Dim]:
    yield from root.dims
    for mesh in (*root.flattened.values(), *root.made.values()):
        yield from _view(mesh).dims
    for dims in root.factorised.values():
        yield from dims


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


# torch.load(weights_only=True) reads what is allowed by name; since 2.4, before that it cannot.
if hasattr(torch.serialization, "add_safe_globals"):
    torch.serialization.add_safe_globals([from_plain])
