"""Findings as workflow commands, which GitHub shows beside the lines of a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit.formats.as_text import verdict_lines
from meshcompat.audit.formats.places import from_here

if TYPE_CHECKING:
    from meshcompat.audit.findings import Finding
    from meshcompat.audit.formats.request import Request
    from meshcompat.audit.report import Part


def render(request: Request) -> str:
    """Return a command a line, and the verdicts as notices."""
    lines = [_command(one, part) for part in request.parts for one in part.findings]
    for part in request.parts:
        lines += [f"::notice title=meshcompat::{_data(line)}" for line in verdict_lines(part)]
    return "".join(f"{line}\n" for line in lines)


def _command(one: Finding, part: Part) -> str:
    level = "error" if one.fails_on or one.wrong_on or one.code.startswith("MC0") else "warning"
    span = one.span
    properties = {
        "file": from_here(part.shown(one.path)),
        "line": span.line,
        "endLine": span.end_line,
        "title": one.code,
    }
    if span.line == span.end_line:  # GitHub refuses columns of what spans lines
        properties |= {"col": span.column, "endColumn": span.end_column}
    words = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    text = one.message + (f"; instead: {one.replacement}" if one.replacement else "")
    return f"::{level} {words}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
