"""The report for whoever reads it: JSON, colour on a terminal with rich, else plain text."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from meshcompat._output import OutputError
from meshcompat.verify.tables import tables_of

try:
    from meshcompat.verify import rich_screen
except ImportError:
    HAS_RICH = False
else:
    HAS_RICH = True

if TYPE_CHECKING:
    from meshcompat.verify.report import Report

_WIDTH = 100
"""Columns where there is no terminal, such as in a log or a file."""


class NoBar:
    """Where nobody watches."""

    def advance(self, done: int, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class LineBar:
    """Where what is shown stays, as in the log of a job: one line a phase."""

    def __init__(self, text: str) -> None:
        """Tell what is done before the first step."""
        self._phase = ""
        self.advance(0, text)

    def advance(self, done: int, text: str) -> None:  # noqa: ARG002  (lines tell no numbers)
        """Tell of a phase when it begins."""
        phase = next((told for words, told in _PHASES.items() if text.startswith(words)), text)
        if phase != self._phase:
            self._phase = phase
            sys.stderr.write(f"meshcompat verify: {phase}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Do nothing."""


_PHASES = {
    "making the mesh": "making the meshes",
    "the all-reduce on": "trying an all-reduce on every process group",
    "measuring the bandwidth": "measuring the bandwidth of every mesh dim",
}
"""What a phase is called, by the words that its steps begin with."""


def bar(total: int, text: str, *, is_shown: bool) -> rich_screen.Bar | LineBar | NoBar:
    """Return what shows the progress: a bar on a terminal with rich, else a line a phase."""
    if not is_shown:
        return NoBar()
    if HAS_RICH and sys.stderr.isatty():
        return rich_screen.Bar(total, text)
    return LineBar(text)


def tell(report: Report, *, as_json: bool, path: str | None) -> None:
    """Print the report, and write it to a file where one is given."""
    show(report, as_json=as_json)
    if path is not None:
        write(report, path)


def show(report: Report, *, as_json: bool) -> None:
    """Print the report on standard output."""
    if as_json:
        sys.stdout.write(_json(report))
    elif HAS_RICH and sys.stdout.isatty():
        rich_screen.show(report)
    else:
        sys.stdout.write(_plain_text(report, _columns()))
    sys.stdout.flush()


def write(report: Report, path: str) -> None:
    """Write the report to a file: JSON or HTML by its suffix, else plain text.

    Raises:
        OutputError: The file cannot be written.
    """
    suffix = Path(path).suffix
    if suffix == ".json":
        text = _json(report)
    elif suffix == ".html":
        from meshcompat.verify import page  # noqa: PLC0415  (seldom needed)

        text = page.html(report)
    else:
        text = _plain_text(report, _WIDTH)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(path, error) from error


def _columns() -> int:
    return shutil.get_terminal_size((_WIDTH, 24)).columns


def _json(report: Report) -> str:
    return json.dumps(report.document(), indent=2) + "\n"


def _plain_text(report: Report, width: int) -> str:
    lines = [
        line
        for text in (report.title, report.circumstances, report.subtitle)
        for line in textwrap.wrap(text, width)
    ]
    for table in tables_of(report, width):
        lines += ["", *table.lines(), ""]
        lines += [line for text in table.legend for line in textwrap.wrap(text, width)]
    lines.append("")
    for text in (*report.failure_texts, *report.caution_texts, *report.notes):
        lines += textwrap.wrap(text, width, initial_indent="- ", subsequent_indent="  ")
    return "\n".join([*lines, *textwrap.wrap(report.summary, width), ""])
