"""Two layouts that are made, used and destroyed on 8 ranks, and what a process has after it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist

import meshcompat as mc

LAYOUTS = (((2, 2, 2), ("pp", "dp", "tp")), ((4, 2), ("dp", "tp")))


def make_use_and_destroy() -> None:
    """Do so with each layout, and check a sum over its flattened dim."""
    for shape, names in LAYOUTS:
        mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=names)
        flat = mc.flatten(mc.get_submesh(mesh, names[-2:]), "joined")
        total = torch.ones(1)
        dist.all_reduce(total, group=flat.get_group())
        assert total.item() == flat.size()
        mc.destroy_mesh(mesh)


def count_of_threads() -> int:
    """Return how many threads this process has."""
    return len(list(Path("/proc/self/task").iterdir()))
