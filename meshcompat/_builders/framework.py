"""What a framework with a ``mesh_utils`` keeps of its flattened meshes by itself, for the drop-in.

Such a framework writes them into an attribute of the root mesh object, and its other files read
them there: up to 2.9 torch has none of that name, and of meshes over explicit ranks torch knows
no flattened dims on any release. Its tests hand in doubles that only have that attribute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _layout
from meshcompat._errors import MeshDimError
from meshcompat._mesh import foreign
from meshcompat._mesh.links import links
from meshcompat._mesh.lookup import view_of
from meshcompat._mesh.memory import View, lock, remember, remembered
from meshcompat._mesh.objects import flat_mesh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcompat._mesh.memory import Root

ATTRIBUTE = "_flatten_mapping"
"""The attribute, and from 2.10 on torch's own registry in the same place."""


def publish(mesh: DeviceMesh) -> None:
    """Write what was flattened in the root of *mesh* where the framework looks for it."""
    root = view_of(mesh).root
    mapping = vars(root.mesh).setdefault(ATTRIBUTE, {})
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
    kept = {**_kept(mesh), **_kept(root.mesh)}
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


def is_double(mesh: object) -> bool:
    """Return whether *mesh* is no mesh and quacks like one, as a test's double does."""
    return not isinstance(mesh, DeviceMesh) and hasattr(mesh, "mesh_dim_names")


def flat_of_double(double: Any, name: str) -> Any:
    """Return what a double has for one mesh dim: by its own ``[...]``, or in its attribute.

    Raises:
        MeshDimError: Neither has it.
    """
    if name in (double.mesh_dim_names or ()):
        return double[name]
    flattened = _kept(_root_of_double(double))
    if name in flattened:
        return flattened[name]
    raise MeshDimError(
        f"unknown mesh dim {name!r}: the mesh has {double.mesh_dim_names}, and its root has "
        f"flattened {tuple(flattened)}; ask for one of these"
    )


def part_of_double(double: Any, names: Sequence[str]) -> Any:
    """Return what a double has for several mesh dims.

    Where some are flattened, that is a flattened mesh over all of them, split; as the framework
    itself does.

    Raises:
        MeshDimError: It has none.
    """
    if len(names) == 1:
        return flat_of_double(double, names[0])
    if all(name in (double.mesh_dim_names or ()) for name in names):
        return double[names]
    parts = [flat_of_double(double, name) for name in names]
    sizes = tuple(part.size() for part in parts)
    for flat in _kept(_root_of_double(double)).values():
        if flat.size() == math.prod(sizes):
            whole = flat._unflatten(0, sizes, names)  # noqa: SLF001  (the double's, not torch's)
            pairs = zip(names, parts, strict=True)
            if all(_ranks_of(whole[name]) == _ranks_of(part) for name, part in pairs):
                return whole
    raise MeshDimError(
        f"mesh dims {names!r} of sizes {sizes} are no part of a flattened mesh of the root; "
        f"flatten them together first"
    )


def fsdp_names_of_double(double: Any, replicate: str, sharded: str) -> tuple[str, ...]:
    """Return the mesh dims that FSDP2 takes of a double, by its own sizes."""
    if not {replicate, "dp_shard", "cp"} <= set(double.mesh_dim_names or ()):
        return (replicate, sharded)
    last = sharded if double["cp"].size() > 1 else "dp_shard"
    return (replicate, last) if double[replicate].size() > 1 else (last,)


def _take_up(root: Root, name: str, flat: DeviceMesh) -> None:
    dim = foreign.part_kept_apart(flat, root)
    if dim is None:
        return
    dim = dim._replace(name=name)
    joined = foreign.dims_along(root, _layout.offsets(dim.axes))
    mesh = flat_mesh(root, dim, joined)
    known = remembered(mesh)
    if known is not None and remembered(flat) is None:
        remember(flat, View(root, (dim,), known.anchor))


def _kept(mesh: Any) -> dict[str, Any]:
    """Return the flattened meshes in the attribute of a mesh, by plain name."""
    mapping = getattr(mesh, ATTRIBUTE, None)
    if not isinstance(mapping, Mapping):
        return {}
    return {str.__str__(name): flat for name, flat in mapping.items() if isinstance(name, str)}


def _root_of_double(double: Any) -> Any:
    find = getattr(double, "_get_root_mesh", None)
    return double if find is None else find()


def _ranks_of(mesh: Any) -> set[int]:
    return set(dist.get_process_group_ranks(mesh.get_group()))
