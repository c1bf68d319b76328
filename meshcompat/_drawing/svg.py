"""A picture as one SVG: no script, no font, no address but the namespace's."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from meshcompat import _layout
from meshcompat._drawing.palette import COLOURS, shade_of
from meshcompat._drawing.picture import Cells, Gap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat._drawing.picture import MeshDim, Picture

RANKS = 128
"""Ranks that are drawn of a mesh dim, about."""
WIDTH = 960
_MARGIN = 16
_LINE = 18
_TOLD = 15
_CELL_HEIGHT = 26
_PAD = 8
_LETTER = 7.3
"""Width of a letter of 12 pixels, at most, in the fonts asked for."""

_STYLE = """
  .mesh { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
  .mesh .paper { fill: #ffffff; } .mesh text { fill: #1a1a1a; }
  .mesh .title { font-size: 16px; font-weight: bold; } .mesh .head { font-weight: bold; }
  .mesh .quiet { fill: #595959; }
  .mesh .box { fill: none; stroke: #767676; }
  .mesh .cell { outline: none; cursor: default; }
  .mesh .cell rect { stroke: #ffffff; } .mesh .cell .more { fill: none; stroke: none; }
  .mesh .me rect { stroke: #000000; stroke-width: 3; }
  .mesh .cell:hover rect, .mesh .cell:focus rect { stroke: #000000; stroke-width: 3; stroke-dasharray: 4 2; }
  .mesh .told { font-size: 11px; visibility: hidden; pointer-events: none; }
  .mesh .cell:hover .told, .mesh .cell:focus .told { visibility: visible; }
  @media (prefers-color-scheme: dark) {
    .mesh .paper { fill: #16181d; } .mesh text { fill: #f0f0f0; } .mesh .quiet { fill: #b0b0b0; }
    .mesh .box { stroke: #8a8a8a; } .mesh .cell rect { stroke: #16181d; }
    .mesh .me rect, .mesh .cell:hover rect, .mesh .cell:focus rect { stroke: #ffffff; }
  }
"""


def svg_of(picture: Picture) -> str:
    """Return the picture as the text of an SVG file."""
    top = float(_MARGIN)
    parts: list[str] = []
    for text in _wrapped(picture.title, 9.8):
        top += 20
        parts.append(_text(_MARGIN, top, text, "title"))
    for note in picture.notes:
        for text in _wrapped(note, _LETTER):
            top += _LINE
            parts.append(_text(_MARGIN, top, text, "quiet"))
    for dim in picture.dims:
        top += _LINE
        drawn, top = _panel(picture, dim, top)
        parts += drawn
    height = top + _MARGIN
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" class="mesh" role="group"',
            f' width="{WIDTH}" height="{height:g}" viewBox="0 0 {WIDTH} {height:g}"',
            f" aria-label={quoteattr(picture.title)}>",
            f"<style>{_STYLE}{_shades()}</style>",
            '<rect class="paper" width="100%" height="100%"/>',
            *parts,
            "</svg>\n",
        ]
    )


def _panel(picture: Picture, dim: MeshDim, top: float) -> tuple[list[str], float]:
    parts = []
    for text in _wrapped(picture.headline(dim), _LETTER):
        top += _LINE
        parts.append(_text(_MARGIN, top, text, "head"))
    if _layout.size_of(dim.axes) == 1:
        return parts, top
    # Two lines are kept free for what is told of the rank that is pointed at.
    told = top + _TOLD
    top += 2 * _TOLD + _PAD
    drawn, top = _grid(picture, dim, top, told)
    return parts + drawn, top


def _grid(picture: Picture, dim: MeshDim, top: float, told: float) -> tuple[list[str], float]:
    items = picture.folded(dim, RANKS)
    cells = [rank for item in items if isinstance(item, Cells) for rank in item.ranks]
    longest = max(len(picture.label(dim, rank)) for rank in cells)
    cell = longest * _LETTER + 12
    most = max(len(item.ranks) for item in items if isinstance(item, Cells))
    room = int((WIDTH - 2 * _MARGIN - 2 * _PAD) / cell)
    columns = min(most, 8, room)
    rows = -(-most // columns)
    width, height = columns * cell + 2 * _PAD, rows * _CELL_HEIGHT + _LINE + _PAD
    parts: list[str] = []
    left = float(_MARGIN)
    for item in items:
        if isinstance(item, Gap):
            # A gap stands between boxes, so that there is one in the row above.
            top += height + _PAD + _LINE
            parts.append(_text(_MARGIN + _PAD, top - 4, f"… {item} …", "quiet"))
            left = _MARGIN
            continue
        if left + width > WIDTH - _MARGIN:
            left, top = _MARGIN, top + height + _PAD
        parts.append(
            f'<rect class="box" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="4"/>'
        )
        title = textwrap.shorten(item.title, int((width - 2 * _PAD) / _LETTER), placeholder="…")
        parts.append(_text(left + _PAD, top + 14, title, "quiet"))
        for number, rank in enumerate(item.ranks):
            row, column = divmod(number, columns)
            x, y = left + _PAD + column * cell, top + _LINE + row * _CELL_HEIGHT
            parts += _cell(picture, dim, rank, (x, y, cell), told)
        left += width + _PAD
    return parts, top + height


def _cell(
    picture: Picture,
    dim: MeshDim,
    rank: int | Gap,
    place: tuple[float, float, float],
    told: float,
) -> Iterator[str]:
    x, y, width = place
    label = _text(x + width / 2, y + 17, picture.label(dim, rank), 'c" text-anchor="middle')
    if isinstance(rank, Gap):
        yield label
        return
    place_text, *groups = picture.details(rank)
    marks = ", ".join(f"{group.partition(':')[0]}" for group in groups)
    name = "\n".join([place_text, *groups])
    kind = "cell me" if rank == picture.rank else "cell"
    shade = shade_of(picture.group_number(dim, rank))
    yield f'<g class="{kind} s{shade}" tabindex="0" role="img" aria-label={quoteattr(name)}>'
    yield f"<title>{escape(name)}</title>"
    yield f'<rect x="{x + 1:g}" y="{y + 1:g}" width="{width - 2:g}" height="{_CELL_HEIGHT - 2}" rx="3"/>'
    yield label
    yield _text(_MARGIN, told, f"{place_text}; {picture.group_text(dim, rank)}", "told")
    yield _text(_MARGIN, told + _TOLD, f"its groups: {marks}", "told")
    yield "</g>"


def _wrapped(text: str, letter: float) -> list[str]:
    """Cut a text into lines, given the width of a letter."""
    return textwrap.wrap(text, int((WIDTH - 2 * _MARGIN) / letter))


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def _shades() -> str:
    return "".join(
        f"  .mesh .s{number} rect {{ fill: {back}; }} .mesh .s{number} .c {{ fill: {front}; }}\n"
        for number, (back, front) in enumerate(COLOURS)
    )
