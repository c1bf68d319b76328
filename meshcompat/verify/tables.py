"""The tables of a report as cells, as wide as there is room for: names are never cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from meshcompat.verify.report import (
    BANDWIDTH_HEADINGS,
    BANDWIDTH_LEGEND,
    BANDWIDTH_NUMBERS,
    HEADINGS,
    LEGEND,
    NUMBERS,
)

if TYPE_CHECKING:
    from meshcompat.verify.report import Report

_GAP = 2


class Table(NamedTuple):
    """Headings and rows of text.

    Attributes:
        headings: One for each column.
        numbers: The headings of columns that are aligned to the right.
        rows: The cells.
        legend: What the headings mean.
        spare: The headings of columns that a narrow screen goes without, in this order.
    """

    headings: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: list[tuple[str, ...]]
    legend: tuple[str, ...]
    spare: tuple[str, ...]

    @property
    def widths(self) -> list[int]:
        """How wide each column is."""
        return [max(map(len, column)) for column in zip(self.headings, *self.rows, strict=True)]

    def fitted(self, width: int, gap: int) -> Table:
        """Return the table without the columns that there is no room for, with gaps between."""
        table = self
        for heading in self.spare:
            if sum(table.widths) + gap * (len(table.headings) - 1) <= width:
                break
            table = table.without(heading)
        return table

    def without(self, heading: str) -> Table:
        """Return the table without one of its columns."""
        column = self.headings.index(heading)

        def cut(cells: tuple[str, ...]) -> tuple[str, ...]:
            return cells[:column] + cells[column + 1 :]

        legend = tuple(text for text in self.legend if not text.startswith(f"{heading}:"))
        rows = [cut(row) for row in self.rows]
        return self._replace(headings=cut(self.headings), rows=rows, legend=legend)

    def lines(self) -> list[str]:
        """Return the table as plain text."""
        rule = tuple("-" * width for width in self.widths)
        return [self._line(cells) for cells in (self.headings, rule, *self.rows)]

    def _line(self, cells: tuple[str, ...]) -> str:
        padded = [
            cell.rjust(width) if heading in self.numbers else cell.ljust(width)
            for heading, cell, width in zip(self.headings, cells, self.widths, strict=True)
        ]
        return (" " * _GAP).join(padded).rstrip()


def tables_of(report: Report, width: int, gap: int = _GAP) -> list[Table]:
    """Return the table of mesh dims and, where it was measured, that of bandwidths."""
    cells = [line.cells for line in report.lines]
    spare = ("median", "groups made", "rank 0 meets", "ms min")
    tables = [Table(HEADINGS, NUMBERS, cells, LEGEND, spare)]
    if report.bandwidths:
        tables.append(
            Table(
                *(BANDWIDTH_HEADINGS, BANDWIDTH_NUMBERS, report.bandwidth_cells, BANDWIDTH_LEGEND),
                spare=("max", "median"),
            )
        )
    return [table.fitted(width, gap) for table in tables]
