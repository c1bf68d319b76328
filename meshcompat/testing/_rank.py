"""What one rank's process does: join the world, then run case after case.

Here belongs everything that happens in a rank. It decides nothing: when a case is over and what
its end means is the parent's business.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import sys
import threading
import time
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
import torch.distributed as dist

from meshcompat._eras import process_groups
from meshcompat._rank_processes.gpus import gpu_of
from meshcompat._rank_processes.loopback import talk_on_loopback
from meshcompat._rank_processes.stores import PrefixStore, open_store
from meshcompat.testing._shipping import Parcel, pickled, unpack

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Tells a rank to write its stack into its log.
STACK_SIGNAL = signal.SIGUSR1

# Seconds. Joining includes the start of the slowest rank; the time-out of a case comes later.
_JOIN_TIMEOUT = 60.0

is_rank = False
"""True in a process that is a rank of a pool."""


class Task(NamedTuple):
    """What the process of one rank is given: which rank of which world it is, and its log."""

    rank: int
    world_size: int
    backend: str
    log: str


class Case(NamedTuple):
    """One function to run on every rank."""

    number: int
    is_fresh: bool
    group_timeout: float
    call: Parcel


class Reply(NamedTuple):
    """How a case ended on one rank: its pickled result, or a traceback and when it came."""

    failed_at: float | None
    traceback: str
    result: bytes


def main(task: Task, connection: Connection[Any, Any]) -> NoReturn:
    """Be a rank until the parent closes *connection*."""
    global is_rank  # noqa: PLW0603  (a fact about the process)
    is_rank = True
    _redirect_output(task.log)
    _set_environment(task)
    store = _join(task, connection)
    while True:
        try:
            case = Case(*connection.recv())
        except (EOFError, OSError):
            # Nothing of torch is taken down: that could wait for ranks which have gone.
            os._exit(0)
        reply = _run(case, task, store)
        connection.send(tuple(reply))


def _run(case: Case, task: Task, store: Any) -> Reply:
    try:
        if case.is_fresh:
            _make_world(case, task, store)
        fn, args, kwargs = unpack(Parcel(*case.call))
        result = fn(*args, **kwargs)
        return Reply(None, "", _pickled(result))
    except BaseException as error:  # noqa: BLE001  (also sys.exit: the rank must stay)
        text = "".join(traceback.format_exception(error))
        return Reply(time.monotonic(), text, b"")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _pickled(result: object) -> bytes:
    try:
        body, _ = pickled(result)
    except Exception as error:
        raise TypeError(
            f"the result cannot be sent back: {error}. Return plain values (ranks, names, "
            "shapes, tensors); meshes and groups live on their rank only"
        ) from error
    return body


def _make_world(case: Case, task: Task, store: Any) -> None:
    """Replace the default process group, and with it all groups, by a new one."""
    if dist.is_initialized():
        buried = process_groups.gloo_backends()
        dist.destroy_process_group()
        # gloo closes one socket per 10 ms, without the GIL: a thread can wait for that.
        threading.Thread(target=buried.clear, daemon=True).start()
    # Groups in reference cycles keep sockets and threads.
    gc.collect()
    dist.init_process_group(
        task.backend,
        # The same store for all worlds: the prefix keeps each from reading keys of another.
        store=PrefixStore(f"world-{case.number}", store),
        rank=task.rank,
        world_size=task.world_size,
        timeout=timedelta(seconds=case.group_timeout),
    )


def _join(task: Task, connection: Connection[Any, Any]) -> Any:
    """Return this rank's client of the world's store; rank 0 hosts it and reports its port."""
    is_first = task.rank == 0
    port = 0 if is_first else connection.recv()
    store = open_store("127.0.0.1", port, is_server=is_first, timeout=_JOIN_TIMEOUT)
    if is_first:
        connection.send(store.port)
    return store


def _set_environment(task: Task) -> None:
    """Set what torchrun sets and what the backends look for."""
    os.environ.update(
        RANK=str(task.rank),
        LOCAL_RANK=str(task.rank),
        WORLD_SIZE=str(task.world_size),
        LOCAL_WORLD_SIZE=str(task.world_size),
    )
    talk_on_loopback()
    torch.set_num_threads(1)
    if "nccl" in task.backend:
        gpus = torch.cuda.device_count()
        torch.cuda.set_device(gpu_of(task.rank, task.world_size, gpus, os.environ))


def _redirect_output(log: str) -> None:
    """Send what this process prints, in Python or below it, to its log."""
    # Appending: the parent empties the file between cases.
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    faulthandler.enable()
    faulthandler.register(STACK_SIGNAL)
