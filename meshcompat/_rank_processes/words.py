"""How ranks, groups and signals are written for a reader."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from meshcompat._rank_text import ranks_text

if TYPE_CHECKING:
    from collections.abc import Sequence

_SOURCE = re.compile(r"\[[^\]]*\.(?:cc|cpp|hpp|h):\d+\] ")
"""Where in its own source a C++ library raised."""


def ranks_named(ranks: Sequence[int]) -> str:
    """Write ``rank 3`` or ``ranks 2, 3``."""
    return f"rank{'' if len(ranks) == 1 else 's'} {ranks_text(ranks)}"


def end_text(code: int) -> str:
    """Write how a process ended, from its exit code as `multiprocessing` has it."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def last_line(text: str) -> str:
    """Return the last line that is neither empty nor indented: what a traceback ends with."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(" ")]
    return lines[-1].rstrip() if lines else ""


def one_line(error: BaseException) -> str:
    """Write an error in one line of at most 300 characters: torch's go on for pages."""
    text = " ".join(str(error).split("Exception raised from")[0].split())
    text = _SOURCE.sub("", text)
    if len(text) > 300:
        text = f"{text[:297]}..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
