"""A framework with a ``mesh_utils`` of its own: how it makes, keeps and reads flattened meshes.

It stands for NeMo Automodel, whose wheel downstream/test_nemo_automodel.py runs.
"""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d
from torch.distributed.device_mesh import DeviceMesh

from tests.support import native

KEPT = "_flatten_mapping"
NAMES = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
FLATTENED = {
    "dp": ("dp_replicate", "dp_shard"),
    "dp_shard_cp": ("dp_shard", "cp"),
    "dp_cp": ("dp_replicate", "dp_shard", "cp"),
}
_PARAMETERS = inspect.signature(DeviceMesh.__init__).parameters
_WITHOUT_GROUPS: dict[str, Any] = {
    name: False for name in ("_init_backend", "_init_process_groups") if name in _PARAMETERS
}


def name_of(group):
    """Return the name of a group, which has it as an attribute from 2.3 on."""
    return distributed_c10d._world.pg_names[group]  # noqa: SLF001  (2.2 has it nowhere else)


def axis_size(mesh, name, default=None):
    """Return the size of a dim as its other files read it."""
    if name in mesh.mesh_dim_names:
        return mesh[name].size()
    root = native.root(mesh) if hasattr(mesh, "_get_root_mesh") else mesh
    kept = getattr(root, KEPT, {})
    return kept[name].size() if name in kept else default


def over_the_world(shape):
    """Make a mesh over the world, with what torch flattens of it."""
    native.require("_flatten")
    mesh = device_mesh.init_device_mesh("cpu", shape, mesh_dim_names=NAMES)
    kept = vars(mesh).setdefault(KEPT, {})
    for name, joined in FLATTENED.items():
        kept.setdefault(name, native.flatten(mesh[joined], name))
    return mesh


def over_ranks(shape, ranks):
    """Make a mesh over explicit ranks, whose flattened dims are only in its attribute."""
    ordered = torch.tensor(ranks).reshape(shape)
    mesh = DeviceMesh("cpu", ordered, mesh_dim_names=NAMES)
    kept = vars(mesh).setdefault(KEPT, {})
    for name, joined in FLATTENED.items():
        rest = [index for index, dim in enumerate(NAMES) if dim not in joined]
        first, mine = None, None
        for place in itertools.product(*(range(shape[index]) for index in rest)):
            index: list[slice | int] = [slice(None)] * len(shape)
            for dim, at in zip(rest, place, strict=True):
                index[dim] = at
            part = ordered[tuple(index)].flatten()
            first = part if first is None else first
            group = dist.new_group(part.tolist())
            if dist.get_rank() in part:
                mine = part, group
        flat = DeviceMesh(
            "cpu", first if mine is None else mine[0], mesh_dim_names=(name,), **_WITHOUT_GROUPS
        )
        vars(flat)["_dim_group_names"] = [] if mine is None else [name_of(mine[1])]
        kept.setdefault(name, flat)
    return mesh
