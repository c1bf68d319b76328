"""What torch does on this release, and what meshcompat does: one row for each known fault.

A row asks the same thing of torch and of meshcompat and gives two verdicts: "right", or in few
words what came instead. What torch is asked is what `meshcompat doctor` asks it.
``python -m tests.support.native_faults FILE`` writes the rows of this release as JSON;
ci/faults.py makes one table of the files of all releases.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

import meshcompat as mc
from meshcompat.doctor import faults
from meshcompat.doctor.faults import (
    FSDP2_FLAT,
    FSDP2_NAMES,
    FSDP2_SHAPE,
    NAMES,
    RIGHT,
    UPSTREAM,
    in_a_world,
    in_thread,
    native_mesh,
    of_a_thread,
    refused,
    restart,
    same,
)
from meshcompat.testing import GlooPool
from tests.support import native

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAULTS", "RIGHT", "in_thread", "native_mesh", "of_a_thread", "on_real_ranks", "release"]


class Fault(NamedTuple):
    """A fault of some releases of torch."""

    name: str
    link: str
    does: str
    """What meshcompat does."""
    torch: Callable[[], str]
    ours: Callable[[], str]


def our_mesh() -> DeviceMesh:
    return mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)


def our_flat(mesh: DeviceMesh, names: tuple[str, ...], name: str) -> DeviceMesh:
    return mc.flatten(mc.get_submesh(mesh, names), name)


def apart_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("pp", "shard"), "pp_shard")
    return same(mc.get_submesh(mesh, "pp_shard").mesh.tolist(), [0, 2, 8, 10])


APART = [[0, 2, 8, 10], [4, 6, 12, 14]]


def apart_beside_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("pp", "shard"), "pp_shard")
    return same(mc.get_submesh(mesh, ("rep", "pp_shard")).mesh.tolist(), APART)


def order_ours() -> str:
    return same(mc.get_submesh(our_mesh(), ("shard", "pp")).mesh.tolist(), [[0, 8], [2, 10]])


def again_ours() -> str:
    submesh = mc.get_submesh(our_mesh(), ("rep", "shard"))
    return same(mc.get_submesh(submesh, "shard").mesh.tolist(), [0, 2])


def taken_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("shard", "cp"), "flat")
    return refused(
        lambda: our_flat(mesh, ("pp", "rep"), "flat"), mc.MeshLayoutError, "the old mesh"
    )


def dim_name_ours() -> str:
    flat = functools.partial(our_flat, our_mesh(), ("pp", "rep"), "cp")
    return refused(flat, mc.MeshLayoutError, "accepted")


def own_name_ours() -> str:
    submesh = mc.get_submesh(our_mesh(), "cp")
    return RIGHT if mc.flatten(submesh, "cp") is submesh else "another mesh"


def unit_ours() -> str:
    mesh = mc.init_device_mesh("cpu", (2, 1, 1, 8), mesh_dim_names=NAMES)
    our_flat(mesh, ("rep", "shard"), "flat")
    return same(mc.get_submesh(mesh, ("flat", "cp")).mesh.tolist(), [list(range(8))])


def flat_of_flat_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("shard", "cp"), "flat")
    return same(our_flat(mesh, ("rep", "flat"), "flatter").mesh.tolist(), list(range(8)))


def disorder_ours() -> str:
    turned = mc.get_submesh(our_mesh(), ("cp", "shard"))
    return refused(lambda: mc.flatten(turned, "flat"), mc.MeshLayoutError, "accepted")


def unflatten_ours() -> str:
    mesh = mc.init_device_mesh("cpu", (2, 8), mesh_dim_names=("pp", "dp"))
    split = mc.unflatten(mesh, "dp", (4, 2), ("ep_shard", "ep"))
    return same(split.mesh.tolist(), torch.arange(16).reshape(2, 4, 2).tolist())


def equal_roots_ours() -> str:
    first = our_mesh()
    submesh = mc.get_submesh(first, "cp")
    mc.get_submesh(our_mesh(), "cp")
    return RIGHT if mc.get_root_mesh(submesh) is first else "the other root"


def thread_root_ours() -> str:
    mesh = our_mesh()
    submesh = mc.get_submesh(mesh, "cp")
    return RIGHT if of_a_thread(mc.get_root_mesh, submesh) is mesh else "no root"


def thread_flat_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("shard", "cp"), "flat")
    return same(of_a_thread(mc.get_flat_mesh, mesh, "flat").mesh.tolist(), [0, 1, 2, 3])


def restart_ours() -> str:
    return same(restart(lambda: our_flat(our_mesh(), ("shard", "cp"), "flat")), [0, 1, 2, 3])


def outside_ours() -> str:
    mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"), ranks=range(4))
    return same(mc.get_submesh(mesh, "tp").get_coordinate(), None)


def descending_ours() -> str:
    """Either the group has the order of the mesh, or there is no mesh."""
    try:
        mesh = mc.init_device_mesh("cpu", (16,), ranks=list(reversed(range(16))))
    except mc.MeshLayoutError:
        return RIGHT
    return same(mesh.get_local_rank(), 15, "wrong local rank")


def timeout_ours() -> str:
    mesh = mc.init_device_mesh("cpu", (2, 8), timeout=60)
    return same(mesh.size(), 16)


def count_ours() -> str:
    before = native.groups()
    mesh = mc.init_device_mesh("cpu", FSDP2_SHAPE, mesh_dim_names=FSDP2_NAMES)
    for name, dims in FSDP2_FLAT.items():
        our_flat(mesh, dims, name)
    count = native.groups() - before
    return same(count, 4, f"{count} groups")


def warns_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("shard", "cp"), "flat")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mc.get_submesh(mesh, "flat")
    return "warns" if caught else RIGHT


def redistribute(*, ours: bool) -> str:
    """Gather an uneven tensor over both dims of a mesh whose dims were flattened too."""
    make = mc.init_device_mesh if ours else init_device_mesh
    mesh = make("cpu", (2, dist.get_world_size() // 2), mesh_dim_names=("dp", "tp"))
    try:
        mc.flatten(mesh, "flat") if ours else native.flatten(mesh, "flat")
    except native.Absent:
        return "absent"
    dtensor = native.dtensor()
    # The DTensor of 2.2 aborts on uneven shards over two dims, of torch's own meshes too.
    rows = 5 if hasattr(DeviceMesh, "_flatten") else 8
    full = torch.arange(3.0 * rows).reshape(rows, 3)
    sharded = dtensor.distribute_tensor(full, mesh, [dtensor.Shard(0), dtensor.Shard(0)])
    gathered = sharded.redistribute(mesh, [dtensor.Replicate(), dtensor.Replicate()]).to_local()
    return RIGHT if torch.equal(gathered, full) else "wrong values"


OURS = {
    "look up a flattened dim whose dims lie apart": (
        "the ranks of the dim",
        apart_ours,
    ),
    "select a flattened dim and a dim between its dims": (
        "the ranks of both dims",
        apart_beside_ours,
    ),
    "select dims in another order": (
        "dims in the order of the names",
        order_ours,
    ),
    "select from a submesh": (
        "the submesh, with the same root",
        again_ours,
    ),
    "flatten to a name that other dims have": (
        "`MeshLayoutError`",
        taken_ours,
    ),
    "flatten to the name of a mesh dim": (
        "`MeshLayoutError`",
        dim_name_ours,
    ),
    "flatten one dim to its own name": (
        "that mesh itself",
        own_name_ours,
    ),
    "select a flattened dim of size 1 and a dim after it": (
        "the ranks of both dims",
        unit_ours,
    ),
    "flatten a flattened dim with another": (
        "the ranks of all dims",
        flat_of_flat_ours,
    ),
    "flatten dims out of order": (
        "`MeshLayoutError`: a group would sort the ranks",
        disorder_ours,
    ),
    "split a dim by name (`_unflatten`)": (
        "a second view, with groups on all ranks",
        unflatten_ours,
    ),
    "ask for the root beside an equal mesh": (
        "the root of that very mesh",
        equal_roots_ours,
    ),
    "ask for the root in another thread": (
        "the same in every thread",
        thread_root_ours,
    ),
    "look up a flattened dim in another thread": (
        "the same in every thread",
        thread_flat_ours,
    ),
    "flatten after a restart of the world": (
        "a group of the living world",
        restart_ours,
    ),
    "select on a rank outside the mesh": (
        "a mesh whose coordinate is None",
        outside_ours,
    ),
    "list ranks in descending order": (
        "the order is kept (2.15), or `MeshLayoutError`",
        descending_ours,
    ),
    "give the groups a timeout": (
        "the timeout of every group, also of later ones",
        timeout_ours,
    ),
    "make an FSDP2 mesh with its three flattened dims": (
        "4 groups a rank: one for each set of ranks",
        count_ours,
    ),
    "look up a flattened dim, warnings being errors": (
        "no warning",
        warns_ours,
    ),
}
"""What meshcompat does instead, and the same asked of it, for every fault of the doctor."""

FAULTS = [
    Fault(
        fault.name,
        fault.link,
        OURS[fault.name][0],
        fault.verdict,
        functools.partial(in_a_world, OURS[fault.name][1], rank=fault.rank),
    )
    for fault in faults.FAULTS
]
"""Rows that one process can ask."""


def on_real_ranks(pool: GlooPool) -> Fault:
    """Return the row that needs collectives that compute."""
    return Fault(
        "redistribute an uneven DTensor after a flatten",
        f"{UPSTREAM}/pull/194457",
        "right values: torch's own registry is left alone",
        lambda: worst(pool.run(redistribute, timeout=300, ours=False)),
        lambda: worst(pool.run(redistribute, timeout=300, ours=True)),
    )


def worst(verdicts: list[str]) -> str:
    return next((verdict for verdict in verdicts if verdict != RIGHT), RIGHT)


def row(fault: Fault) -> dict[str, str]:
    return {
        "name": fault.name,
        "link": fault.link,
        "torch": fault.torch(),
        "meshcompat": fault.ours(),
        "does": fault.does,
    }


def release() -> str:
    return torch.__version__.partition("+")[0]


def main() -> None:
    """Write the rows of this release to the file that the command line names."""
    # DTensor takes seconds to import: once for all ranks, not once on each.
    with GlooPool(world_size=4, preload=[native.dtensor().__name__]) as pool:
        rows = [row(fault) for fault in [on_real_ranks(pool), *FAULTS]]
    text = json.dumps({"release": release(), "rows": rows}, indent=1)
    Path(sys.argv[1]).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    # Rank processes find a function under the name of its module, which "__main__" is not.
    importlib.import_module("tests.support.native_faults").main()
