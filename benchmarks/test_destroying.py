"""What is left of layouts that are made, used and destroyed again and again, on 8 real ranks over gloo."""

from __future__ import annotations

import gc
from pathlib import Path

import torch
import torch.distributed as dist

import meshcompat as mc
from benchmarks import memory
from meshcompat.testing import GlooPool
from tests.support import native

ROUNDS = 50
SETTLED = 10
"""Rounds after which nothing may grow: torch and the allocator keep what they will use again."""
LAYOUTS = (((2, 2, 2), ("pp", "dp", "tp")), ((4, 2), ("dp", "tp")))


def test_rounds_of_two_layouts(note):
    with GlooPool(8) as pool:
        found = pool.run(rounds, ROUNDS, timeout=300)
    counts = {what: max(each[what] for each in found) for what in found[0]}
    note({"topic": "destroy", "rounds": ROUNDS, "counts": counts})


def rounds(count):
    """Return how much more this rank has after the last round than after those that settle it."""
    seen = []
    for _ in range(count):
        for shape, names in LAYOUTS:
            mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=names)
            flat = mc.flatten(mc.get_submesh(mesh, names[-2:]), "joined")
            total = torch.ones(1)
            dist.all_reduce(total, group=flat.get_group())
            assert total.item() == flat.size()
            mc.destroy_mesh(mesh)
        gc.collect()
        seen.append(held())
    return {what: round(seen[-1][what] - seen[SETTLED - 1][what], 2) for what in seen[0]}


def held():
    """Return what this process has: groups, threads and MiB."""
    return {
        "groups": native.groups(),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "MiB": memory.mib("VmRSS"),
    }
