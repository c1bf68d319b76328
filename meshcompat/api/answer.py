"""What ``meshcompat api`` says of names: all of one, a line of each of many, or that there is none."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from meshcompat import _output
from meshcompat.api import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meshcompat.api.table import Name

_WIDEST = 100


def document(name: Name) -> dict[str, Any]:
    """Return what is known of a name, as JSON has it."""
    return {
        "name": name.name,
        "kind": name.kind,
        "definition": name.definition,
        "releases": list(name.releases),
        "missing": [release for release in table.releases() if release not in name.releases],
        "parameters": {key: list(where) for key, where in name.parameters.items()},
        "warns": list(name.warns),
        "replacement": name.replacement,
        "link": name.link,
    }


def in_full(name: Name, installed: str | None) -> str:
    """Return all that is known of one name, a line for each kind of answer."""
    lines = _wrapped(name.name, "", "  ")
    kind = f"  ({name.kind})"
    lines[-1:] = [lines[-1] + kind] if len(lines[-1] + kind) <= _width() else [lines[-1], kind]
    missing = [release for release in table.releases() if release not in name.releases]
    rows = [
        ("defined as", name.definition if name.definition != name.name else ""),
        ("exists on", f"torch {table.spans(name.releases)}"),
        ("missing on", f"torch {table.spans(missing)}" if missing else ""),
        ("warns on", f"torch {table.spans(name.warns)}" if name.warns else ""),
        ("parameters", _parameters(name)),
        ("instead", name.replacement or ""),
        ("source", name.link or ""),
        ("installed", _of_installed(name, installed) if installed else ""),
    ]
    for label, text in rows:
        lines += _row(label, text) if text else []
    return "\n".join(lines) + "\n"


def in_lines(names: Sequence[Name]) -> str:
    """Return a line for each name: the path, the releases that have it, those that warn."""
    cells = [(table.short_of(name.name), _when(name)) for name in names]
    widest = max(len(path) for path, _ in cells)
    if widest + 2 + max(len(when) for _, when in cells) <= _width():
        lines = [f"{path:<{widest}}  {when}" for path, when in cells]
    else:
        lines = [line for path, when in cells for line in (path, f"    {when}")]
    return "\n".join([*lines, "", _count(len(names))]) + "\n"


def nothing(asked: str) -> str:
    """Say that no release has a name, and what comes near."""
    if table.is_special(asked):
        return (
            f"{asked!r} is not in the table, which does not say whether torch has it: of special "
            f"methods it lists {', '.join(table.special_methods())}, where torch's source has them\n"
        )
    known: dict[str, list[str]] = {}
    for name in table.matching(""):
        short = table.short_of(name.name)
        known.setdefault(short.rpartition(".")[2], []).append(short)
    words = difflib.get_close_matches(asked.rpartition(".")[2], known, n=2)
    near = [known[word][0] for word in words]
    hint = f"; did you mean {' or '.join(near)}?" if near else "; '' lists all names that are known"
    return f"no release of torch from {_oldest()} to {_newest()} has {asked!r} about meshes{hint}\n"


def _parameters(name: Name) -> str:
    return ", ".join(
        parameter if where == name.releases else f"{parameter} ({table.spans(where)})"
        for parameter, where in name.parameters.items()
    )


def _of_installed(name: Name, installed: str) -> str:
    release = table.known_release(installed)
    says = "exists" if release in name.releases else "does not exist"
    says += ", and warns" if release in name.warns else ""
    newer = f" (read as {release}, the newest that is known)" if table.is_newer(installed) else ""
    return f"torch {installed}: {says}{newer}"


def _when(name: Name) -> str:
    warns = f", warns {table.spans(name.warns)}" if name.warns else ""
    return f"{table.spans(name.releases)}{warns}"


def _row(label: str, text: str) -> Iterable[str]:
    start = f"  {label:<12}"
    return _wrapped(text, start, " " * len(start))


def _wrapped(text: str, start: str, below: str) -> list[str]:
    """Fill lines with words; a path that is too long for one is broken at its dots."""
    lines, is_empty = [start], True
    for word in text.split():
        gap = "" if is_empty else " "
        for piece in _pieces(word, _width() - len(below)):
            if not is_empty and len(lines[-1] + gap + piece) > _width():
                lines.append(below)
                gap = ""
            lines[-1] += gap + piece
            gap, is_empty = "", False
    return lines


def _pieces(word: str, room: int) -> list[str]:
    is_whole = len(word) <= room or "://" in word
    return [word] if is_whole else re.findall(r"[^.]+\.?", word)


def _width() -> int:
    return min(_output.width(), _WIDEST)


def _count(number: int) -> str:
    return f"{number} names; torch {_oldest()} to {_newest()} are known"


def _oldest() -> str:
    return table.releases()[0]


def _newest() -> str:
    return table.releases()[-1]
