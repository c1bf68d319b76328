"""Doubles of meshes, as tests of a framework make them: objects that only quack like a `DeviceMesh`.

They are asked by their own ``[...]`` and by the private names of torch that they imitate, by
`meshcompat.mesh_utils` alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from meshcompat._errors import MeshDimError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT = "_flatten_mapping"
"""Where frameworks keep flattened meshes; from 2.10 on torch's own registry, pytorch#164510."""


def kept_flattened(mesh: Any) -> dict[str, Any]:
    """Return the flattened meshes in the attribute of a mesh, by plain name."""
    mapping = getattr(mesh, KEPT, None)
    if not isinstance(mapping, Mapping):
        return {}
    return {str.__str__(name): flat for name, flat in mapping.items() if isinstance(name, str)}


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
    flattened = kept_flattened(_root_of_double(double))
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
    for flat in kept_flattened(_root_of_double(double)).values():
        if flat.size() == math.prod(sizes):
            whole = flat._unflatten(0, sizes, names)
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


def _root_of_double(double: Any) -> Any:
    find = getattr(double, "_get_root_mesh", None)
    return double if find is None else find()


def _ranks_of(mesh: Any) -> set[int]:
    return set(dist.get_process_group_ranks(mesh.get_group()))
