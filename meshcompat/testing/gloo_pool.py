"""Real rank processes, started once, that run one function after another.

Here belongs what a test suite sees of the pool and the decision how a case ended. The processes
are handled in ``_processes``, and what happens in them is in ``_rank``.
"""

from __future__ import annotations

import pickle
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from meshcompat._rank_processes.words import ranks_named
from meshcompat.testing import _rank
from meshcompat.testing._processes import Outcome, RankProcesses
from meshcompat.testing._shipping import pack
from meshcompat.testing.rank_errors import (
    RankDied,
    RankError,
    RankFailure,
    RankTimeout,
    told_exit_code,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from typing_extensions import Self

T = TypeVar("T")


class GlooPool:
    """A world of real processes that stays up from case to case.

    Starting processes, importing torch and meeting each other costs seconds; running a function
    on processes that are there costs milliseconds. So a test run makes one pool and runs its
    cases on it. The ranks are started by the first :meth:`run`.

    Each case begins with a new default process group, made on all ranks, so that groups of one
    case do not reach the next, not even after a failure. What else a case changes in its
    process (module state, the mesh tables of torch 2.9 and older, random numbers) stays until
    :meth:`restart`.

    A rank that raises, dies or hangs is named in the exception, with its traceback, exit status
    or stack; the pool is usable afterwards. No process outlives the caller, however it ends.

    Needs a POSIX system. It is safe where the caller has threads: ranks are forked from a
    process of their own, never from the caller's.

    Args:
        world_size: Number of ranks, at least 1.
        timeout: Seconds that a case may take.
        grace: Seconds that the other ranks get when one has failed or died.
        backend: Backend of the default process group. With ``"nccl"``, also as part of
            ``"cpu:gloo,cuda:nccl"``, rank ``r`` uses GPU ``r``; where there are more ranks than
            GPUs, they share them in turn, and NCCL is told that each rank is a host of its own.
        group_timeout: Time-out in seconds of the default process group and of groups that
            inherit it: how long a collective waits for a rank that does not come. None = half
            the time-out of the case, so that the collective's own error arrives in time.
        preload: Modules to import once for all ranks, before they are started, such as
            ``"torch.distributed.tensor"``. They must not start threads.

    Collective:
        No: the caller is not a rank.

    Example:
        >>> import torch.distributed as dist
        >>> with GlooPool(world_size=2) as pool:
        ...     pool.run(dist.get_rank)
        ...     pool.run(lambda base: base + dist.get_rank(), 40)
        [0, 1]
        [40, 41]
    """

    def __init__(
        self,
        world_size: int = 8,
        *,
        timeout: float = 60.0,
        grace: float = 2.0,
        backend: str = "gloo",
        group_timeout: float | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        if world_size < 1:
            raise ValueError(f"a pool of {world_size!r} ranks was asked for: at least 1 is needed")
        self.world_size = world_size
        self.timeout = timeout
        self.grace = grace
        self.group_timeout = group_timeout
        # A rank imports the caller's test module, and most of those import pytest.
        modules = [*preload, *(name for name in ("pytest",) if name in sys.modules)]
        self._processes = RankProcesses(world_size, backend, modules)
        self._close = weakref.finalize(self, self._processes.close)
        self._lock = threading.Lock()
        self._case = 0
        self._is_in_step = False

    def run(
        self,
        fn: Callable[..., T],
        /,
        *args: Any,
        fresh: bool = True,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> list[T]:
        """Run ``fn(*args, **kwargs)`` on every rank and return the results, in rank order.

        *fn* and the arguments are pickled. A function that a name leads to is looked up in its
        module on the rank, which loads the module by name or, where that fails, from the file
        that the caller has it from. Lambdas and closures are sent as code, and need cloudpickle:
        ``pip install "meshcompat[testing]"``. They see the globals of their module on the rank
        and copies of what they closed over. A rank cannot load the module of a notebook, whose
        functions travel with copies of their globals. What a rank prints is printed here when
        the case is over, each line with its rank.

        Args:
            fn: The function; ``torch.distributed.get_rank()`` tells it where it runs.
            *args: Positional arguments for *fn*, the same on every rank.
            fresh: Begin with a new default process group. False keeps the world, with its
                groups, as the case before has left it, provided that there was one and that it
                ended well on all ranks; otherwise the world is new all the same.
            timeout: Seconds for this case; None = the pool's.
            **kwargs: Keyword arguments for *fn* (not ``fresh`` and ``timeout``).

        Returns:
            List of length ``world_size``; entry ``r`` is the result on rank ``r``.

        Raises:
            TypeError: *fn* or an argument cannot be sent, or not without cloudpickle.
            RankFailure: *fn* raised on a rank. The others got ``grace`` seconds to end; if one
                did not, all processes are replaced before the next case.
            RankDied: The process of a rank ended. All are replaced before the next case.
            RankTimeout: Ranks were still running after *timeout* seconds. All processes are
                replaced before the next case.
            RuntimeError: The processes could not be started, the pool is closed, or the caller
                is itself a rank of a pool.

        Collective:
            No: the caller is not a rank. Inside *fn*, what torch says of each call.
        """
        call = pack((fn, args, kwargs))
        seconds = self.timeout if timeout is None else timeout
        group_timeout = seconds / 2 if self.group_timeout is None else self.group_timeout
        with self._lock:
            self.start()
            self._case += 1
            is_fresh = fresh or not self._is_in_step
            self._is_in_step = False
            try:
                self._processes.send(_rank.Case(self._case, is_fresh, group_timeout, call))
                outcome = self._processes.collect(seconds, self.grace)
                self._print_outputs()
                error = self._error(fn, outcome, seconds)
            except BaseException:
                # Ctrl-C or a test's own time-out: the ranks are in the middle of something.
                self._processes.kill()
                raise
            if outcome.dead or outcome.running:
                self._processes.kill()
            if error is not None:
                raise error
            self._is_in_step = True
            return [pickle.loads(outcome.replies[rank].result) for rank in range(self.world_size)]  # noqa: S301  (from our own ranks)

    def start(self) -> None:
        """Start the ranks now, if they are not running, instead of with the first case.

        Raises:
            RuntimeError: The processes could not be started, the pool is closed, or the caller
                is itself a rank of a pool.

        Collective:
            No: the caller is not a rank.
        """
        if _rank.is_rank:
            raise RuntimeError("a pool cannot be started on a rank of another pool")
        if not self._close.alive:
            raise RuntimeError("the pool is closed: make a new one")
        if not self._processes.pids:
            self._is_in_step = False
            self._processes.start()

    def restart(self) -> None:
        """Replace all processes by new ones, so that nothing of the past cases is left.

        Raises:
            RuntimeError: As for :meth:`start`.

        Collective:
            No: the caller is not a rank.
        """
        with self._lock:
            self._processes.stop()
            self.start()

    def close(self) -> None:
        """End all processes of the pool; it cannot be used afterwards.

        Leaving a ``with`` block, losing the last reference to the pool and the end of the
        caller do the same.

        Collective:
            No: the caller is not a rank.
        """
        self._close()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids in rank order; empty when no processes are running.

        Collective:
            No.
        """
        return tuple(self._processes.pids)

    def __enter__(self) -> Self:
        """Return the pool."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pool."""
        self.close()

    def _print_outputs(self) -> None:
        for rank in range(self.world_size):
            for line in self._processes.output(rank).splitlines():
                print(f"[rank {rank}] {line}")  # noqa: T201  (where a test's output goes)

    def _error(self, fn: object, outcome: Outcome, seconds: float) -> RankError | None:
        """Return what is to be raised, worst first: a death explains failures, not vice versa."""
        failed = {
            rank: reply.failed_at
            for rank, reply in outcome.replies.items()
            if reply.failed_at is not None
        }
        tracebacks = {
            rank: outcome.replies[rank].traceback
            for rank in sorted(failed, key=lambda rank: failed[rank])
        }
        if not (outcome.dead or failed or outcome.running):
            return None
        stacks = self._processes.stacks(outcome.running) if outcome.running else {}
        name = getattr(fn, "__qualname__", repr(fn))
        where = f"in {name!r} on a pool of {self.world_size}"
        if outcome.dead:
            return self._death(where, outcome, tracebacks, stacks)
        if tracebacks:
            first, *others = tracebacks
            summary = f"rank {first} raised {where}"
            if others:
                summary += f"; {ranks_named(sorted(others))} raised later"
            if stacks:
                summary += f"; {ranks_named(tuple(stacks))} did not end and had to be stopped"
            return RankFailure(summary, tracebacks, tracebacks, stacks)
        summary = f"{ranks_named(tuple(stacks))} still ran after {seconds:g} s {where}"
        return RankTimeout(summary, stacks, tracebacks, stacks)

    def _death(
        self, where: str, outcome: Outcome, tracebacks: dict[int, str], stacks: dict[int, str]
    ) -> RankDied:
        codes = self._processes.exit_codes(outcome.dead)
        outputs = {rank: self._processes.output(rank) for rank in codes}
        summary = "; ".join(f"rank {rank} {told_exit_code(code)}" for rank, code in codes.items())
        details = [
            f"--- rank {rank}: its last output ---\n{text.rstrip()}"
            for rank, text in outputs.items()
            if text.strip()
        ]
        error = RankDied(f"{summary} {where}", codes, tracebacks, stacks, details)
        error.exit_codes = codes
        error.outputs = outputs
        return error
