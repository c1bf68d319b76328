"""The command on one rank of a launcher such as torchrun."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import torch

from meshcompat._rank_processes.place import Place
from meshcompat.verify import checks, screen
from meshcompat.verify.launched.rank import Rank, choose_device
from meshcompat.verify.report import Report
from meshcompat.verify.roll import Roll
from meshcompat.verify.verdict import Failure, failures_of

if TYPE_CHECKING:
    from meshcompat.verify.arguments import Request


def run(request: Request, reduce: checks.Reduce | None) -> int:
    """Verify as one rank of a launcher; print on one rank; return the exit code."""
    place = Place.of(os.environ)
    try:
        device = choose_device(request.device, place)
    except ValueError as error:
        # One message a machine: from its first rank without a device.
        if place.local_rank == torch.cuda.device_count():
            sys.stderr.write(f"meshcompat verify: error: {error}\n")
        return 2
    plan = request.plan
    own = Rank(plan, place, device, request.timeout, reduce or checks.all_reduce)
    if not _Run(request, own).is_right():
        # Threads may wait in torch for ranks that never come, so do not wait for threads.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    return 0


class _Run:
    """What this rank tells the user, where it is the one that does."""

    def __init__(self, request: Request, own: Rank) -> None:
        self._start = time.monotonic()
        self._date = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._request = request
        self._own = own
        self._has_told = False
        self._is_shown = own.place.rank == 0 and not request.as_json
        steps = own.place.world_size * (len(request.plan.steps) + 1)
        self._bar = screen.bar(steps, "waiting for the ranks", is_shown=self._is_shown)

    def is_right(self) -> bool:
        """Verify, and return whether all is right on all ranks."""
        steps = self._request.plan.steps
        signal.signal(signal.SIGTERM, self._stop)
        is_ok = self._own.verify(self._say, lambda done, step: self._bar.advance(done, steps[step]))
        self._bar.close()
        failure = rendezvous_failure(self._own)
        if failure is not None:
            if self._own.place.rank < 2:  # Rank 0 if it lives, and one that does if not.
                self._tell(Roll.of(self._request.plan), [failure])
            elif self._own.place.local_rank == 0:
                sys.stderr.write(f"{failure.message}\n")
        return is_ok

    def _stop(self, *_: object) -> None:
        if self._is_shown and not self._has_told:
            # The launcher has more to say, and a verdict takes seconds.
            told = "meshcompat verify: the launcher ends the job; looking for the cause\n"
            sys.stderr.write(told)
        self._own.stop()

    def _say(self, roll: Roll) -> bool:
        bound = f"within {self._request.timeout:g} s"
        if self._own.was_told_to_stop:
            bound = "before the launcher ended the job (SIGTERM)"
        self._bar.close()
        return self._tell(roll, failures_of(roll, bound))

    def _tell(self, roll: Roll, failures: list[Failure]) -> bool:
        request, device = self._request, self._own.device.type
        report = Report(
            *(roll, failures, device, checks.BACKENDS[device], request.timeout),
            seconds=time.monotonic() - self._start,
            launcher=self._own.place.launcher,
            date=self._date,
            is_strict=request.is_strict,
        )
        self._has_told = True
        screen.tell(report, as_json=request.as_json, path=request.report)
        return report.is_ok


def rendezvous_failure(own: Rank) -> Failure | None:
    """Say why this rank could not meet the others, or lost them."""
    place = own.place
    if own.rendezvous_error is not None:
        return Failure("rendezvous", (place.rank,), None, (), own.rendezvous_error)
    if own.store_error is None:
        return None
    message = (
        f"rank {place.rank} lost the store at {place.host}:{place.port} ({own.store_error}); it "
        f"lives in the process of rank 0 or in the launcher, which died, is stopped, or cannot "
        f"be reached"
    )
    return Failure("store", (0,), None, (), message)
