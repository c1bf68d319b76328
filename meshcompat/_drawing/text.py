"""A picture in a terminal: boxes of ranks, each rank with the letters of its group."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, NamedTuple

from meshcompat import _layout
from meshcompat._drawing.palette import shade_of
from meshcompat._drawing.picture import Cells, Gap
from meshcompat._drawing.words import mark_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat._drawing.picture import MeshDim, Picture

RANKS = 64
"""Ranks that are drawn of a mesh dim, about."""
NARROWEST = 40
BOLD = -1


_PLAINER = str.maketrans("┌┐└┘─│", "++++-|")


class Span(NamedTuple):
    """A part of a line: its shade in the palette, or `BOLD`, or None."""

    text: str
    shade: int | None = None


Line = list[Span]


def lines_of(picture: Picture, width: int) -> list[Line]:
    """Return the lines of a picture of at most *width* columns."""
    width = max(width, NARROWEST)
    lines = [[Span(text, BOLD)] for text in textwrap.wrap(picture.title, width)]
    lines += [[Span(text)] for note in picture.notes for text in textwrap.wrap(note, width)]
    for dim in picture.dims:
        lines.append([])
        lines += [[Span(text, BOLD)] for text in textwrap.wrap(picture.headline(dim), width)]
        if _layout.size_of(dim.axes) > 1:
            lines += _grid(picture, dim, width)
    if picture.rank is not None:
        legend = f"[ ] is rank {picture.rank}; equal letters are one group"
        lines += [[], *([Span(text)] for text in textwrap.wrap(legend, width))]
    return lines


def in_encoding(text: str, encoding: str) -> str:
    """Return a text with lines drawn so that the encoding has them."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAINER)
    return text


def _grid(picture: Picture, dim: MeshDim, width: int) -> Iterator[Line]:
    items = picture.folded(dim, RANKS)
    drawn = _spans(picture, dim, items)
    cell = max(len(span.text) for spans in drawn.values() for span in spans)
    columns = _columns(max(map(len, drawn.values())), (width - 4) // cell)
    row: list[list[Line]] = []
    beside = max((width + 1) // (columns * cell + 5), 1)
    for index, item in enumerate(items):
        if isinstance(item, Cells):
            row.append(_box(item.title, drawn[index], columns, cell))
        if row and (isinstance(item, Gap) or len(row) == beside or item is items[-1]):
            yield from _side_by_side(row, columns * cell + 4)
            row = []
        if isinstance(item, Gap):
            yield from ([Span(text)] for text in textwrap.wrap(f"... {item} ...", width))


def _side_by_side(boxes: list[list[Line]], width: int) -> Iterator[Line]:
    for number in range(max(map(len, boxes))):
        line: Line = []
        for box in boxes:
            part = box[number] if number < len(box) else [Span(" " * width)]
            line += [*([Span(" ")] if line else []), *part]
        yield line


def _box(title: str, spans: list[Span], columns: int, cell: int) -> list[Line]:
    inner = columns * cell
    shown = f" {title} " if len(title) + 2 <= inner else f" {title[: inner - 3]}~ "
    lines: list[Line] = [[Span(f"┌{shown:─<{inner + 2}}┐")]]
    for start in range(0, len(spans), columns):
        row = spans[start : start + columns]
        padded = [Span(f"{span.text:^{cell}}", span.shade) for span in row]
        space = " " * ((columns - len(row)) * cell)
        lines.append([Span("│ "), *padded, Span(f"{space} │")])
    lines.append([Span(f"└{'─' * (inner + 2)}┘")])
    return lines


def _spans(picture: Picture, dim: MeshDim, items: list[Cells | Gap]) -> dict[int, list[Span]]:
    """Return the cells of each box, by its index among *items*."""
    boxes = {index: item for index, item in enumerate(items) if isinstance(item, Cells)}
    ranks = [rank for box in boxes.values() for rank in box.ranks if not isinstance(rank, Gap)]
    groups = {rank: picture.group_number(dim, rank) for rank in ranks}
    digits = len(str(max(ranks)))
    letters = max(len(mark_of(group)) for group in groups.values())

    def span(rank: int | Gap) -> Span:
        if isinstance(rank, Gap):
            return Span(f" ..{rank.ranks}.. ")
        text = f"{rank:{digits}} {mark_of(groups[rank]):{letters}}"
        is_me = rank == picture.rank
        return Span(f"[{text}]" if is_me else f" {text} ", shade_of(groups[rank]))

    return {index: list(map(span, box.ranks)) for index, box in boxes.items()}


def _columns(count: int, room: int) -> int:
    """Return how many of *count* cells stand in a row: all, or a divisor that fills the room."""
    fitting = range(max(room, 1), max(room // 2, 0), -1)
    return next((number for number in fitting if count % number == 0), max(min(count, room), 1))
