"""The report and the progress bar in colour. Needs rich, the extra ``cli``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from meshcompat._output import wants_colour
from meshcompat.verify.report import FAILED, NOT_DONE, OK
from meshcompat.verify.tables import tables_of

if TYPE_CHECKING:
    from meshcompat.verify import tables
    from meshcompat.verify.report import Report

_EDGES, _GAP = 2, 3
"""Columns that the chosen box takes around a table and between its columns."""
_STYLES = {OK: "green", FAILED: "bold red", NOT_DONE: "bold red"}


def show(report: Report) -> None:
    """Print the report to the terminal."""
    console = Console(highlight=False, no_color=not wants_colour())
    console.print(Text(report.title, "bold"))
    console.print(Text(report.circumstances), Text(report.subtitle), sep="\n")
    for table in tables_of(report, console.width - _EDGES, _GAP):
        console.print(_table(table))
        console.print(*(Text(text, "dim") for text in table.legend), sep="\n")
    for text in report.failure_texts:
        console.print(Padding(Text(text, "red"), (0, 0, 0, 2)))
    for text in (*report.caution_texts, *report.notes):
        console.print(Padding(Text(text, "yellow"), (0, 0, 0, 2)))
    console.print(Text(report.summary, "bold green" if report.is_ok else "bold red"))


def _table(table: tables.Table) -> Table:
    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for heading in table.headings:
        justify: Literal["right", "left"] = "right" if heading in table.numbers else "left"
        drawn.add_column(heading, justify=justify, overflow="fold")  # never an ellipsis in a name
    mesh = table.rows[0][0]
    for cells in table.rows:
        if cells[0] != mesh:
            drawn.add_section()
            mesh = cells[0]
        drawn.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in cells))
    return drawn


class Bar:
    """A progress bar on standard error."""

    def __init__(self, total: int, text: str) -> None:
        """Show the bar of a run of *total* steps, and what is done before the first."""
        columns = (
            BarColumn(24),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(text, total=total)
        self._progress.start()

    def advance(self, done: int, text: str) -> None:
        """Show how many steps have begun, and which one runs."""
        self._progress.update(self._task, completed=done, description=text)

    def close(self) -> None:
        """Take the bar away; once is enough, and twice does no harm."""
        self._progress.stop()
