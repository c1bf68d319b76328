"""What a plan changes, as a unified diff that ``git apply`` and ``patch -p1`` take."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.fix.plan import Plan


def diff(plan: Plan) -> bytes:
    """Return the differences of all files, in the bytes of the files."""
    return b"".join(piece for path in sorted(plan.contents) for piece in _of_file(path, plan))


def _of_file(path: str, plan: Plan) -> Iterator[bytes]:
    old, new = plan.pages[path].found.content, plan.contents[path]
    shown = plan.part.shown(path).encode("utf-8", "surrogateescape").lstrip(b"/")
    lines = difflib.diff_bytes(
        difflib.unified_diff, _lines(old), _lines(new), b"a/" + shown, b"b/" + shown
    )
    for line in lines:
        yield line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n"


def _lines(content: bytes) -> list[bytes]:
    """Return the lines as `patch` counts them, which is by line feeds only."""
    return [line + b"\n" for line in content.split(b"\n")[:-1]] + [
        line for line in content.split(b"\n")[-1:] if line
    ]
