"""What torch does on this release, and what meshcompat does: one row for each known fault.

A row asks the same thing of torch and of meshcompat and gives two verdicts: "right", or in few
words what came instead. ``python -m tests.support.native_faults FILE`` writes the rows of this release
as JSON; ci/faults.py makes one table of the files of all releases.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

import meshcompat as mc
from meshcompat.testing import GlooPool, fake_world
from tests.support import native

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RIGHT = "right"
UPSTREAM = "https://github.com/pytorch/pytorch"
NAMES = ("pp", "rep", "shard", "cp")
"""The mesh of most rows: (2, 2, 2, 2) over ranks 0 to 15."""

FSDP2_SHAPE = (2, 1, 4, 1, 2)
FSDP2_NAMES = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
FSDP2_FLAT = {
    "dp": ("dp_replicate", "dp_shard"),
    "dp_shard_cp": ("dp_shard", "cp"),
    "dp_cp": ("dp_replicate", "dp_shard", "cp"),
}


class Fault(NamedTuple):
    """A fault of some releases of torch."""

    name: str
    link: str
    does: str
    """What meshcompat does."""
    torch: Callable[[], str]
    ours: Callable[[], str]


def native_mesh() -> DeviceMesh:
    return init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)


def our_mesh() -> DeviceMesh:
    return mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)


def native_flat(mesh: DeviceMesh, names: tuple[str, ...], name: str) -> DeviceMesh:
    native.require("_flatten")
    return native.flatten(native.pick(mesh, names), name)


def our_flat(mesh: DeviceMesh, names: tuple[str, ...], name: str) -> DeviceMesh:
    return mc.flatten(mc.get_submesh(mesh, names), name)


def same(found: object, expected: object, otherwise: str = "wrong ranks") -> str:
    return RIGHT if found == expected else otherwise


def refused(call: Callable[[], object], error: type[Exception], otherwise: str) -> str:
    """Say "right" where the call raises, as it should."""
    try:
        call()
    except native.Absent:
        raise
    except error:
        return RIGHT
    return otherwise


def in_a_world(
    probe: Callable[[], str], *, rank: int = 0, catches: tuple[type[Exception], ...] = (Exception,)
) -> str:
    """Return the verdict of a probe on one rank of 16, or the name of its error.

    The probe has a thread of its own: from 2.4 to 2.9 torch's tables belong to the thread, and
    what one probe leaves there would mislead the next.
    """
    found: list[str] = []

    def run() -> None:
        try:
            found.append(probe())
        except native.Absent:
            found.append("absent")
        except catches as error:
            found.append(type(error).__name__)

    with fake_world(16, rank):
        in_thread(run)
    return found[0]


def in_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def of_a_thread(call: Callable[..., T], *args: object) -> T:
    """Return what a call gives in another thread, or raise what it raises there."""
    found: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            found.append(call(*args))
        except Exception as error:  # noqa: BLE001  (raised again in the thread that asked)
            raised.append(error)

    in_thread(run)
    if raised:
        raise raised[0]
    return found[0]


def apart_torch() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("pp", "shard"), "pp_shard")
    return same(native.pick(mesh, "pp_shard").mesh.tolist(), [0, 2, 8, 10])


def apart_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("pp", "shard"), "pp_shard")
    return same(mc.get_submesh(mesh, "pp_shard").mesh.tolist(), [0, 2, 8, 10])


APART = [[0, 2, 8, 10], [4, 6, 12, 14]]


def apart_beside_torch() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("pp", "shard"), "pp_shard")
    return same(native.pick(mesh, ("rep", "pp_shard")).mesh.tolist(), APART)


def apart_beside_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("pp", "shard"), "pp_shard")
    return same(mc.get_submesh(mesh, ("rep", "pp_shard")).mesh.tolist(), APART)


def order_torch() -> str:
    return same(native.pick(native_mesh(), ("shard", "pp")).mesh.tolist(), [[0, 8], [2, 10]])


def order_ours() -> str:
    return same(mc.get_submesh(our_mesh(), ("shard", "pp")).mesh.tolist(), [[0, 8], [2, 10]])


def again_torch() -> str:
    submesh = native.pick(native_mesh(), ("rep", "shard"))
    return same(native.pick(submesh, "shard").mesh.tolist(), [0, 2])


def again_ours() -> str:
    submesh = mc.get_submesh(our_mesh(), ("rep", "shard"))
    return same(mc.get_submesh(submesh, "shard").mesh.tolist(), [0, 2])


def taken_torch() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("shard", "cp"), "flat")
    return refused(lambda: native_flat(mesh, ("pp", "rep"), "flat"), Exception, "the old mesh")


def taken_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("shard", "cp"), "flat")
    return refused(
        lambda: our_flat(mesh, ("pp", "rep"), "flat"), mc.MeshLayoutError, "the old mesh"
    )


def dim_name_torch() -> str:
    flat = functools.partial(native_flat, native_mesh(), ("pp", "rep"), "cp")
    return refused(flat, Exception, "breaks every equal mesh")


def dim_name_ours() -> str:
    flat = functools.partial(our_flat, our_mesh(), ("pp", "rep"), "cp")
    return refused(flat, mc.MeshLayoutError, "accepted")


def own_name_torch() -> str:
    submesh = native.pick(native_mesh(), "cp")
    return RIGHT if native.flatten(submesh, "cp") is submesh else "another mesh and group"


def own_name_ours() -> str:
    submesh = mc.get_submesh(our_mesh(), "cp")
    return RIGHT if mc.flatten(submesh, "cp") is submesh else "another mesh"


def unit_torch() -> str:
    mesh = init_device_mesh("cpu", (2, 1, 1, 8), mesh_dim_names=NAMES)
    native_flat(mesh, ("rep", "shard"), "flat")
    return same(native.pick(mesh, ("flat", "cp")).mesh.tolist(), [list(range(8))])


def unit_ours() -> str:
    mesh = mc.init_device_mesh("cpu", (2, 1, 1, 8), mesh_dim_names=NAMES)
    our_flat(mesh, ("rep", "shard"), "flat")
    return same(mc.get_submesh(mesh, ("flat", "cp")).mesh.tolist(), [list(range(8))])


def flat_of_flat_torch() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("shard", "cp"), "flat")
    return same(native_flat(mesh, ("rep", "flat"), "flatter").mesh.tolist(), list(range(8)))


def flat_of_flat_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("shard", "cp"), "flat")
    return same(our_flat(mesh, ("rep", "flat"), "flatter").mesh.tolist(), list(range(8)))


def disorder_torch() -> str:
    mesh = native_mesh()
    turned = native.concatenate([native.pick(mesh, "cp"), native.pick(mesh, "shard")])
    flat = native.flatten(turned, "flat")
    return same(flat.mesh.tolist(), native.ranks_of(flat), "mesh and group disagree")


def disorder_ours() -> str:
    turned = mc.get_submesh(our_mesh(), ("cp", "shard"))
    return refused(lambda: mc.flatten(turned, "flat"), mc.MeshLayoutError, "accepted")


def unflatten_torch() -> str:
    mesh = init_device_mesh("cpu", (2, 8), mesh_dim_names=("pp", "dp"))
    split = native.unflatten(mesh, "dp", (4, 2), ("ep_shard", "ep"))
    return same(split.mesh.tolist(), torch.arange(16).reshape(2, 4, 2).tolist())


def unflatten_ours() -> str:
    mesh = mc.init_device_mesh("cpu", (2, 8), mesh_dim_names=("pp", "dp"))
    split = mc.unflatten(mesh, "dp", (4, 2), ("ep_shard", "ep"))
    return same(split.mesh.tolist(), torch.arange(16).reshape(2, 4, 2).tolist())


def equal_roots_torch() -> str:
    first = native_mesh()
    submesh = native.pick(first, "cp")
    native.pick(native_mesh(), "cp")
    return RIGHT if native.root(submesh) is first else "the other root"


def equal_roots_ours() -> str:
    first = our_mesh()
    submesh = mc.get_submesh(first, "cp")
    mc.get_submesh(our_mesh(), "cp")
    return RIGHT if mc.get_root_mesh(submesh) is first else "the other root"


def thread_root_torch() -> str:
    mesh = native_mesh()
    submesh = native.pick(mesh, "cp")
    return RIGHT if of_a_thread(native.root, submesh) is mesh else "no root"


def thread_root_ours() -> str:
    mesh = our_mesh()
    submesh = mc.get_submesh(mesh, "cp")
    return RIGHT if of_a_thread(mc.get_root_mesh, submesh) is mesh else "no root"


def thread_flat_torch() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("shard", "cp"), "flat")
    return same(of_a_thread(native.pick, mesh, "flat").mesh.tolist(), [0, 1, 2, 3])


def thread_flat_ours() -> str:
    mesh = our_mesh()
    our_flat(mesh, ("shard", "cp"), "flat")
    return same(of_a_thread(mc.get_flat_mesh, mesh, "flat").mesh.tolist(), [0, 1, 2, 3])


def restart(make: Callable[[], DeviceMesh]) -> list[int]:
    """Return the ranks that a mesh's group has after the world was made a second time."""
    make()
    dist.destroy_process_group()
    with fake_world(16):
        return native.ranks_of(make())


def restart_torch() -> str:
    native.require("_flatten")
    make = lambda: native_flat(native_mesh(), ("shard", "cp"), "flat")  # noqa: E731
    try:
        return same(restart(make), [0, 1, 2, 3])
    except (RuntimeError, TypeError):
        return "a dead group"


def restart_ours() -> str:
    return same(restart(lambda: our_flat(our_mesh(), ("shard", "cp"), "flat")), [0, 1, 2, 3])


def outside_torch() -> str:
    mesh = DeviceMesh("cpu", [[0, 1], [2, 3]], mesh_dim_names=("dp", "tp"))
    return same(native.pick(mesh, "tp").get_coordinate(), None)


def outside_ours() -> str:
    mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"), ranks=range(4))
    return same(mc.get_submesh(mesh, "tp").get_coordinate(), None)


def descending_torch() -> str:
    mesh = DeviceMesh("cpu", list(reversed(range(16))))
    return same(mesh.get_local_rank(), 15, "wrong local rank")


def descending_ours() -> str:
    """Either the group has the order of the mesh, or there is no mesh."""
    try:
        mesh = mc.init_device_mesh("cpu", (16,), ranks=list(reversed(range(16))))
    except mc.MeshLayoutError:
        return RIGHT
    return same(mesh.get_local_rank(), 15, "wrong local rank")


def timeout_torch() -> str:
    try:
        init_device_mesh("cpu", (2, 8), timeout=60)
    except TypeError:
        return "absent"
    return RIGHT


def timeout_ours() -> str:
    mesh = mc.init_device_mesh("cpu", (2, 8), timeout=60)
    return same(mesh.size(), 16)


def count_torch() -> str:
    native.require("_flatten")
    before = native.groups()
    mesh = init_device_mesh("cpu", FSDP2_SHAPE, mesh_dim_names=FSDP2_NAMES)
    for name, dims in FSDP2_FLAT.items():
        native_flat(mesh, dims, name)
    count = native.groups() - before
    return same(count, 4, f"{count} groups")


def count_ours() -> str:
    before = native.groups()
    mesh = mc.init_device_mesh("cpu", FSDP2_SHAPE, mesh_dim_names=FSDP2_NAMES)
    for name, dims in FSDP2_FLAT.items():
        our_flat(mesh, dims, name)
    count = native.groups() - before
    return same(count, 4, f"{count} groups")


def warns_torch() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("shard", "cp"), "flat")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mesh["flat"]
    return "warns" if caught else RIGHT


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


def fault(
    name: str,
    upstream: str,
    does: str,
    torch_probe: Callable[[], str],
    our_probe: Callable[[], str],
    *,
    rank: int = 0,
) -> Fault:
    return Fault(
        name,
        f"{UPSTREAM}/{upstream}",
        does,
        functools.partial(in_a_world, torch_probe, rank=rank),
        functools.partial(in_a_world, our_probe, rank=rank),
    )


FAULTS = [
    fault(
        "look up a flattened dim whose dims lie apart",
        "issues/157393",
        "the ranks of the dim",
        apart_torch,
        apart_ours,
    ),
    fault(
        "select such a dim beside another one",
        "issues/157393",
        "the ranks of both dims",
        apart_beside_torch,
        apart_beside_ours,
    ),
    fault(
        "select dims in another order",
        "pull/133193",
        "dims in the order of the names",
        order_torch,
        order_ours,
    ),
    fault(
        "select from a submesh",
        "issues/143194",
        "the submesh, with the same root",
        again_torch,
        again_ours,
    ),
    fault(
        "flatten to a name that other dims have",
        "pull/163288",
        "`MeshLayoutError`",
        taken_torch,
        taken_ours,
    ),
    fault(
        "flatten to the name of a mesh dim",
        "pull/161311",
        "`MeshLayoutError`",
        dim_name_torch,
        dim_name_ours,
    ),
    fault(
        "flatten one dim to its own name",
        "pull/161311",
        "that mesh itself",
        own_name_torch,
        own_name_ours,
    ),
    fault(
        "select a flattened dim of size 1 and a dim after it",
        "issues/169381",
        "the ranks of both dims",
        unit_torch,
        unit_ours,
    ),
    fault(
        "flatten a flattened dim with another",
        "issues/159013",
        "the ranks of all dims",
        flat_of_flat_torch,
        flat_of_flat_ours,
    ),
    fault(
        "flatten dims out of order",
        "issues/193224",
        "`MeshLayoutError`: a group would sort the ranks",
        disorder_torch,
        disorder_ours,
    ),
    fault(
        "split a dim by name (`_unflatten`)",
        "issues/176443",
        "a second view, with groups on all ranks",
        unflatten_torch,
        unflatten_ours,
    ),
    fault(
        "ask for the root beside an equal mesh",
        "issues/173789",
        "the root of that very mesh",
        equal_roots_torch,
        equal_roots_ours,
    ),
    fault(
        "ask for the root in another thread",
        "issues/159014",
        "the same in every thread",
        thread_root_torch,
        thread_root_ours,
    ),
    fault(
        "look up a flattened dim in another thread",
        "issues/159014",
        "the same in every thread",
        thread_flat_torch,
        thread_flat_ours,
    ),
    fault(
        "flatten after a restart of the world",
        "issues/173789",
        "a group of the living world",
        restart_torch,
        restart_ours,
    ),
    fault(
        "select on a rank outside the mesh",
        "issues/118614",
        "a mesh whose coordinate is None",
        outside_torch,
        outside_ours,
        rank=5,
    ),
    fault(
        "list ranks in descending order",
        "issues/193224",
        "the order is kept (2.15), or `MeshLayoutError`",
        descending_torch,
        descending_ours,
    ),
    fault(
        "give the groups a timeout",
        "issues/119613",
        "the timeout of every group, also of later ones",
        timeout_torch,
        timeout_ours,
    ),
    fault(
        "make an FSDP2 mesh with its three flattened dims",
        "issues/166010",
        "4 groups a rank: one for each set of ranks",
        count_torch,
        count_ours,
    ),
    fault(
        "look up a flattened dim, warnings being errors",
        "pull/164993",
        "no warning",
        warns_torch,
        warns_ours,
    ),
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
