"""What torch itself finds of a mesh: the mesh it takes for the root, its tables, its registry.

Up to 2.9 the mesh that torch takes for the root (the *anchor*) can be another than ours:
consumers look names up in it, so it may only be a mesh that has them. Its tables are one for
each thread. Nothing here makes a mesh, and nothing is a collective.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from meshcompat import _eras
from meshcompat._eras.answers import forget_meshes
from meshcompat._errors import MeshLayoutError
from meshcompat._mesh.memory import names_of, remembered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._mesh.memory import Dim, Root, View


def anchor_of(view: View, dims: tuple[Dim, ...]) -> DeviceMesh | None:
    """Return the mesh that torch can take for the root of *dims*; None where none can be.

    From 2.5 to 2.9 what is picked from a view that is its own root belongs to that view, so
    that FSDP2 beside TP finds the dims of both there.
    """
    root, era = view.root, _eras.primitives()
    _, last = root.published.get(dims[-1].name or "", (None, None))
    is_flat = dims[-1] not in root.dims
    is_known = native_dims(root, dims) is not None and not (is_flat and is_refused(root, last))
    outer = remembered(view.anchor)
    if not era.has_one_root() and outer is not None and outer.anchor is not root.mesh:
        indices = [outer.dims.index(dim) for dim in dims if dim in outer.dims]
        is_inside = len(indices) == len(dims) and indices == sorted(set(indices))
        if is_inside and (era.publishes_flattened() or not is_known):
            return outer.anchor
    return root.mesh if era.has_one_root() or is_known else None


def is_refused(root: Root, covered: tuple[int, ...] | None) -> bool:
    """Return whether a flattened dim over these dims of the root is for TP, and TP refuses it.

    Up to 2.8 TP takes only the last dim of torch's root, by name: not one that is flattened.
    Where that covers the last dim, no other dim of the root can be TP's beside it.
    """
    is_last = covered is not None and covered[-1] == len(root.dims) - 1
    return is_last and _eras.primitives().wants_innermost()


def native_dims(root: Root, dims: Sequence[Dim]) -> tuple[int, ...] | None:
    """Return the root's dims that *dims* cover, if torch's root knows all by name and order."""
    covered: list[int] = []
    for dim in dims:
        known, root_dims = root.published.get(dim.name or "", (None, ()))
        if dim in root.dims:
            covered.append(root.dims.index(dim))
        elif dim == known:
            covered.extend(root_dims)
        else:
            return None
    return tuple(covered) if covered == sorted(set(covered)) else None


def run_of(root: Root, dims: Sequence[Dim]) -> tuple[int, ...] | None:
    """Return the root's dims that *dims* cover, if these lie side by side; see `native_dims`."""
    covered = native_dims(root, dims)
    is_run = covered is not None and covered[-1] - covered[0] == len(covered) - 1
    return covered if is_run else None


def belongs_to_view(view: View, dim: Dim) -> bool:
    """Return whether torch finds *dim* in the view that it is picked from, not in the root."""
    is_apart = view.anchor is not view.root.mesh and dim in view.dims
    return is_apart and _eras.primitives().publishes_flattened()


def refuse_publish(view: View) -> None:
    """Refuse to publish the flattened mesh of *view* where torch could only slice it wrong.

    Raises:
        MeshLayoutError: Up to 2.9, its dims do not lie side by side in the root.
    """
    if _eras.primitives().publishes_flattened() and run_of(view.root, view.dims) is None:
        raise MeshLayoutError(
            f"mesh dims {view.names} do not lie side by side in the root "
            f"{names_of(view.root.dims)}, and this torch would slice wrong ranks by the name of "
            f"them flattened; leave publish out"
        )


def publish_flat(root: Root, name: str) -> None:
    """Write a flattened mesh into torch's registry where torch has one and it is not there."""
    era = _eras.primitives()
    is_there = name not in root.flattened or name in era.native_flattened(root.mesh)
    if era.has_one_root() and not is_there:
        era.publish_flattened(root.mesh, name, root.flattened[name], ())


def relink(mesh: DeviceMesh) -> None:
    """Tell torch's tables, in this thread, what *mesh* belongs to.

    From 2.4 to 2.9 the tables are empty in a thread that has not seen the mesh. From 2.5 on
    they are keyed by value: of equal meshes they know the one that was asked for last.
    """
    era = _eras.primitives()
    view = remembered(mesh)
    if era.has_one_root() or view is None:
        return
    there = _known_here(mesh)
    if there is mesh:
        return
    if there is not None:
        forget_meshes()
    _thread.known[hash(mesh)] = weakref.ref(mesh)
    if view.anchor is mesh:
        _leave_others(mesh, view)
    else:
        relink(view.anchor)
        era.link(mesh, view.anchor)
    root = view.root
    for name, (_, root_dims) in root.published.items():
        flat = root.flattened[name]
        # What another thread flattened since this one saw the root is new to it.
        if view.anchor is root.mesh or mesh is flat:
            if _known_here(flat) is None:
                relink(flat)
            era.publish_flattened(root.mesh, name, flat, root_dims)


def _known_here(mesh: DeviceMesh) -> DeviceMesh | None:
    """Return the mesh that torch's tables know in this thread: of equal ones the last."""
    known = _thread.known.get(hash(mesh))
    return None if known is None else known()


def _leave_others(mesh: DeviceMesh, view: View) -> None:
    """Take *mesh*, its own root, out of the family of an equal mesh.

    A root stays where somebody slices it by torch, unless that world was destroyed: torch's
    tables outlive it.
    """
    torch_root = _eras.primitives().root(mesh)
    other = remembered(torch_root)
    if torch_root is mesh or other is None:
        return
    if view.root.mesh is not mesh or not other.root.is_alive:
        _eras.primitives().link(mesh, mesh)


class _Thread(threading.local):
    def __init__(self) -> None:
        self.known: dict[int, weakref.ref[DeviceMesh]] = {}


_thread = _Thread()
