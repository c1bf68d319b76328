"""What torch's own meshes get wrong here: small programs, each run in a fake world of 16 ranks.

A verdict is "right", "absent" where this torch has no such call, or in few words what came
instead of the right answer. Each program asks torch alone, never meshcompat.
"""

from __future__ import annotations

import functools
import threading
import warnings
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from meshcompat._eras import native
from meshcompat.testing.fake_world import fake_world

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

RIGHT = "right"
ABSENT = "absent"
UPSTREAM = "https://github.com/pytorch/pytorch"
NAMES = ("pp", "rep", "shard", "cp")
"""The mesh of most programs: (2, 2, 2, 2) over ranks 0 to 15."""

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
    """What is asked for."""
    link: str
    program: Callable[[], str]
    """Asks for it, and says what came of it."""
    rank: int = 0
    """The rank that asks."""

    def verdict(self) -> str:
        """Return what torch does here."""
        return in_a_world(self.program, rank=self.rank)


def same(found: object, expected: object, otherwise: str = "wrong ranks") -> str:
    """Say "right" where both are equal."""
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
    program: Callable[[], str],
    *,
    rank: int = 0,
    catches: tuple[type[Exception], ...] = (Exception,),
) -> str:
    """Return the verdict of a program on one rank of 16, or the name of its error.

    The program has a thread of its own: from 2.4 to 2.9 torch's tables belong to the thread, and
    what one program leaves there would mislead the next.
    """
    found: list[str] = []

    def run() -> None:
        try:
            found.append(program())
        except native.Absent:
            found.append(ABSENT)
        except catches as error:
            found.append(type(error).__name__)

    with fake_world(16, rank):
        in_thread(run)
    return found[0]


def in_thread(call: Callable[[], object]) -> None:
    """Run a call in another thread, and wait for it."""
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


def native_mesh() -> DeviceMesh:
    """Return torch's mesh of most programs."""
    return init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)


def native_flat(mesh: DeviceMesh, names: tuple[str, ...], name: str) -> DeviceMesh:
    """Flatten some dims of a mesh with torch's own call."""
    native.require("_flatten")
    return native.flatten(native.pick(mesh, names), name)


def _apart() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("pp", "shard"), "pp_shard")
    return same(native.pick(mesh, "pp_shard").mesh.tolist(), [0, 2, 8, 10])


def _apart_beside() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("pp", "shard"), "pp_shard")
    expected = [[0, 2, 8, 10], [4, 6, 12, 14]]
    return same(native.pick(mesh, ("rep", "pp_shard")).mesh.tolist(), expected)


def _order() -> str:
    return same(native.pick(native_mesh(), ("shard", "pp")).mesh.tolist(), [[0, 8], [2, 10]])


def _again() -> str:
    submesh = native.pick(native_mesh(), ("rep", "shard"))
    return same(native.pick(submesh, "shard").mesh.tolist(), [0, 2])


def _taken() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("shard", "cp"), "flat")
    return refused(lambda: native_flat(mesh, ("pp", "rep"), "flat"), Exception, "the old mesh")


def _dim_name() -> str:
    flat = functools.partial(native_flat, native_mesh(), ("pp", "rep"), "cp")
    return refused(flat, Exception, "breaks every equal mesh")


def _own_name() -> str:
    submesh = native.pick(native_mesh(), "cp")
    return RIGHT if native.flatten(submesh, "cp") is submesh else "another mesh and group"


def _unit() -> str:
    mesh = init_device_mesh("cpu", (2, 1, 1, 8), mesh_dim_names=NAMES)
    native_flat(mesh, ("rep", "shard"), "flat")
    return same(native.pick(mesh, ("flat", "cp")).mesh.tolist(), [list(range(8))])


def _flat_of_flat() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("shard", "cp"), "flat")
    return same(native_flat(mesh, ("rep", "flat"), "flatter").mesh.tolist(), list(range(8)))


def _disorder() -> str:
    mesh = native_mesh()
    turned = native.concatenate([native.pick(mesh, "cp"), native.pick(mesh, "shard")])
    flat = native.flatten(turned, "flat")
    return same(flat.mesh.tolist(), native.ranks_of(flat), "mesh and group disagree")


def _unflatten() -> str:
    mesh = init_device_mesh("cpu", (2, 8), mesh_dim_names=("pp", "dp"))
    split = native.unflatten(mesh, "dp", (4, 2), ("ep_shard", "ep"))
    return same(split.mesh.tolist(), torch.arange(16).reshape(2, 4, 2).tolist())


def _equal_roots() -> str:
    first = native_mesh()
    submesh = native.pick(first, "cp")
    native.pick(native_mesh(), "cp")
    return RIGHT if native.root(submesh) is first else "the other root"


def _thread_root() -> str:
    mesh = native_mesh()
    submesh = native.pick(mesh, "cp")
    return RIGHT if of_a_thread(native.root, submesh) is mesh else "no root"


def _thread_flat() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("shard", "cp"), "flat")
    return same(of_a_thread(native.pick, mesh, "flat").mesh.tolist(), [0, 1, 2, 3])


def restart(make: Callable[[], DeviceMesh]) -> list[int]:
    """Return the ranks that a mesh's group has after the world was made a second time."""
    make()
    dist.destroy_process_group()
    with fake_world(16):
        return native.ranks_of(make())


def _restart() -> str:
    native.require("_flatten")
    make = lambda: native_flat(native_mesh(), ("shard", "cp"), "flat")  # noqa: E731
    try:
        return same(restart(make), [0, 1, 2, 3])
    except (RuntimeError, TypeError):
        return "a dead group"


def _outside() -> str:
    mesh = DeviceMesh("cpu", [[0, 1], [2, 3]], mesh_dim_names=("dp", "tp"))
    return same(native.pick(mesh, "tp").get_coordinate(), None)


def _descending() -> str:
    mesh = DeviceMesh("cpu", list(reversed(range(16))))
    return same(mesh.get_local_rank(), 15, "wrong local rank")


def _timeout() -> str:
    make: Callable[..., object] = init_device_mesh
    try:
        make("cpu", (2, 8), timeout=60)
    except TypeError:
        return ABSENT
    return RIGHT


def _count() -> str:
    native.require("_flatten")
    before = native.groups()
    mesh = init_device_mesh("cpu", FSDP2_SHAPE, mesh_dim_names=FSDP2_NAMES)
    for name, dims in FSDP2_FLAT.items():
        native_flat(mesh, dims, name)
    count = native.groups() - before
    return same(count, 4, f"{count} groups")


def _warns() -> str:
    mesh = native_mesh()
    native_flat(mesh, ("shard", "cp"), "flat")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mesh["flat"]
    return "warns" if caught else RIGHT


def _fault(name: str, thread: str, program: Callable[[], str], rank: int = 0) -> Fault:
    return Fault(name, f"{UPSTREAM}/{thread}", program, rank)


FAULTS = (
    _fault("look up a flattened dim whose dims lie apart", "issues/157393", _apart),
    _fault("select a flattened dim and a dim between its dims", "issues/157393", _apart_beside),
    _fault("select dims in another order", "pull/133193", _order),
    _fault("select from a submesh", "issues/143194", _again),
    _fault("flatten to a name that other dims have", "pull/163288", _taken),
    _fault("flatten to the name of a mesh dim", "pull/161311", _dim_name),
    _fault("flatten one dim to its own name", "pull/161311", _own_name),
    _fault("select a flattened dim of size 1 and a dim after it", "issues/169381", _unit),
    _fault("flatten a flattened dim with another", "issues/159013", _flat_of_flat),
    _fault("flatten dims out of order", "issues/193224", _disorder),
    _fault("split a dim by name (`_unflatten`)", "issues/176443", _unflatten),
    _fault("ask for the root beside an equal mesh", "issues/173789", _equal_roots),
    _fault("ask for the root in another thread", "issues/159014", _thread_root),
    _fault("look up a flattened dim in another thread", "issues/159014", _thread_flat),
    _fault("flatten after a restart of the world", "issues/173789", _restart),
    _fault("select on a rank outside the mesh", "issues/118614", _outside, rank=5),
    _fault("list ranks in descending order", "issues/193224", _descending),
    _fault("give the groups a timeout", "issues/119613", _timeout),
    _fault("make an FSDP2 mesh with its three flattened dims", "issues/166010", _count),
    _fault("look up a flattened dim, warnings being errors", "pull/164993", _warns),
)
"""All that one process can ask."""
