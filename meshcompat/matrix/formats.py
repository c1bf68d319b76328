"""The rows as text, JSON, TOML, or an output of a GitHub job."""

from __future__ import annotations

import json
import shlex
import textwrap
from typing import TYPE_CHECKING, Any

from meshcompat import _output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshcompat.matrix.releases import Row


def _text(rows: Sequence[Row]) -> str:
    """Return a line for each row; the reasons and notes stand below, once each."""
    cells = [
        ("torch", "python", "has wheels for", "needs"),
        *((row.torch, row.python, _wheels(row), " ".join(row.pins)) for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    told = {pin: why for row in rows for pin, why in zip(row.pins, row.reasons, strict=True)}
    told |= {f"torch {row.torch}": row.note for row in rows if row.note}
    lines += [""] if told else []
    for what, why in told.items():
        lines += textwrap.wrap(f"{what}: {why}", _output.width(), subsequent_indent="  ")
    return "\n".join(lines) + "\n"


def _wheels(row: Row) -> str:
    return f"{row.oldest_python} to {row.newest_python}"


def _as_data(row: Row) -> dict[str, Any]:
    return {
        "torch": row.torch,
        "python": row.python,
        "oldest_python": row.oldest_python,
        "newest_python": row.newest_python,
        "requirements": row.requirements,
        "pins": list(row.pins),
        "reasons": list(row.reasons),
        "note": row.note,
    }


def _json(rows: Sequence[Row]) -> str:
    return json.dumps([_as_data(row) for row in rows], indent=2) + "\n"


def _github(rows: Sequence[Row]) -> str:
    """Return one line for ``$GITHUB_OUTPUT``: a matrix, whose cells a shell can take as they are."""
    include = [
        {"torch": row.torch, "python": row.python, "requirements": shlex.join(row.requirements)}
        for row in rows
    ]
    return f"matrix={json.dumps({'include': include})}\n"


def _toml(rows: Sequence[Row]) -> str:
    """Return an array of tables; strings, and lists of strings, of JSON are those of TOML."""
    lines = [
        "    { " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in _as_data(row).items())
        for row in rows
    ]
    return "\n".join(["rows = [", *(f"{line} }}," for line in lines), "]"]) + "\n"


FORMATS: dict[str, Callable[[Sequence[Row]], str]] = {
    "text": _text,
    "json": _json,
    "github": _github,
    "toml": _toml,
}
"""How rows are written, by the name of the format."""
