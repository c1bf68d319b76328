"""Findings for people: one a paragraph, the verdict of each project last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit.values import Confidence
from meshcompat.audit.verdict import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshcompat.audit.findings import Finding
    from meshcompat.audit.formats.request import Request
    from meshcompat.audit.report import Part
    from meshcompat.audit.verdict import Verdict

    Paint = Callable[[str, str], str]

_BOLD, _RED, _YELLOW, _GREEN, _DIM, _PLAIN = (
    "\x1b[1m",
    "\x1b[31m",
    "\x1b[33m",
    "\x1b[32m",
    "\x1b[2m",
    "\x1b[0m",
)


def render(request: Request) -> str:
    """Return the whole text."""
    paint: Paint = _paint if request.colour else lambda text, _: text
    lines: list[str] = []
    for part in request.parts:
        for finding in part.findings:
            lines += _finding(finding, part, paint)
            if request.is_fixing and finding.left:
                lines.append(f"    {paint('not rewritten:', _DIM)} {finding.left}")
    lines += [""] if lines else []
    for part in request.parts:
        lines += _verdicts(part, paint)
    total = sum(len(part.findings) for part in request.parts)
    files = sum(part.survey.files for part in request.parts)
    fixable = sum(finding.fixable for part in request.parts for finding in part.findings)
    rewrites = f"; --fix rewrites {fixable} of them" if fixable and not request.is_fixing else ""
    lines.append(f"{counted(total, 'finding')} in {counted(files, 'file')}{rewrites}")
    lines += request.notes
    return "\n".join(lines) + "\n"


def _finding(finding: Finding, part: Part, paint: Paint) -> Iterator[str]:
    place = f"{part.shown(finding.path)}:{finding.span.line}:{finding.span.column}:"
    colour = _RED if finding.fails_on or finding.wrong_on else _YELLOW
    sure = (
        "" if finding.confidence is Confidence.HIGH else f" ({finding.confidence.word} confidence)"
    )
    yield f"{paint(place, _BOLD)} {paint(finding.code, colour)} {finding.message}{sure}"
    if finding.replacement:
        yield f"    {paint('instead:', _DIM)} {finding.replacement}"


def verdict_lines(part: Part) -> list[str]:
    """Return the verdicts of a part, without colour."""
    return list(_verdicts(part, lambda text, _: text))


def _verdicts(part: Part, paint: Paint) -> Iterator[str]:
    for verdict in part.verdicts:
        if not verdict.because and not verdict.count:
            yield f"{_name(verdict)}: {paint('nothing found', _GREEN)}; {verdict.text}"
            continue
        sites = [
            f"{one.name} at {part.shown(one.path)}:{one.span.line} {needs(one, verdict.asked)}"
            for one in verdict.because
        ]
        text = f"{_name(verdict)}: {verdict.text}"
        yield f"{paint(text, _BOLD)}{': ' if sites else ''}{'; '.join(sites)}"


def _name(verdict: Verdict) -> str:
    return (
        verdict.name if verdict.path in (".", verdict.name) else f"{verdict.name} ({verdict.path})"
    )


def counted(number: int, word: str) -> str:
    """Return a number with its word, in the plural where it is not 1."""
    return f"{number} {word}" + ("" if number == 1 else "s")


def _paint(text: str, colour: str) -> str:
    return f"{colour}{text}{_PLAIN}"
