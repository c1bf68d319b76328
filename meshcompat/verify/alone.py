"""Ranks of our own on this machine: started, watched through pipes, and always ended.

torch is imported once, by the fork server that the ranks are forked from, and never here.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import tempfile
import threading
import time
from multiprocessing import connection, forkserver
from pathlib import Path
from typing import TYPE_CHECKING

from meshcompat.verify.roll import Result, Roll
from meshcompat.verify.task import BEAT, Task
from meshcompat.verify.words import end_text, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

    from meshcompat.verify.checks import Reduce
    from meshcompat.verify.plan import Plan

SETTLING = 2.0
"""Seconds from the first trouble to the verdict: other ranks' news, and signs of life, come in."""

ALLOWANCE = 0.5
"""Seconds that ranks have to say themselves that they waited for too long."""

_LEAVING = 5.0


def verify(
    plan: Plan,
    timeout: float,
    *,
    reduce: Reduce | None = None,
    watch: Callable[[Roll], None] = lambda _: None,
) -> Roll:
    """Run the plan on ranks of our own, and return what was heard of them.

    Args:
        plan: What to do.
        timeout: Seconds without any progress after which the run is over.
        reduce: What sums over a group, picklable; by default an all-reduce.
        watch: Called with the roll whenever news came.
    """
    with tempfile.TemporaryDirectory(prefix="meshcompat-verify-") as folder:
        ranks = Ranks(plan, timeout, Path(folder), reduce)
        try:
            ranks.start()
            ranks.follow(watch)
            if ranks.roll.is_complete:
                ranks.dismiss()
        finally:
            ranks.kill()
        return ranks.roll


class Ranks:
    """The ranks' processes and pipes, and the roll."""

    def __init__(self, plan: Plan, timeout: float, folder: Path, reduce: Reduce | None) -> None:
        self.roll = Roll.of(plan)
        self.timeout = timeout
        self.heard = [0.0] * plan.world_size
        self.logs = [folder / f"rank{rank}.log" for rank in range(plan.world_size)]
        for log in self.logs:
            log.touch()
        self.reduce = reduce
        self.processes: dict[int, ForkServerProcess] = {}
        self.pipes: dict[int, Connection] = {}
        self.is_over = False
        self.port: object = None
        self.asking: list[int] = []

    def start(self) -> None:
        """Begin to start the processes; a thread waits for torch to be imported."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch.distributed", "meshcompat.verify.alone_rank"])
        with quiet_environment():
            forkserver.ensure_running()
        threading.Thread(target=self._start_all, args=(context,), daemon=True).start()

    def _start_all(self, context: multiprocessing.context.ForkServerContext) -> None:
        for rank, log in enumerate(self.logs):
            here, there = context.Pipe()
            task = Task(rank, self.roll.plan, self.timeout, self.reduce, there, log)
            process = context.Process(target=_be_rank, args=(task,), daemon=True)
            try:
                process.start()
            except Exception as error:  # noqa: BLE001  (the main thread names the rank)
                self.roll.members[rank].end = f"could not be started, {one_line(error)}"
                return
            there.close()
            self.pipes[rank] = here
            self.processes[rank] = process
            if self.is_over:
                process.kill()

    def follow(self, watch: Callable[[Roll], None]) -> None:
        """Listen until all ranks are through, or until it is clear that they will not be."""
        progressed = time.monotonic()
        troubled: float | None = None
        while not self.roll.is_complete:
            before = self.roll.progress
            self._hear()
            now = time.monotonic()
            if self.roll.progress > before:
                progressed = now
                watch(self.roll)
            is_late = now - progressed > self.timeout + ALLOWANCE
            if troubled is None and (is_late or self.roll.is_troubled):
                troubled = now
            if troubled is not None and now - troubled > SETTLING:
                self._look_for_signs_of_life(now)
                return

    def _hear(self) -> None:
        pipes = dict(self.pipes)
        processes = dict(self.processes)
        sentinels = [
            process.sentinel
            for rank, process in processes.items()
            if self.roll.members[rank].end is None
        ]
        ready = connection.wait([*pipes.values(), *sentinels], timeout=0.1)
        for rank, pipe in pipes.items():
            # A message that a rank sent before it died counts: read the pipe dry first.
            with contextlib.suppress(EOFError, OSError):
                while pipe in ready and pipe.poll():
                    self._take(rank, pipe.recv())
        for rank, process in processes.items():
            if process.sentinel in ready and process.exitcode is not None:
                member = self.roll.members[rank]
                member.end = end_text(process.exitcode)
                member.last_words = _last_line(self.logs[rank])
                self.pipes.pop(rank).close()

    def _take(self, rank: int, message: tuple[str, object]) -> None:
        kind, value = message
        member = self.roll.members[rank]
        self.heard[rank] = time.monotonic()
        if kind == "step" and isinstance(value, int):
            member.step = value
        elif kind == "result" and isinstance(value, Result):
            member.results.append(value)
        elif kind == "ended":
            member.has_ended = True
            member.error = None if value is None else str(value)
        elif kind == "ask":
            self.asking.append(rank)
        elif kind == "port":
            self.port = value
        if self.port is not None:
            self._tell(self.asking, "port", self.port)
            self.asking = []

    def _tell(self, ranks: Iterable[int], kind: str, value: object = None) -> None:
        for rank in ranks:
            with contextlib.suppress(OSError):
                self.pipes[rank].send((kind, value))

    def _look_for_signs_of_life(self, now: float) -> None:
        for rank, member in enumerate(self.roll.members):
            quiet = now - self.heard[rank] > SETTLING - 2 * BEAT
            member.is_silent = quiet and member.end is None

    def dismiss(self) -> None:
        """Let the ranks go, and give them time for it."""
        self._tell(self.pipes, "leave")
        deadline = time.monotonic() + _LEAVING
        for process in self.processes.values():
            process.join(max(0.0, deadline - time.monotonic()))

    def kill(self) -> None:
        """End what still runs, stopped or not."""
        self.is_over = True
        for process in list(self.processes.values()):
            process.kill()
        for process in list(self.processes.values()):
            process.join(_LEAVING)
        for pipe in list(self.pipes.values()):
            pipe.close()


def _be_rank(task: Task) -> None:
    """Run in a rank's process; what its libraries complain of is shown only if it dies."""
    flags = os.O_WRONLY | os.O_CREAT
    for path, stream in ((os.devnull, 1), (task.log, 2)):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, stream)
        os.close(opened)
    importlib.import_module("meshcompat.verify.alone_rank").main(task)


@contextlib.contextmanager
def quiet_environment() -> Iterator[None]:
    """Have the fork server start without others' warnings, and without thread pools.

    The ranks share the cores of one machine, and what they have to say comes by pipe.
    """
    given = dict(os.environ)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        yield
    finally:
        for name in ("TORCH_CPP_LOG_LEVEL", "OMP_NUM_THREADS", "PYTHONWARNINGS"):
            os.environ.pop(name, None)
            if name in given:
                os.environ[name] = given[name]


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
