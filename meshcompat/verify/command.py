"""One run of the command: let the ranks work, tell the user, return the exit code."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING

from meshcompat.verify.local import command as local

if TYPE_CHECKING:
    from meshcompat.verify.arguments import Request
    from meshcompat.verify.checks import Reduce


def run(request: Request, reduce: Reduce | None = None) -> int:
    """Verify, print the report, and return the exit code.

    *reduce* sums over a group, by default `checks.all_reduce`; it has to be picklable.
    """
    if not request.is_launched:
        return local.run(request, reduce)
    # Before torch is imported: it shall not warn, nor end the process before that could tell why.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0")
    warnings.simplefilter("ignore")
    _keep_standard_output()
    from meshcompat.verify.launched import command as launched  # noqa: PLC0415  (imports torch)

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
