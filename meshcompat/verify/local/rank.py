"""The process of one rank that was started here: it reports by pipe, and never outlives it."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from meshcompat._rank_processes.loopback import talk_on_loopback
from meshcompat._rank_processes.stores import open_store
from meshcompat.verify import checks
from meshcompat.verify.local.task import BEAT

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from meshcompat.verify.local.task import Task
    from meshcompat.verify.roll import Identity, Rate, Result


def main(task: Task, pipe: Connection[Any, Any]) -> None:
    """Be one rank: run the plan, report, and stay until told to leave."""
    _write_to(task.log)
    warnings.simplefilter("ignore")
    talk_on_loopback()
    line = _Line(pipe)
    line.began(0)
    ready = time.perf_counter()
    is_first = task.rank == 0
    port = 0 if is_first else line.port()
    store = open_store("127.0.0.1", port, is_server=is_first, timeout=task.timeout)
    if is_first:
        line.send("port", store.port)
    size = task.plan.world_size
    world = checks.World(task.rank, size, torch.device("cpu"), store, task.timeout, ready)
    line.send("ended", checks.run(task.plan, world, line, task.reduce or checks.all_reduce))
    line.left.wait()
    # All ranks are through: now nobody misses this one.
    dist.destroy_process_group()


class _Line:
    """The pipe to the process that watches, with signs of life in between."""

    def __init__(self, pipe: Connection[Any, Any]) -> None:
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

    def came(self, identity: Identity) -> None:
        self.send("came", identity)

    def measured(self, rate: Rate) -> None:
        self.send("rate", rate)

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


def _write_to(log: str) -> None:
    """Keep what libraries complain of, to be shown if the rank dies, and no other output."""
    for path, stream in ((os.devnull, 1), (log, 2)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(opened, stream)
        os.close(opened)
