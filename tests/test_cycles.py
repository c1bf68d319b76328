"""Worlds that begin and end hundreds of times: groups, meshes, threads and memory stay as they were."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc
from meshcompat.testing import GlooPool, fake_world
from tests.support import native
from tests.support.native_faults import of_a_thread

CYCLES = 200
SETTLED = 100
"""Cycles after which what is made once, at first use, has been made."""
TOLERANCE = 8.0
"""KiB of resident memory by which a cycle may grow more than one of torch alone does."""


class Footprint(NamedTuple):
    """What a process holds when a new world has begun, before anything is made in it."""

    groups: int
    meshes: int
    threads: int
    kib: float


def build() -> None:
    """Make, look up and drop meshes of every kind."""
    names = ("pp", "dp", "tp")
    half = dist.get_world_size() // 2
    mesh = mc.init_device_mesh("cpu", (2, half, 1), mesh_dim_names=names)
    mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "dp_tp")
    of_a_thread(mc.flatten, mc.get_submesh(mesh, ("pp", "tp")), "pp_tp")
    mc.unflatten(mesh, "dp", (half, 1), ("a", "b"))
    mc.get_all_submeshes(mesh, "dp")
    mc.mesh_from_dict(mc.mesh_to_dict(of_a_thread(mc.get_submesh, mesh, ("tp", "pp"))))
    mc.get_group(mesh, ("pp", "dp"))


def build_groups() -> None:
    """Make as many groups as `build` does, of the same ranks, by torch alone."""
    count = dist.get_world_size()
    half = count // 2
    for _ in range(2):  # dp, and dp split
        for first in range(0, count, half):
            dist.new_group(list(range(first, first + half)))
    for first in range(half):
        dist.new_group([first, first + half])
    for rank in range(count):
        dist.new_group([rank])


def footprint() -> Footprint:
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return Footprint(
        groups=native.groups(),
        meshes=sum(type(one) is DeviceMesh for one in gc.get_objects()),
        threads=int(status.split("Threads:")[1].split()[0]),
        kib=pages * os.sysconf("SC_PAGE_SIZE") / 1024,
    )


def on_a_rank(make) -> Footprint:
    found = footprint()
    make()
    return found


def in_fake_worlds(make) -> list[list[Footprint]]:
    found = []
    for _ in range(CYCLES):
        with fake_world(8, rank=5):
            found.append(on_a_rank(make))
    return [found]


def in_gloo_worlds(make) -> list[list[Footprint]]:
    with GlooPool(world_size=4) as pool:
        cycles = [pool.run(on_a_rank, make) for _ in range(CYCLES)]
    return [list(rank) for rank in zip(*cycles, strict=True)]


def growth(found: list[Footprint], what: str = "kib") -> float:
    """Return by how much a process grows per cycle: the slope of a line through the later ones."""
    later = [getattr(one, what) for one in found[SETTLED:]]
    return float(np.polyfit(range(len(later)), later, 1)[0])


def two_places(value: float) -> float:
    return round(value, 2) + 0.0  # which is never -0.0


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("worlds", [in_fake_worlds, in_gloo_worlds], ids=["fake", "gloo"])
def test_cycles_of_worlds_leave_nothing_behind(worlds, figure, request):
    torchs = [growth(rank) for rank in worlds(build_groups)]
    ranks = worlds(build)

    for found in ranks:
        settled, last = found[SETTLED], found[-1]
        assert (last.groups, last.meshes) == (1, settled.meshes)
    # Up to 2.9 gloo's threads of the last world take their time to end: a line through many.
    threads = max(growth(found, "threads") for found in ranks)
    assert threads < 0.1
    ours = [growth(found) for found in ranks]
    assert max(ours) <= max(torchs) + TOLERANCE
    kind = request.node.callspec.id
    figure("cycles", f"{kind} worlds", CYCLES)
    for name in ("groups", "meshes"):
        figure("cycles", f"{kind}: {name} at first", str(getattr(ranks[0][1], name)))
        figure("cycles", f"{kind}: {name} in the end", str(getattr(ranks[0][-1], name)))
    figure("cycles", f"{kind}: threads per cycle", two_places(threads))
    figure("cycles", f"{kind}: KiB per cycle", two_places(max(ours)))
    figure("cycles", f"{kind}: KiB per cycle of torch alone", two_places(max(torchs)))
