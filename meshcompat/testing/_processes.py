"""The parent's side of one world of rank processes: start, send, collect, look, stop.

Here belongs the handling of processes. What the end of a case means, and which error it is, is
decided in ``gloo_pool``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from meshcompat._rank_processes.seed import Seed
from meshcompat.testing._rank import STACK_SIGNAL, Case, Reply, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# The store's port is known as soon as rank 0 runs; this is for machines under heavy load.
_START_TIMEOUT = 120.0

# From 2.4 on, gloo tells of every group that it has connected: noise in each test's output.
_GLOO_NOISE = re.compile(r"^\[Gloo\] Rank \d+ is connected to .*\n?", re.MULTILINE)

_seed: Seed | None = None
_worlds_on_seed = 0


class Outcome(NamedTuple):
    """What became of a case: the replies that came, who died, who has not answered."""

    replies: dict[int, Reply]
    dead: set[int]
    running: set[int]


class RankProcesses:
    """Processes of one world; they can be stopped and started again."""

    def __init__(self, world_size: int, backend: str, preload: Sequence[str]) -> None:
        """Prepare; no process is started yet."""
        self._owner = os.getpid()
        self._world_size = world_size
        self._backend = backend
        self._preload = tuple(preload)
        self._seed: Seed | None = None
        self._connections: list[Any] = []
        self._folder: Path | None = None
        self.pids: list[int] = []

    def start(self) -> None:
        """Start all ranks and let them meet."""
        self._seed = _borrow_seed(is_new=self._seed is None)
        self._folder = Path(tempfile.mkdtemp(prefix="ranks-"))
        logs = [self._folder / f"rank-{rank}.log" for rank in range(self._world_size)]
        for log in logs:
            log.touch()
        tasks = [
            Task(rank, self._world_size, self._backend, str(log)) for rank, log in enumerate(logs)
        ]
        try:
            self._seed.preload(self._preload)
            self.pids, self._connections = self._seed.fork(
                "meshcompat.testing._rank:main", tasks, str(self._folder)
            )
            is_met = self._introduce()
            outputs = "".join(self.output(rank) for rank in range(self._world_size))
        except BaseException:
            self.kill()
            raise
        if not is_met:
            self.kill()
            raise RuntimeError(
                f"the ranks did not start; they printed:\n{outputs.strip() or '(nothing)'}"
            )

    def _introduce(self) -> bool:
        """Tell the other ranks where rank 0 has its store; return whether all could be told."""
        first, *others = self._connections
        try:
            if not first.poll(_START_TIMEOUT):
                return False
            port = first.recv()
            for connection in others:
                connection.send(port)
        except (EOFError, OSError):
            return False
        return True

    def send(self, case: Case) -> None:
        """Give *case* to all ranks; one that has died is found when replies are collected."""
        for rank in range(self._world_size):
            os.truncate(self._log(rank), 0)
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.send(tuple(case))

    def collect(self, timeout: float, grace: float) -> Outcome:
        """Wait for all ranks, but no longer than *grace* once one has failed or died."""
        outcome = Outcome({}, set(), set(range(self._world_size)))
        deadline = time.monotonic() + timeout
        while outcome.running:
            waiting = {self._connections[rank]: rank for rank in outcome.running}
            ready: list[Any] = wait(list(waiting), max(0.0, deadline - time.monotonic()))
            if not ready:
                break
            for connection in ready:
                rank = waiting[connection]
                outcome.running.discard(rank)
                try:
                    reply = Reply(*connection.recv())
                except (EOFError, OSError):
                    outcome.dead.add(rank)
                else:
                    outcome.replies[rank] = reply
                    if reply.failed_at is None:
                        continue
                deadline = min(deadline, time.monotonic() + grace)
        return outcome

    def output(self, rank: int) -> str:
        """Return what *rank* has printed since the case began."""
        with contextlib.suppress(OSError):
            text = self._log(rank).read_text(encoding="utf-8", errors="replace")
            return _GLOO_NOISE.sub("", text)
        return ""

    def stacks(self, ranks: Collection[int], seconds: float = 1.0) -> dict[int, str]:
        """Return the stacks of running *ranks*; empty text for one that does not answer."""
        if self._seed is None:
            return {}
        before = {rank: len(self.output(rank)) for rank in sorted(ranks)}
        self._seed.send_signal([self.pids[rank] for rank in ranks], STACK_SIGNAL)
        deadline = time.monotonic() + seconds
        stacks = dict.fromkeys(before, "")
        is_settled = False
        while not is_settled and time.monotonic() < deadline:
            time.sleep(0.05)
            latest = {rank: self.output(rank)[start:] for rank, start in before.items()}
            # All have begun and none has written since the last look.
            is_settled = latest == stacks and all(latest.values())
            stacks = latest
        return stacks

    def exit_codes(self, ranks: Collection[int]) -> dict[int, int | None]:
        """Return how the dead *ranks* ended; None for one that lives without its connection."""
        if self._seed is None:
            return {}
        codes = self._seed.reap([self.pids[rank] for rank in ranks], seconds=2.0)
        return {rank: codes.get(self.pids[rank]) for rank in sorted(ranks)}

    def stop(self) -> None:
        """Let idle ranks end by themselves, then end what is left; :meth:`start` may follow."""
        self._hang_up()
        if self._seed is not None and self.pids:
            with contextlib.suppress(RuntimeError):
                self._seed.reap(self.pids, seconds=2.0)
        self.kill()

    def kill(self) -> None:
        """End all ranks at once, whatever they do; :meth:`start` may follow."""
        self._hang_up()
        if self._seed is not None and self.pids:
            # The seed is gone only if somebody killed it, and then the ranks are gone as well.
            with contextlib.suppress(RuntimeError):
                self._seed.send_signal(self.pids, signal.SIGKILL)
                self._seed.reap(self.pids, seconds=5.0)
        self.pids = []
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def close(self) -> None:
        """Stop, and let go of the seed."""
        # A fork of the caller holds a copy of this object: the ranks are not its to end.
        if os.getpid() != self._owner:
            return
        self.stop()
        if self._seed is not None:
            self._seed = None
            _return_seed()

    def _hang_up(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []

    def _log(self, rank: int) -> Path:
        return Path(self._folder or "") / f"rank-{rank}.log"


def _borrow_seed(*, is_new: bool) -> Seed:
    """Return the seed process that all worlds share; it lives while one of them needs it."""
    global _seed, _worlds_on_seed  # noqa: PLW0603  (importing torch once per caller is the point)
    if _seed is not None and not _seed.is_running():
        _seed.stop()
        _seed = None
    if _seed is None:
        _seed = Seed()
    _worlds_on_seed += is_new
    return _seed


def _return_seed() -> None:
    global _seed, _worlds_on_seed  # noqa: PLW0603  (see _borrow_seed)
    _worlds_on_seed -= 1
    if _worlds_on_seed == 0 and _seed is not None:
        _seed.stop()
        _seed = None
