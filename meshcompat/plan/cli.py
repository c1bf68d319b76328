"""The way in of ``meshcompat plan``."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from meshcompat._errors import MeshCompatError
from meshcompat._output import OutputError, wants_colour
from meshcompat.plan.arguments import add_arguments, read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from meshcompat.plan.report import Line, Plan
    from meshcompat.plan.request import Request

__all__ = ["add_arguments", "run"]

_STYLES = {"head": "bold", "quiet": "dim", "warning": "yellow"}


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Plan what the arguments ask for, and return the exit code."""
    try:
        request, output = read(arguments)
    except ValueError as error:
        parser.error(str(error))
    # Help does not wait for what draws and counts.
    from meshcompat.plan import report  # noqa: PLC0415

    try:
        plan = report.plan_of(request)
    except MeshCompatError as error:
        if not output.is_check:
            _refuse(request, error, as_json=output.as_json)
        return 1
    if output.is_check:
        return 0
    for path, kind in ((output.svg, "svg"), (output.html, "html")):
        if path is not None:
            _draw(plan, path, kind)
    if output.as_json:
        sys.stdout.write(f"{json.dumps(report.document_of(plan))}\n")
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # names that a terminal cannot show
        _print(report.lines_of(plan, shutil.get_terminal_size().columns))
    return 0


def _refuse(request: Request, error: MeshCompatError, *, as_json: bool) -> None:
    from meshcompat.plan.nearest import changes_of  # noqa: PLC0415
    from meshcompat.plan.report import refusal_document  # noqa: PLC0415

    changes = changes_of(request)
    if as_json:
        document = refusal_document(request, str(error), changes)
        sys.stdout.write(f"{json.dumps(document)}\n")
        return
    sys.stderr.write(f"does not fit: {error}\n")
    if changes:
        sys.stderr.write(f"each of these alone fits: {'; '.join(changes)}\n")


def _draw(plan: Plan, path: str, kind: str) -> None:
    from meshcompat._drawing.drawing import Drawing  # noqa: PLC0415
    from meshcompat.plan.report import picture_of  # noqa: PLC0415

    drawing = Drawing(picture_of(plan))
    text = drawing.svg() if kind == "svg" else drawing.html()
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(path, error) from error


def _print(lines: Iterable[Line]) -> None:
    """Print lines, in colour where a terminal reads them and rich is there."""
    if wants_colour():
        try:
            from rich.console import Console  # noqa: PLC0415
            from rich.text import Text  # noqa: PLC0415
        except ImportError:
            pass
        else:
            console = Console(highlight=False, no_color=False)
            for line in lines:
                console.print(Text(line.text, _STYLES.get(line.kind, "")), soft_wrap=True)
            return
    for line in lines:
        sys.stdout.write(f"{line.text}\n")
