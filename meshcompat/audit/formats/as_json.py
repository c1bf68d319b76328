"""Findings for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from meshcompat import _release
from meshcompat.audit.releases import ALL, ordered
from meshcompat.audit.values import Confidence

if TYPE_CHECKING:
    from meshcompat.audit.findings import Finding
    from meshcompat.audit.formats.request import Request
    from meshcompat.audit.report import Part
    from meshcompat.audit.verdict import Verdict


def render(request: Request) -> str:
    """Return the whole as one JSON object."""
    asked = (
        ALL if not request.parts else frozenset().union(*(part.releases for part in request.parts))
    )
    with_guarded = request.settings.confidence is Confidence.LOW
    data: dict[str, Any] = {
        "meshcompat": _release.own_version(),
        "torch": str(request.settings.torch)
        if request.settings.torch is not None
        else _declared(request),
        "releases": ordered(asked),
        "findings": [
            _finding(one, part)
            for part in request.parts
            for one in _listed(part, with_guarded=with_guarded)
        ],
        "projects": [_project(one, part) for part in request.parts for one in part.verdicts],
        "files": sum(part.survey.files for part in request.parts),
        "skipped": [
            {"path": one.path, "reason": one.reason}
            for part in request.parts
            for one in part.survey.problems
        ],
    }
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def _declared(request: Request) -> str:
    """Return what the one project declares; nothing where there are several, whose ranges differ."""
    texts = {verdict.declared.text for part in request.parts for verdict in part.verdicts}
    return texts.pop() if len(texts) == 1 else ""


def _listed(part: Part, *, with_guarded: bool) -> list[Finding]:
    found = [*part.findings, *(part.guarded if with_guarded else ())]
    return sorted(found, key=lambda one: (one.path, *one.span, one.code, one.name))


def _finding(one: Finding, part: Part) -> dict[str, Any]:  # noqa: ARG001  (a path is relative to the folder of the part)
    return {
        "path": one.path,
        "line": one.span.line,
        "column": one.span.column,
        "end_line": one.span.end_line,
        "end_column": one.span.end_column,
        "code": one.code,
        "name": one.name,
        "message": one.message,
        "confidence": one.confidence.word,
        "guarded": one.is_guarded,
        "fails_on": ordered(one.fails_on),
        "warns_on": ordered(one.warns_on),
        "wrong_on": ordered(one.wrong_on),
        "replacement": one.replacement,
        "fixable": one.fixable,
        "link": one.link,
    }


def _project(one: Verdict, part: Part) -> dict[str, Any]:  # noqa: ARG001
    return {
        "path": one.path,
        "name": one.name,
        "declares": one.declared.text or None,
        "runs_on": ordered(one.runs_on),
        "because": [
            {"path": site.path, "line": site.span.line, "code": site.code} for site in one.because
        ],
    }
