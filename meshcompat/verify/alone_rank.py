"""The process of one rank that `alone` started: it reports by pipe, and never outlives it."""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from meshcompat.verify.checks import Reduce
    from meshcompat.verify.plan import Plan
    from meshcompat.verify.roll import Result

BEAT = 0.25
"""Seconds between signs of life."""


def main(
    plan: Plan, rank: int, timeout: float, pipe: Connection, log: str, reduce: Reduce | None
) -> None:
    """Be one rank: run the plan, report, and stay until told to leave."""
    _write_to(log)
    _stay_on_this_machine()
    line = _Line(pipe)
    line.began(0)

    import torch
    import torch.distributed as dist

    from meshcompat.verify import checks

    limit = timedelta(seconds=timeout)
    port = 0 if rank == 0 else line.port(timeout)
    store = dist.TCPStore("127.0.0.1", port, None, rank == 0, limit, wait_for_workers=False)
    if rank == 0:
        line.send("port", store.port)
    world = checks.World(rank, plan.world_size, torch.device("cpu"), store, timeout)
    line.send("ended", checks.run(plan, world, line, reduce or checks.all_reduce))
    line.left.wait()
    # All ranks are through: now nobody misses this one.
    dist.destroy_process_group()


class _Line:
    """The pipe to the process that watches, with signs of life in between."""

    def __init__(self, pipe: Connection) -> None:
        self.left = threading.Event()
        self._pipe = pipe
        self._sending = threading.Lock()
        self._ports: queue.Queue[int] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, kind: str, value: object = None) -> None:
        with self._sending:
            try:
                self._pipe.send((kind, value))
            except OSError:
                os._exit(1)

    def began(self, step: int) -> None:
        self.send("step", step)

    def found(self, result: Result) -> None:
        self.send("result", result)

    def port(self, timeout: float) -> int:
        """Return the port of rank 0's store, when it has one."""
        self.send("ask")
        try:
            return self._ports.get(timeout=timeout)
        except queue.Empty:
            self.send("ended", f"rank 0 opened no store within {timeout:g} s")
            self.left.wait()
            sys.exit(1)

    def _listen(self) -> None:
        while True:
            try:
                if not self._pipe.poll(BEAT):
                    self.send("beat")
                    continue
                kind, value = self._pipe.recv()
            except (EOFError, OSError):
                os._exit(1)
            if kind == "port":
                self._ports.put(value)
            else:
                self.left.set()


def _write_to(log: str) -> None:
    """Send what torch and its libraries print to a file: it is shown if this rank dies."""
    opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(opened, stream)
    os.close(opened)


def _stay_on_this_machine() -> None:
    """Have gloo talk through the loopback interface, whatever the host name resolves to."""
    loopback = {name for _, name in socket.if_nameindex()} & {"lo", "lo0"}
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback.pop())
