"""The report for whoever reads it: JSON, colour on a terminal with rich, else plain text."""

from __future__ import annotations

import json
import sys
import textwrap
from typing import TYPE_CHECKING

from meshcompat.verify.report import HEADINGS, LEGEND, NUMBERS

try:
    from meshcompat.verify import rich_screen
except ImportError:
    HAS_RICH = False
else:
    HAS_RICH = True

if TYPE_CHECKING:
    from meshcompat.verify.report import Report

_WIDTH = 79


class NoBar:
    """Where nobody watches."""

    def advance(self, done: int, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


def bar(total: int, text: str, *, is_shown: bool) -> rich_screen.Bar | NoBar:
    """Return a progress bar, which shows only on a terminal with rich."""
    if is_shown and HAS_RICH and sys.stderr.isatty():
        return rich_screen.Bar(total, text)
    return NoBar()


def show(report: Report, *, as_json: bool) -> None:
    """Print the report on standard output."""
    if as_json:
        sys.stdout.write(json.dumps(report.document(), indent=2) + "\n")
    elif HAS_RICH and sys.stdout.isatty():
        rich_screen.show(report)
    else:
        sys.stdout.write(_plain_text(report))
    sys.stdout.flush()


def _plain_text(report: Report) -> str:
    rows = [line.cells for line in report.lines]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    lines = [report.title, report.subtitle, ""]
    for cells in (HEADINGS, tuple("-" * width for width in widths), *rows):
        padded = [
            cell.rjust(width) if heading in NUMBERS else cell.ljust(width)
            for heading, cell, width in zip(HEADINGS, cells, widths, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    lines += ["", *LEGEND, ""]
    for text in (*report.failure_texts, *report.notes):
        lines.append(textwrap.fill(text, _WIDTH, initial_indent="- ", subsequent_indent="  "))
    return "\n".join([*lines, report.summary, ""])
