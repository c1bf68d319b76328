"""Worlds of any size in one process, without a network: torch's fake backend.

Here belongs what makes such a world and takes it down again. It is the only file that imports
from ``torch.testing._internal``. Groups of a fake world are real objects with the right ranks,
but their collectives compute nothing: sums are checked on :class:`~meshcompat.testing.GlooPool`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

import torch.distributed as dist

from meshcompat._eras.clearing import clear_torch_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import ParamSpec

    P = ParamSpec("P")

T = TypeVar("T")


@contextlib.contextmanager
def fake_world(world_size: int, rank: int = 0) -> Iterator[None]:
    """Be *rank* of a world of *world_size* ranks inside the ``with`` block.

    The default process group has the backend ``fake``: every rank exists for torch, none for the
    machine. It is destroyed when the block ends, however it ends. Groups made inside inherit the
    backend; do not ask for a real one (``backend="gloo"``) there: torch 2.14 and 2.15 end the
    process for it, which no ``except`` can catch.

    Up to torch 2.9, ``DeviceMesh`` keeps tables for the whole process that outlive a world. They
    are torch's state and are left as they are.

    Args:
        world_size: Number of ranks, at least 1.
        rank: The rank to be, ``0 <= rank < world_size``.

    Yields:
        None.

    Raises:
        ValueError: *rank* is not in the world.
        RuntimeError: There is a default process group already.

    Collective:
        No: one process plays all ranks, one at a time.

    Example:
        >>> import torch.distributed as dist
        >>> with fake_world(8, rank=5):
        ...     dist.get_rank(), dist.get_world_size()
        (5, 8)
        >>> dist.is_initialized()
        False
    """
    # Importing it registers the backend, so it waits until somebody wants a fake world.
    from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: PLC0415

    if not 0 <= rank < world_size:
        raise ValueError(
            f"rank {rank!r} is not in a world of {world_size!r} ranks: 0 <= rank < world_size"
        )
    if dist.is_initialized():
        raise RuntimeError(
            f"a fake world of {world_size!r} ranks was asked for inside another world (rank "
            f"{dist.get_rank()} of {dist.get_world_size()}): leave that one first, or call "
            "torch.distributed.destroy_process_group()"
        )
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world_size)
    try:
        yield
    finally:
        # The block may have destroyed it as part of what it tests.
        if dist.is_initialized():
            dist.destroy_process_group()


def reset() -> None:
    """Forget the world: destroy its process groups, and empty torch's tables of meshes.

    For tests whose code under test makes a world and leaves it. Up to torch 2.9 the tables
    outlive a world, and a mesh of the next world can be taken for one of the last.
    :func:`fake_world` and :class:`GlooPool` destroy their groups themselves.

    Collective:
        No, in a fake world. In a real one, as ``torch.distributed.destroy_process_group()``.

    Example:
        >>> import torch.distributed as dist
        >>> from torch.testing._internal.distributed.fake_pg import FakeStore
        >>> dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
        >>> reset()
        >>> dist.is_initialized()
        False
    """
    if dist.is_initialized():
        dist.destroy_process_group()
    clear_torch_tables()


def each_rank(world_size: int) -> Iterator[int]:
    """Yield the ranks of a world one by one, each inside a fake world of its own.

    Use it as the iterator of a ``for`` statement: the world is then destroyed as soon as the
    body is left, also by ``break``, ``return`` or an exception. An iterator that is kept in a
    variable keeps its world until it is closed.

    Args:
        world_size: Number of ranks, at least 1.

    Yields:
        ``0``, ``1``, … ``world_size - 1``.

    Raises:
        RuntimeError: There is a default process group already.

    Collective:
        No: one process plays all ranks, one at a time.

    Example:
        >>> from torch.distributed.device_mesh import init_device_mesh
        >>> for rank in each_rank(4):
        ...     mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        ...     assert mesh.get_local_rank("tp") == rank % 2
    """
    for rank in range(world_size):
        with fake_world(world_size, rank):
            yield rank


def on_every_rank(
    world_size: int, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> list[T]:
    """Return what *fn* returns on every rank of a fake world, in the order of ranks.

    *fn* is called as :meth:`GlooPool.run <meshcompat.testing.GlooPool.run>` calls it, so the
    same function serves both; ``torch.distributed.get_rank()`` says which rank it is.

    Args:
        world_size: Number of ranks, at least 1.
        fn: Called once per rank as ``fn(*args, **kwargs)``. Objects of a world (meshes, groups)
            are of no use after it: return ranks, names, layouts.
        *args: Positional arguments for *fn*.
        **kwargs: Keyword arguments for *fn*.

    Returns:
        List of length *world_size*; entry ``r`` is the result on rank ``r``.

    Raises:
        RuntimeError: There is a default process group already.

    An exception of *fn* is raised as it is; from Python 3.11 on it carries a note that names
    the rank.

    Collective:
        No: one process plays all ranks, one at a time.

    Example:
        >>> import torch.distributed as dist
        >>> on_every_rank(4, dist.get_rank)
        [0, 1, 2, 3]
    """
    results = []
    for rank in each_rank(world_size):
        with _named_in_errors(rank, world_size):
            results.append(fn(*args, **kwargs))
    return results


@contextlib.contextmanager
def _named_in_errors(rank: int, world_size: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if hasattr(error, "add_note"):  # pragma: no branch  (Python 3.10 has it not)
            error.add_note(f"on rank {rank} of a fake world of {world_size}")
        raise
