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
    start = time.monotonic()
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
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
    is_shown = place.rank == 0 and not request.as_json
    bar = screen.bar(
        place.world_size * (len(plan.steps) + 1), "waiting for the ranks", is_shown=is_shown
    )

    def report_of(roll: Roll, failures: list[Failure]) -> Report:
        backend = checks.BACKENDS[device.type]
        seconds = time.monotonic() - start
        return Report(
            *(roll, failures, device.type, backend, request.timeout, seconds),
            launcher=place.launcher,
            date=date,
            is_strict=request.is_strict,
        )

    def say(roll: Roll) -> bool:
        bound = f"within {request.timeout:g} s"
        if own.was_told_to_stop:
            bound = "before the launcher ended the job (SIGTERM)"
        report = report_of(roll, failures_of(roll, bound))
        bar.close()
        screen.tell(report, as_json=request.as_json, path=request.report)
        return report.is_ok

    signal.signal(signal.SIGTERM, lambda *_: own.stop())
    is_ok = own.verify(say, lambda done, step: bar.advance(done, plan.steps[step]))
    bar.close()
    if own.store_error is not None:
        failure = _store_failure(own)
        if place.rank < 2:  # Rank 0 if it lives, and one that does if not.
            report = report_of(Roll.of(plan), [failure])
            screen.tell(report, as_json=request.as_json, path=request.report)
        elif place.local_rank == 0:
            sys.stderr.write(f"{failure.message}\n")
    if not is_ok:
        # Threads may wait in torch for ranks that never come, so do not wait for threads.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    return 0


def _store_failure(own: Rank) -> Failure:
    place = own.place
    message = (
        f"rank {place.rank} lost the store at {place.host}:{place.port} ({own.store_error}); it "
        f"lives in the process of rank 0 or in the launcher, which died, is stopped, or cannot "
        f"be reached"
    )
    return Failure("store", (0,), None, (), message)
