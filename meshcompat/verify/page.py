"""The report as a page that opens from disk: one file, no script, nothing from elsewhere."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from meshcompat import MeshLayout, show
from meshcompat.verify.report import FAILED, NOT_DONE, OK
from meshcompat.verify.tables import tables_of

if TYPE_CHECKING:
    from meshcompat.verify.report import Report
    from meshcompat.verify.tables import Table

_WIDE = 10_000

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #8884; }
.number { text-align: right; }
.wide { overflow-x: auto; }
.ok, .right { color: #18794e; } .failed, .wrong { color: #cd2b31; font-weight: bold; }
@media (prefers-color-scheme: dark) { .ok, .right { color: #4cc38a; } .failed, .wrong { color: #ff8589; } }
.legend { opacity: .75; }
"""


def html(report: Report) -> str:
    """Return the whole page."""
    verdict = "right" if report.is_ok else "wrong"
    parts = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="{verdict}">{escape(report.summary)}</p>',
        f"<p>{escape(report.circumstances)}<br>{escape(report.subtitle)}</p>",
        _listed(report.failure_texts, "failed"),
        _listed([*report.caution_texts, *report.notes], ""),
        *(_table(table) for table in tables_of(report, _WIDE)),
        f'<div class="wide">{_picture(report)}</div>',
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _picture(report: Report) -> str:
    """Draw the groups of every mesh dim of the root, on the hosts that the ranks were on."""
    shape = report.plan.shape
    strides = [math.prod(shape[index + 1 :]) for index in range(len(shape))]
    axes = [((size, stride),) for size, stride in zip(shape, strides, strict=True)]
    dims = tuple(() if size == 1 else pairs for size, pairs in zip(shape, axes, strict=True))
    hosts = [member.identity.host for member in report.roll.members if member.identity is not None]
    nodes = hosts if len(hosts) == report.plan.world_size else None
    return show(MeshLayout(shape, dims, report.plan.names), nodes=nodes).svg()


def _listed(texts: list[str], style: str) -> str:
    if not texts:
        return ""
    items = "".join(f'<li class="{style}">{escape(text)}</li>' for text in texts)
    return f"<ul>{items}</ul>"


def _table(table: Table) -> str:
    kinds = [' class="number"' if name in table.numbers else "" for name in table.headings]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for kind, name in zip(kinds, table.headings, strict=True)
    )
    rows = "\n".join("<tr>" + "".join(map(_cell, kinds, cells)) + "</tr>" for cells in table.rows)
    legend = "<br>".join(map(escape, table.legend))
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>'
        f'</div>\n<p class="legend">{legend}</p>'
    )


def _cell(kind: str, text: str) -> str:
    state = {OK: ' class="ok"', FAILED: ' class="failed"', NOT_DONE: ' class="failed"'}
    return f"<td{state.get(text, kind)}>{escape(text)}</td>"
