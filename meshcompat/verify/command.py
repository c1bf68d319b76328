"""One run of the command: let the ranks work, tell the user, return the exit code."""

from __future__ import annotations

import os
import sys
import time
import warnings
from typing import TYPE_CHECKING

from meshcompat.verify import alone, screen
from meshcompat.verify.report import Report
from meshcompat.verify.verdict import failures_of

if TYPE_CHECKING:
    from meshcompat.verify.arguments import Request
    from meshcompat.verify.checks import Reduce
    from meshcompat.verify.roll import Roll


def run(request: Request, reduce: Reduce | None = None) -> int:
    """Verify, print the report, and return the exit code.

    *reduce* sums over a group, by default `checks.all_reduce`; it has to be picklable.
    """
    return (_run_given if request.is_launched else _run_alone)(request, reduce)


def _run_alone(request: Request, reduce: Reduce | None) -> int:
    start = time.monotonic()
    plan = request.plan
    bar = screen.bar(
        plan.world_size * len(plan.steps), "importing torch", is_shown=not request.as_json
    )

    def watch(roll: Roll) -> None:
        bar.advance(roll.progress, plan.steps[min(m.step or 0 for m in roll.members)])

    try:
        roll = alone.verify(plan, request.timeout, reduce=reduce, watch=watch)
    finally:
        bar.close()
    failures = failures_of(roll, f"within {request.timeout:g} s")
    seconds = time.monotonic() - start
    report = Report(roll, failures, "cpu", "gloo", request.timeout, seconds)
    screen.show(report, as_json=request.as_json)
    return 0 if report.is_ok else 1


def _run_given(request: Request, reduce: Reduce | None) -> int:
    # Before torch is imported: it shall not warn, nor end the process before that could tell why.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
    warnings.simplefilter("ignore")
    _keep_standard_output()
    from meshcompat.verify import launched  # noqa: PLC0415  (imports torch)

    return launched.run(request, reduce)


def _keep_standard_output() -> None:
    """Keep standard output for the report: gloo of torch 2.8 to 2.10 prints its connections there.

    It does so below Python, so that the descriptor itself has to go elsewhere.
    """
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
