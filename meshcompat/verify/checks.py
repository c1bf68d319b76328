"""What one rank does: make the meshes, all-reduce on every group, compare with the plan."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat._rank_processes.stores import PrefixStore
from meshcompat._rank_processes.words import one_line
from meshcompat._rank_text import ranks_text
from meshcompat.verify.plan import COMPOSED, EXPERT_NAMES, NON_PP
from meshcompat.verify.roll import Identity, Rate, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._rank_processes.stores import Store
    from meshcompat.verify.plan import Plan, Row

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


REPETITIONS = 5
"""All-reduces of one size that are timed together."""


class Listener(Protocol):
    """Who hears how far this rank is; all methods may be called from a thread."""

    def began(self, step: int) -> None:
        """Hear that a step of the plan begins."""

    def came(self, identity: Identity) -> None:
        """Hear that the rank has joined the default process group."""

    def found(self, result: Result) -> None:
        """Hear the result of the next row of the plan."""

    def measured(self, rate: Rate) -> None:
        """Hear how long all-reduces of one size took."""


class World(NamedTuple):
    """The world that this rank joins.

    Attributes:
        ready: When this rank was ready to join, by `time.perf_counter`; None for now.
    """

    rank: int
    world_size: int
    device: torch.device
    store: Store
    timeout: float
    ready: float | None = None


Reduce = Callable[["torch.Tensor", "Row", "ProcessGroup"], float]
"""Sums a tensor over a group, in place, and returns when it began to, by `time.perf_counter`.

Tests put faulty ones here.
"""


def all_reduce(tensor: torch.Tensor, row: Row, group: ProcessGroup) -> float:  # noqa: ARG001
    """Sum *tensor* over the ranks of *group*, in place."""
    began = time.perf_counter()
    dist.all_reduce(tensor, group=group)
    return began


def run(plan: Plan, world: World, listener: Listener, reduce: Reduce = all_reduce) -> str | None:
    """Go through the plan as one rank; return the error that ended it early, or None.

    Collective:
        Yes: all ranks of the plan, each in its own process without a default group. The
        default group is left to the caller, who destroys it when all ranks are through.
    """
    steps = iter(range(1, len(plan.steps)))
    try:
        listener.began(next(steps))
        ready = time.perf_counter() if world.ready is None else world.ready
        _join(world)
        joined = time.perf_counter()
        listener.came(identity_of(world, (joined - ready) * 1000))
        meshes: dict[str, DeviceMesh] = {}
        for name in plan.makings:
            listener.began(next(steps))
            meshes[name] = _make(name, plan, world, meshes)
        known: list[object] = [dist.group.WORLD]
        for row in plan.rows:
            listener.began(next(steps))
            mesh, group = _found(row, meshes)
            is_new = not any(group is other for other in known)
            known.append(group)
            summed, began, ended = _sum_of_ranks(world, row, group, reduce)
            fault = fault_of(plan, row, world.rank, mesh, summed)
            milliseconds, since = (ended - began) * 1000, (began - joined) * 1000
            listener.found(Result(milliseconds, is_new, fault, since))
        for index, row in enumerate(plan.measured):
            listener.began(next(steps))
            _, group = _found(row, meshes)
            for size in plan.bandwidth:
                listener.measured(Rate(index, size, _seconds(world, group, size)))
    except Exception as error:  # noqa: BLE001  (whatever it is, rank 0 has to hear of it)
        return one_line(error)
    return None


def _join(world: World) -> None:
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
    dist.init_process_group(
        BACKENDS[world.device.type],
        store=PrefixStore("world", world.store),
        rank=world.rank,
        world_size=world.world_size,
        timeout=timedelta(seconds=world.timeout),
    )


def identity_of(world: World, waited: float) -> Identity:
    """Return who this rank is; *waited* is for how many milliseconds it waited to join."""
    nccl = None
    if world.device.type == "cuda":
        nccl = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
    return Identity(socket.gethostname(), str(world.device), str(torch.__version__), nccl, waited)


def _found(row: Row, meshes: dict[str, DeviceMesh]) -> tuple[DeviceMesh, ProcessGroup]:
    mesh = meshes[row.mesh_dim if row.mesh == "flattened" else row.mesh]
    return mesh, mc.get_group(mesh, row.mesh_dim)


def _make(name: str, plan: Plan, world: World, meshes: dict[str, DeviceMesh]) -> DeviceMesh:
    if name == plan.root_name:
        return mc.init_device_mesh(
            world.device.type, plan.shape, mesh_dim_names=plan.names, timeout=world.timeout
        )
    root = meshes[plan.root_name]
    if name in plan.flattened:
        return mc.flatten(mc.get_submesh(root, plan.flattened[name]), name)
    if name == "expert" and plan.expert_sizes is not None:
        return mc.unflatten(meshes[NON_PP], NON_PP, plan.expert_sizes, EXPERT_NAMES)
    return mc.get_submesh(root, COMPOSED)


def _sum_of_ranks(
    world: World, row: Row, group: ProcessGroup, reduce: Reduce
) -> tuple[list[tuple[int, int]], float, float]:
    """Return which ranks the sum was over, how often each was counted, its begin and its end.

    Every rank adds a one in its own place: a sum of numbers could be right by accident.
    """
    tensor = torch.zeros(world.world_size, dtype=torch.int64, device=world.device)
    tensor[world.rank] = 1
    began = reduce(tensor, row, group)
    counts: list[int] = tensor.tolist()  # Waits for a GPU.
    ended = time.perf_counter()
    return [(rank, count) for rank, count in enumerate(counts) if count], began, ended


def _seconds(world: World, group: ProcessGroup, size: int) -> float:
    """Return how long an all-reduce of *size* bytes takes while all groups of its dim do the same."""
    tensor = torch.zeros(max(1, size // 4), device=world.device)
    dist.all_reduce(tensor, group=group)
    # All groups begin together: what they share, such as a network card, is shared in training.
    together = torch.zeros(1, device=world.device)
    dist.all_reduce(together)
    together.item()
    began = time.perf_counter()
    for _ in range(REPETITIONS):
        dist.all_reduce(tensor, group=group)
    tensor[0].item()  # Waits for a GPU.
    return (time.perf_counter() - began) / REPETITIONS


def fault_of(
    plan: Plan, row: Row, rank: int, mesh: DeviceMesh, summed: Sequence[tuple[int, int]]
) -> str | None:
    """Say what is wrong with a mesh dim on this rank, or None."""
    expected = plan.group_of(row, rank)
    wanted = ranks_text(expected)
    if list(summed) != [(member, 1) for member in sorted(expected)]:
        if any(count != 1 for _, count in summed):
            got = ", ".join(f"{count} x {member}" for member, count in summed)
        else:
            got = ranks_text([member for member, _ in summed])
        return f"the sum came from ranks {got or 'none'}, and should come from {wanted}"
    listed = mc.get_ranks(mesh, row.mesh_dim)
    if listed != list(expected):
        return f"the mesh lists ranks {ranks_text(listed)}, and should list {wanted}"
    place = mc.get_flat_mesh(mesh, row.mesh_dim).get_local_rank()
    if place != expected.index(rank):
        return f"the mesh counts it as number {place}, and it is number {expected.index(rank)}"
    return None
