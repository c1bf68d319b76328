"""Ranks of our own on this machine, as seen by the process that starts and watches them.

torch is imported once, by the process that the ranks are forked from, and never here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshcompat._rank_processes.seed import Seed
from meshcompat._rank_processes.words import end_text, last_line, one_line
from meshcompat.verify.local.task import BEAT, Task
from meshcompat.verify.roll import Identity, Rate, Result, Roll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.connection import Connection

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
        ranks.start()
        try:
            ranks.follow(watch)
            if ranks.roll.is_complete:
                ranks.dismiss()
        finally:
            ranks.kill()
        return ranks.roll


class Process:
    """The process of one rank, a child of the seed."""

    def __init__(self, seed: Seed, pid: int) -> None:
        self.pid = pid
        self.exitcode: int | None = None
        self._seed = seed

    def join(self, seconds: float = _LEAVING) -> None:
        """Wait for the end, and note the exit code."""
        if self.exitcode is None:
            self.exitcode = self._seed.reap([self.pid], seconds).get(self.pid)

    def kill(self) -> None:
        """End it, stopped or not."""
        self._seed.send_signal([self.pid], signal.SIGKILL)


class Ranks:
    """The ranks' processes and pipes, and the roll."""

    def __init__(self, plan: Plan, timeout: float, folder: Path, reduce: Reduce | None) -> None:
        self.roll = Roll.of(plan)
        self.timeout = timeout
        self.heard = [0.0] * plan.world_size
        self.folder = folder
        self.logs = [folder / f"rank{rank}.log" for rank in range(plan.world_size)]
        for log in self.logs:
            log.touch()
        self.reduce = reduce
        self.processes: dict[int, Process] = {}
        self.pipes: dict[int, Connection[Any, Any]] = {}
        self.is_over = False
        self.port: object = None
        self.asking: list[int] = []

    def start(self) -> None:
        """Begin to start the processes; a thread waits for torch to be imported."""
        # They talk to each other only, and what they have to say comes by pipe.
        quiet = {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
        self._seed = Seed({**quiet, **_given("TORCH_CPP_LOG_LEVEL", "OMP_NUM_THREADS")})
        self._starting = threading.Thread(target=self._start_all, args=(self._seed,), daemon=True)
        self._starting.start()

    def _start_all(self, seed: Seed) -> None:
        tasks = [
            Task(rank, self.roll.plan, self.timeout, self.reduce, str(log))
            for rank, log in enumerate(self.logs)
        ]
        try:
            pids, pipes = seed.fork("meshcompat.verify.local.rank:main", tasks, str(self.folder))
        except Exception as error:  # noqa: BLE001  (the main thread names the rank)
            self.roll.members[0].end = f"could not be started, {one_line(error)}"
            return
        self.processes.update((rank, Process(seed, pid)) for rank, pid in enumerate(pids))
        self.pipes.update(enumerate(pipes))
        if self.is_over:
            seed.send_signal(pids, signal.SIGKILL)

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
        ready = connection.wait(list(pipes.values()), timeout=0.1) if pipes else []
        if not pipes:
            time.sleep(0.1)
        for rank, pipe in pipes.items():
            if pipe not in ready:
                continue
            # A message that a rank sent before it died counts: read the pipe dry first.
            try:
                while pipe.poll():
                    self._take(rank, pipe.recv())
            except (EOFError, OSError):
                self._note_end(rank)

    def _note_end(self, rank: int) -> None:
        member = self.roll.members[rank]
        self.pipes.pop(rank).close()
        process = self.processes[rank]
        with contextlib.suppress(RuntimeError):
            process.join()
        member.end = "no exit code" if process.exitcode is None else end_text(process.exitcode)
        member.last_words = last_line(self.logs[rank].read_text(errors="replace"))[:200]

    def _take(self, rank: int, message: tuple[str, object]) -> None:
        kind, value = message
        member = self.roll.members[rank]
        self.heard[rank] = time.monotonic()
        if kind == "step" and isinstance(value, int):
            member.step = value
        elif kind == "result" and isinstance(value, Result):
            member.results.append(value)
        elif kind == "came" and isinstance(value, Identity):
            member.identity = value
        elif kind == "rate" and isinstance(value, Rate):
            member.rates.append(value)
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
        self._reap()

    def kill(self) -> None:
        """End what still runs, stopped or not."""
        self.is_over = True
        pids = [process.pid for process in self.processes.values()]
        if pids:
            with contextlib.suppress(RuntimeError):
                self._seed.send_signal(pids, signal.SIGKILL)
            self._reap()
        for pipe in list(self.pipes.values()):
            pipe.close()
        # While it imports torch it does not listen, and nothing that it does is missed.
        self._seed.stop(patience=_LEAVING if pids else 0.0)
        self._starting.join()

    def _reap(self) -> None:
        pids = [process.pid for process in self.processes.values()]
        # Without a seed there are no ranks either.
        with contextlib.suppress(RuntimeError):
            codes = self._seed.reap(pids, _LEAVING)
            for process in self.processes.values():
                process.exitcode = codes.get(process.pid, process.exitcode)


def _given(*names: str) -> dict[str, str]:
    """Return the variables that the caller has set: they go before ours."""
    return {name: os.environ[name] for name in names if name in os.environ}
