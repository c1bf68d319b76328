"""Averages over the data-parallel ranks of a training job, whatever its mesh looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.distributed as dist

import meshcompat as mc

if TYPE_CHECKING:
    import torch
    from torch.distributed.device_mesh import DeviceMesh

DATA_PARALLEL = ("dp_replicate", "dp_shard")
"""The dims over which gradients and losses are averaged, where the mesh has them."""

__all__ = ["DATA_PARALLEL", "data_parallel_mesh", "mean_over_data_parallel"]


def data_parallel_mesh(mesh: DeviceMesh) -> DeviceMesh:
    """Return the 1-D mesh of all data-parallel ranks that this rank averages with.

    Args:
        mesh: Mesh with one or both of the dims ``dp_replicate`` and ``dp_shard``.

    Raises:
        ValueError: The mesh has neither.

    Collective:
        Yes, the first time where the mesh has both: every rank of the mesh calls it.
    """
    names = [name for name in DATA_PARALLEL if mc.has_axis(mesh, name)]
    if not names:
        raise ValueError(
            f"a mesh with {', '.join(DATA_PARALLEL)} is needed, and this one has "
            f"{', '.join(mc.get_axis_names(mesh))}"
        )
    if len(names) == 1:
        return mc.get_flat_mesh(mesh, names[0])
    return mc.flatten(mc.get_submesh(mesh, names))


def mean_over_data_parallel(value: torch.Tensor, mesh: DeviceMesh) -> torch.Tensor:
    """Return the mean of *value* over the data-parallel ranks.

    Collective:
        Yes.
    """
    group = data_parallel_mesh(mesh).get_group()
    total = value.clone()
    dist.all_reduce(total, group=group)
    return total / dist.get_world_size(group)
