"""The table of mesh dims: one line each where there is room, else two."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_INDENT = " " * 6


class Row(NamedTuple):
    """One mesh dim, in words."""

    name: str
    size: str
    groups: str
    nodes: str
    layout: str
    ranks: str


class Table:
    """Blocks of rows whose columns stand below each other."""

    def __init__(self, heading: Row, blocks: Sequence[Sequence[Row]], width: int) -> None:
        """Measure the rows, for a page of *width* columns."""
        self._page = width
        self._rows = [heading, *(row for block in blocks for row in block)]
        self._is_wide = 2 * len(Row._fields) + sum(map(self._longest, Row._fields)) <= width

    def lines(self, row: Row) -> Iterator[str]:
        """Yield the lines of a row."""
        numbers = [
            f"{getattr(row, name):>{self._longest(name)}}" for name in ("size", "groups", "nodes")
        ]
        room = self._page - len("  ") - sum(len("  ") + len(number) for number in numbers)
        name = row.name
        if len(name) > room:  # it stands above its numbers
            yield from _cut(name, self._page - len("  "))
            name = ""
        start = "  ".join([f"  {name:<{min(self._longest('name'), room)}}", *numbers])
        if self._is_wide:
            yield f"{start}  {row.layout:<{self._longest('layout')}}  {row.ranks}"
            return
        yield start
        yield from textwrap.wrap(
            f"{row.layout}: {row.ranks}",
            self._page,
            initial_indent=_INDENT,
            subsequent_indent=f"{_INDENT}  ",
        )

    def _longest(self, name: str) -> int:
        return max(len(getattr(row, name)) for row in self._rows)


def _cut(name: str, room: int) -> Iterator[str]:
    yield from (f"  {name[start : start + room]}" for start in range(0, len(name), room))
