"""Running the command: arguments in, text and an exit code out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from meshcompat.api import table
from meshcompat.audit import baseline, explain, files, fix, given, rules, settings
from meshcompat.audit.formats import FORMATS
from meshcompat.audit.formats.as_text import counted
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
    paths = _paths(arguments)
    chosen = settings.read(arguments, paths[0])
    notes = _notes(chosen)
    publish = arguments.fix_published
    is_fixing = (arguments.fix or publish) and not arguments.diff
    _refuse_together(arguments, paths, is_fixing=is_fixing)
    parts = _audited(paths, chosen, known=arguments.write_baseline is None)
    if arguments.write_baseline is not None:
        return _write_baseline(arguments.write_baseline, parts)
    stayed: list[dict[str, str]] = [{} for _ in parts]
    if is_fixing:
        done = [fix.carry_out(part, publish=publish) for part in parts]
        notes = [*_rewritten(done), *notes]
        stayed = [one.stayed for one in done]
        parts = _audited(paths, chosen)
    plans = [
        fix.plan(part, publish=publish, blocked=blocked)
        for part, blocked in zip(parts, stayed, strict=True)
    ]
    parts = [planned.part for planned in plans]
    if arguments.diff:
        _write_bytes(arguments.output, b"".join(map(fix.diff, plans)))
        return 1 if any(planned.contents for planned in plans) and not arguments.exit_zero else 0
    if arguments.format != "text":
        sys.stderr.write("".join(f"{note}\n" for note in notes))
    request = Request(parts, chosen, _has_colour(arguments), is_fixing, notes)
    _write(arguments.output, FORMATS[arguments.format](request))
    found = any(part.findings for part in parts)
    return 1 if found and not arguments.exit_zero else 0


def _paths(arguments: argparse.Namespace) -> list[Path]:
    """Return the paths to read, each of which is there and of a kind that is read."""
    paths: list[Path] = arguments.paths or [Path()]
    for path in paths:
        if not path.exists():
            raise settings.SettingsError(f"{path}: no such file or folder")
        if not files.is_taken(path):
            raise settings.SettingsError(
                f"{path}: this kind of file is not read; give a folder, a .py file, a wheel or an sdist"
            )
    return paths


def _audited(paths: list[Path], chosen: settings.Settings, *, known: bool = True) -> list[Part]:
    """Return what is found in the paths, without what the baseline knows."""
    parts = [audit(one.base, chosen, one.paths) for one in given.together(paths)]
    if chosen.baseline is None or not known:
        return parts
    listed = baseline.read(chosen.baseline)
    return [
        with_findings(part, baseline.unknown(part.findings, listed, part.line_of)) for part in parts
    ]


def _refuse_together(arguments: argparse.Namespace, paths: list[Path], *, is_fixing: bool) -> None:
    """Refuse options that contradict each other, and archives that are to be rewritten."""
    if arguments.diff and arguments.fix:
        raise settings.SettingsError("--fix writes and --diff only shows: give one of them")
    if is_fixing and arguments.write_baseline is not None:
        raise settings.SettingsError("--write-baseline does not go with --fix: run them one by one")
    for path in paths:
        if is_fixing and not path.is_dir() and path.suffix != ".py":
            raise settings.SettingsError(f"{path}: no folder or .py file, which --fix rewrites")


def _rewritten(done: list[fix.Outcome]) -> list[str]:
    """Return what there is to say of what was rewritten."""
    places, findings = sum(one.places for one in done), sum(one.findings for one in done)
    count = sum(one.files for one in done)
    said = f"rewrote {counted(places, 'place')} in {counted(count, 'file')}"
    said += f", for {counted(findings, 'finding')}" if places else ""
    return [*(line for one in done for line in one.problems), said]


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
    _write_bytes(path, text.encode("utf-8", "backslashreplace"))


def _write_bytes(path: Path | None, content: bytes) -> None:
    if path is None:
        if hasattr(sys.stdout, "buffer"):
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(content.decode("utf-8", "replace"))
        sys.stdout.flush()
        return
    try:
        path.write_bytes(content)
    except OSError as error:
        raise settings.SettingsError(f"{path}: cannot be written: {error.strerror}") from None
