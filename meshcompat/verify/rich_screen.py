"""The report and the progress bar in colour. Needs rich, the extra ``cli``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from meshcompat.verify.report import HEADINGS, LEGEND, NUMBERS, OK

if TYPE_CHECKING:
    from meshcompat.verify.report import Report


def show(report: Report) -> None:
    """Print the report to the terminal."""
    console = Console(highlight=False)
    console.print(Text(report.title, "bold"), Text(report.subtitle), sep="\n")
    console.print(_table(report))
    console.print(*(Text(text, "dim") for text in LEGEND), sep="\n")
    for text in report.failure_texts:
        console.print(Padding(Text(text, "red"), (0, 0, 0, 2)))
    for text in report.notes:
        console.print(Padding(Text(text, "yellow"), (0, 0, 0, 2)))
    console.print(Text(report.summary, "bold green" if report.is_ok else "bold red"))


def _table(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left")
    mesh = report.lines[0].mesh
    for line in report.lines:
        if line.mesh != mesh:
            table.add_section()
            mesh = line.mesh
        style = "green" if line.state == OK else "bold red"
        table.add_row(*map(Text, line.cells[:-1]), Text(line.state, style))
    return table


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
