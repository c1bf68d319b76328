"""A picture as one HTML file, or as the part of one that a notebook shows. No script."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from meshcompat import _layout
from meshcompat._drawing.palette import COLOURS, shade_of
from meshcompat._drawing.picture import Cells, Gap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat._drawing.picture import MeshDim, Picture

RANKS = 128
"""Ranks that are drawn of a mesh dim, about."""

_STYLE = """
.mesh { --ink: #1a1a1a; --paper: #fff; --quiet: #595959; --edge: #767676; color: var(--ink);
  background: var(--paper); font: 13px/1.4 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  padding: 12px; }
.mesh h1 { font-size: 17px; margin: 0 0 4px; } .mesh h2 { font-size: 13px; margin: 0 0 6px; }
.mesh p { margin: 0 0 4px; color: var(--quiet); } .mesh section { margin-top: 22px; position: relative; }
.mesh h1, .mesh h2, .mesh p { overflow-wrap: anywhere; color: var(--ink); background: none; }
.mesh .boxes { display: flex; flex-wrap: wrap; gap: 8px; align-items: flex-start; }
.mesh .box { border: 1px solid var(--edge); border-radius: 4px; padding: 2px 6px 6px; max-width: 100%;
  box-sizing: border-box; }
.mesh .box > b, .mesh .more { color: var(--quiet); font-weight: normal; overflow-wrap: anywhere; }
.mesh .more { flex-basis: 100%; } .mesh .cells { display: grid; gap: 2px; max-width: 100%;
  --step: calc(var(--cell) + 12px); width: calc(var(--columns) * (var(--step) + 2px));
  grid-template-columns: repeat(auto-fill, minmax(var(--step), 1fr)); }
.mesh .cell { border: 2px solid transparent; border-radius: 3px; padding: 1px 4px; text-align: center;
  white-space: nowrap; cursor: default; }
.mesh .cell.me { border-color: var(--ink); }
.mesh .cell:hover, .mesh .cell:focus { border-color: var(--ink); border-style: dashed; outline: none; }
.mesh .told { display: none; position: absolute; left: 0; right: 0; z-index: 1; margin-top: 6px;
  padding: 6px 8px; border: 1px solid var(--edge); border-radius: 4px; color: var(--ink);
  background: var(--paper); white-space: pre-wrap; overflow-wrap: anywhere; text-align: left;
  pointer-events: none; box-shadow: 0 2px 8px #0006; }
.mesh .cell:hover .told, .mesh .cell:focus .told { display: block; }
.mesh:has(.cell:hover) .cell:focus:not(:hover) .told { display: none; }
@media (prefers-color-scheme: dark) {
  .mesh { --ink: #f0f0f0; --paper: #16181d; --quiet: #b0b0b0; --edge: #8a8a8a; }
}
@media (max-width: 480px) { .mesh .cells { --columns: 4 !important; } }
@media print { .mesh { --ink: #000; --paper: #fff; print-color-adjust: exact; }
  .mesh .box { break-inside: avoid; } }
"""

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>html, body {{ margin: 0; background: #fff; }}
@media (prefers-color-scheme: dark) {{ html, body {{ background: #16181d; }} }}</style>
</head>
<body>
{part}</body>
</html>
"""


def page_of(picture: Picture) -> str:
    """Return the picture as the text of an HTML file."""
    return _PAGE.format(title=html.escape(picture.title), part=part_of(picture))


def part_of(picture: Picture) -> str:
    """Return the picture as a part of an HTML page."""
    lines = [
        '<div class="mesh">',
        f"<style>{_STYLE}{_shades()}</style>",
        f"<h1>{html.escape(picture.title)}</h1>",
        *(f"<p>{html.escape(note)}</p>" for note in picture.notes),
    ]
    for dim in picture.dims:
        lines += _section(picture, dim)
    return "\n".join([*lines, "</div>\n"])


def _section(picture: Picture, dim: MeshDim) -> Iterator[str]:
    yield "<section>"
    yield f"<h2>{html.escape(picture.headline(dim))}</h2>"
    if _layout.size_of(dim.axes) > 1:
        items = picture.folded(dim, RANKS)
        ranks = [rank for item in items if isinstance(item, Cells) for rank in item.ranks]
        longest = max(len(picture.label(dim, rank)) for rank in ranks)
        yield f'<div class="boxes" style="--cell: {longest}ch">'
        for item in items:
            if isinstance(item, Gap):
                yield f'<div class="more">… {html.escape(str(item))} …</div>'
            else:
                yield from _box(picture, dim, item)
        yield "</div>"
    yield "</section>"


def _box(picture: Picture, dim: MeshDim, box: Cells) -> Iterator[str]:
    columns = min(len(box.ranks), 8)
    yield f'<div class="box"><b>{html.escape(box.title)}</b>'
    yield f'<div class="cells" style="--columns: {columns}">'
    for rank in box.ranks:
        if isinstance(rank, Gap):
            yield f'<span class="more">{picture.label(dim, rank)}</span>'
            continue
        group = picture.group_number(dim, rank)
        kind = "cell me" if rank == picture.rank else "cell"
        told = html.escape("\n".join(picture.details(rank)))
        yield (
            f'<div class="{kind} s{shade_of(group)}" tabindex="0" role="img" aria-label="{told}">'
            f'{picture.label(dim, rank)}<div class="told" aria-hidden="true">{told}</div></div>'
        )
    yield "</div></div>"


def _shades() -> str:
    return "".join(
        f".mesh .s{number} {{ background: {back}; color: {front}; }}\n"
        for number, (back, front) in enumerate(COLOURS)
    )
