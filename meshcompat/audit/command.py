"""Running the command: arguments in, text and an exit code out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from meshcompat.api import table
from meshcompat.audit import baseline, explain, rules, settings
from meshcompat.audit.formats import FORMATS
from meshcompat.audit.formats.request import Request
from meshcompat.audit.releases import newer, within
from meshcompat.audit.report import Part, audit, with_findings

if TYPE_CHECKING:
    import argparse


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Audit what the arguments ask for, and return the exit code."""
    try:
        return _run(arguments)
    except (settings.SettingsError, baseline.BaselineError) as error:
        sys.stderr.write(f"{parser.prog}: error: {error}\n")
        return 2
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if arguments.rules:
        sys.stdout.write(explain.listing())
        return 0
    if arguments.explain is not None:
        rule = rules.named(arguments.explain)
        if rule is None:
            raise settings.SettingsError(
                f"no rule {arguments.explain!r}; `meshcompat audit --rules` lists them"
            )
        sys.stdout.write(explain.explain(rule))
        return 0
    paths = arguments.paths or [Path()]
    for path in paths:
        if not path.exists():
            raise settings.SettingsError(f"{path}: no such file or folder")
    chosen = settings.read(arguments, paths[0])
    notes = _notes(chosen)
    parts = [audit(path, chosen) for path in paths]
    if arguments.write_baseline is not None:
        return _write_baseline(arguments.write_baseline, parts)
    if chosen.baseline is not None:
        known = baseline.read(chosen.baseline)
        parts = [
            with_findings(part, baseline.unknown(part.findings, known, part.line_of))
            for part in parts
        ]
    if arguments.format != "text":
        sys.stderr.write("".join(f"{note}\n" for note in notes))
    request = Request(parts, chosen, _has_colour(arguments), notes)
    _write(arguments.output, FORMATS[arguments.format](request))
    found = any(part.findings for part in parts)
    return 1 if found and not arguments.exit_zero else 0


def _notes(chosen: settings.Settings) -> list[str]:
    """Return what is to be said of the releases that were asked about."""
    if chosen.torch is None:
        return []
    known = table.releases()
    if not within(chosen.torch):
        asked = str(chosen.torch)
        raise settings.SettingsError(
            f"--torch: {asked!r} fits no release that is known ({known[0]} to {known[-1]})"
        )
    version = newer(chosen.torch)
    return (
        [f"torch {version} is newer than what this meshcompat knows: it counts as {known[-1]}"]
        if version
        else []
    )


def _write_baseline(path: Path, parts: list[Part]) -> int:
    by_finding = {id(finding): part for part in parts for finding in part.findings}
    findings = [finding for part in parts for finding in part.findings]
    try:
        count = baseline.write(
            path, findings, lambda finding: by_finding[id(finding)].line_of(finding)
        )
    except OSError as error:
        raise settings.SettingsError(f"{path}: cannot be written: {error.strerror}") from None
    sys.stderr.write(f"{path}: {count} known findings written\n")
    return 0


def _has_colour(arguments: argparse.Namespace) -> bool:
    return (
        arguments.format == "text"
        and arguments.output is None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
    )


def _write(path: Path | None, text: str) -> None:
    if path is None:
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace")) if hasattr(
            sys.stdout, "buffer"
        ) else sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise settings.SettingsError(f"{path}: cannot be written: {error.strerror}") from None
