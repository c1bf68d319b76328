"""The command on ranks that it starts itself."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from meshcompat.verify import screen
from meshcompat.verify.local import ranks
from meshcompat.verify.report import Report
from meshcompat.verify.verdict import failures_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.verify.arguments import Request
    from meshcompat.verify.checks import Reduce
    from meshcompat.verify.roll import Roll


def run(request: Request, reduce: Reduce | None) -> int:
    """Start ranks, verify, print the report, and return the exit code."""
    start = time.monotonic()
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with terminable():
        roll = _heard(request, reduce)
    failures = failures_of(roll, f"within {request.timeout:g} s")
    report = Report(
        *(roll, failures, "cpu", "gloo", request.timeout),
        seconds=time.monotonic() - start,
        date=date,
        is_strict=request.is_strict,
    )
    screen.tell(report, as_json=request.as_json, path=request.report)
    return 0 if report.is_ok else 1


def _heard(request: Request, reduce: Reduce | None) -> Roll:
    """Let the ranks work, and show how far they are."""
    plan = request.plan
    bar = screen.bar(
        plan.world_size * len(plan.steps), "importing torch", is_shown=not request.as_json
    )

    def watch(roll: Roll) -> None:
        bar.advance(roll.progress, plan.steps[min(m.step or 0 for m in roll.members)])

    try:
        return ranks.verify(plan, request.timeout, reduce=reduce, watch=watch)
    finally:
        bar.close()


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM end the block as an exception does, so that ranks and files go away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
