"""The process of one rank that `alone` started: it reports by pipe, and never outlives it."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from meshcompat.verify import checks
from meshcompat.verify.stores import open_store
from meshcompat.verify.task import BEAT

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from meshcompat.verify.roll import Result
    from meshcompat.verify.task import Task


def main(task: Task) -> None:
    """Be one rank: run the plan, report, and stay until told to leave."""
    _stay_on_this_machine()
    line = _Line(task.pipe)
    line.began(0)
    is_first = task.rank == 0
    port = 0 if is_first else line.port()
    store = open_store("127.0.0.1", port, is_server=is_first, timeout=task.timeout)
    if is_first:
        line.send("port", store.port)
    size = task.plan.world_size
    world = checks.World(task.rank, size, torch.device("cpu"), store, task.timeout)
    line.send("ended", checks.run(task.plan, world, line, task.reduce or checks.all_reduce))
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
        # If nobody reads any more, the listener hears of it and ends the process.
        with self._sending, contextlib.suppress(OSError):
            self._pipe.send((kind, value))

    def began(self, step: int) -> None:
        self.send("step", step)

    def found(self, result: Result) -> None:
        self.send("result", result)

    def port(self) -> int:
        """Return the port of rank 0's store, when it has one."""
        self.send("ask")
        return self._ports.get()

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


def _stay_on_this_machine() -> None:
    """Have gloo talk through the loopback interface, whatever the host name resolves to."""
    for name in {name for _, name in socket.if_nameindex()} & {"lo", "lo0"}:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
