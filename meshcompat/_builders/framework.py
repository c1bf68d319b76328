"""Flattened meshes that a framework with a ``mesh_utils`` keeps by itself, for the drop-in.

Such a framework writes them into an attribute of the root mesh object, and its other files read
them there. Up to 2.9 torch has no such attribute, and on no release does torch know flattened dims
of a mesh over explicit ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _layout
from meshcompat._eras.doubles import KEPT, kept_flattened
from meshcompat._mesh import foreign
from meshcompat._mesh.links import links
from meshcompat._mesh.lookup import view_of
from meshcompat._mesh.memory import View, lock, remember_of_others, remembered
from meshcompat._mesh.objects import flat_mesh

if TYPE_CHECKING:
    from meshcompat._mesh.memory import Root


def publish(mesh: DeviceMesh) -> None:
    """Write what was flattened in the root of *mesh* where the framework looks for it."""
    root = view_of(mesh).root
    mapping = vars(root.mesh).setdefault(KEPT, {})
    for name, flat in root.flattened.items():
        links.publish(root, name)
        mapping.setdefault(name, flat)


def take_up(mesh: DeviceMesh) -> View:
    """Take up what the framework's own module flattened, and return what is known of *mesh*.

    It becomes a mesh of the root with the groups that it has: torch takes the framework's own
    object for a root of its own where it was made of explicit ranks.

    Raises:
        MeshLayoutError: *mesh* is no mesh, or its world was destroyed.
    """
    view = view_of(mesh)
    root = view.root
    kept = {**kept_flattened(mesh), **kept_flattened(root.mesh)}
    new = {
        name: flat
        for name, flat in kept.items()
        if name not in root.flattened and isinstance(flat, DeviceMesh)
    }
    if new:
        with lock:
            foreign.find_flattened(root)
            for name, flat in new.items():
                if name not in root.flattened:
                    _take_up(root, name, flat)
    return view


def _take_up(root: Root, name: str, flat: DeviceMesh) -> None:
    dim = foreign.part_kept_apart(flat, root)
    if dim is None:
        return
    dim = dim._replace(name=name)
    joined = foreign.dims_along(root, _layout.offsets(dim.axes))
    mesh = flat_mesh(root, dim, joined)
    known = remembered(mesh)
    if known is not None and remembered(flat) is None:
        remember_of_others(flat, View(root, (dim,), known.anchor))
