"""What one rank's process does: join the world, then run case after case.

Here belongs everything that happens in a rank. It decides nothing: when a case is over and what
its end means is the parent's business.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

from meshcompat.testing._shipping import Parcel, unpack

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Tells a rank to write its stack into its log.
STACK_SIGNAL = signal.SIGUSR1

_PR_SET_PDEATHSIG = 1

# Joining includes the start of the slowest rank; the time-out of a case does not apply yet.
_JOIN_TIMEOUT = timedelta(seconds=60)

is_rank = False
"""True in a process that is a rank of a pool."""


class Place(NamedTuple):
    """Which rank of which world a process is."""

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


def rank_main(place: Place, connection: Connection[Any, Any], seed: int) -> NoReturn:
    """Be a rank until the parent closes *connection* or the process *seed* ends."""
    global is_rank  # noqa: PLW0603  (a fact about the process)
    is_rank = True
    _end_with(seed)
    _redirect_output(place.log)
    _set_environment(place)
    store = _join(place, connection)
    while True:
        try:
            case = Case(*connection.recv())
        except (EOFError, OSError):
            # Nothing of torch is taken down: that could wait for ranks which have gone.
            os._exit(0)
        reply = _run(case, place, store)
        connection.send(tuple(reply))


def _run(case: Case, place: Place, store: Any) -> Reply:
    try:
        if case.is_fresh:
            _make_world(case, place, store)
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
        return pickle.dumps(result)
    except Exception as error:
        raise TypeError(
            f"the result cannot be sent back: {error}. Return plain values (ranks, names, "
            "shapes, tensors); meshes and groups live on their rank only"
        ) from error


def _make_world(case: Case, place: Place, store: Any) -> None:
    """Replace the default process group, and with it all groups, by a new one."""
    if dist.is_initialized():
        buried = _gloo_backends()
        dist.destroy_process_group()
        # gloo closes one socket per 10 ms, without the GIL: a thread can wait for that.
        threading.Thread(target=buried.clear, daemon=True).start()
    # Groups in reference cycles keep sockets and threads.
    gc.collect()
    dist.init_process_group(
        place.backend,
        # The same store for all worlds: the prefix keeps each from reading keys of another.
        store=dist.PrefixStore(f"world-{case.number}", store),  # type: ignore[attr-defined]
        rank=place.rank,
        world_size=place.world_size,
        timeout=timedelta(seconds=case.group_timeout),
    )


def _gloo_backends() -> list[Any]:
    """Return the gloo part of every group, so that the caller decides where it is destroyed.

    Up to torch 2.8 the destructor of a group holds the GIL while it joins gloo's threads. One of
    them may be about to release a tensor, for which it needs the GIL: the rank then hangs, rarely
    and under load. The destructor of the gloo object itself lets the GIL go, and it is the one
    that joins if this object is the last reference.
    """
    backends = []
    # torch: distributed_c10d._world.pg_map, ProcessGroup._get_backend; no public name leads there.
    for group in list(distributed_c10d._world.pg_map):  # noqa: SLF001
        # A group without a CPU backend says so by raising.
        with contextlib.suppress(RuntimeError):
            backend = group._get_backend(torch.device("cpu"))  # noqa: SLF001
            if type(backend).__name__ == "ProcessGroupGloo":
                backends.append(backend)
    return backends


def _join(place: Place, connection: Connection[Any, Any]) -> Any:
    """Return this rank's client of the world's store; rank 0 hosts it.

    The operating system chooses the port and rank 0 reports it, so that there is no moment in
    which somebody else could take it.
    """
    if place.rank == 0:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            "127.0.0.1", 0, is_master=True, timeout=_JOIN_TIMEOUT, wait_for_workers=False
        )
        connection.send(store.port)
        return store
    port = connection.recv()
    return dist.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", port, is_master=False, timeout=_JOIN_TIMEOUT, wait_for_workers=False
    )


def _set_environment(place: Place) -> None:
    """Set what torchrun sets and what the backends look for."""
    os.environ.update(
        RANK=str(place.rank),
        LOCAL_RANK=str(place.rank),
        WORLD_SIZE=str(place.world_size),
        LOCAL_WORLD_SIZE=str(place.world_size),
    )
    # Without it gloo looks up the host's name, which is slow or unknown on many machines.
    loopback = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    torch.set_num_threads(1)
    if "nccl" in place.backend:
        torch.cuda.set_device(place.rank)


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


def _end_with(seed: int) -> None:
    """Have this process ended when the process *seed*, its parent, ends."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except AttributeError:
        # No prctl outside Linux.
        threading.Thread(target=_watch, args=(seed,), daemon=True).start()
    if os.getppid() != seed:
        os._exit(1)


def _watch(seed: int) -> None:
    while os.getppid() == seed:
        time.sleep(0.5)
    os._exit(1)
