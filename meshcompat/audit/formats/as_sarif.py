"""Findings as SARIF 2.1.0, which code scanning takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from meshcompat import _release
from meshcompat.audit.formats.places import from_here
from meshcompat.audit.releases import ordered
from meshcompat.audit.rules import RULES
from meshcompat.audit.values import Confidence

if TYPE_CHECKING:
    from meshcompat.audit.findings import Finding
    from meshcompat.audit.formats.request import Request
    from meshcompat.audit.report import Part

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def render(request: Request) -> str:
    """Return one run as SARIF."""
    run = {
        "tool": {
            "driver": {
                "name": "meshcompat",
                "version": _release.own_version(),
                "rules": [_rule(rule) for rule in RULES],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, part) for part in request.parts for one in part.findings],
    }
    return (
        json.dumps(
            {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1, ensure_ascii=False
        )
        + "\n"
    )


def _rule(rule: Any) -> dict[str, Any]:
    described = {
        "id": rule.code,
        "name": rule.__name__,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
    }
    return described | ({"helpUri": rule.link} if rule.link else {})


def _result(one: Finding, part: Part) -> dict[str, Any]:
    codes = [rule.code for rule in RULES]
    text = one.message + (f"; instead: {one.replacement}" if one.replacement else "")
    region = {
        "startLine": one.span.line,
        "startColumn": one.span.column,
        "endLine": one.span.end_line,
        "endColumn": one.span.end_column,
    }
    place = {"artifactLocation": {"uri": _uri(part.shown(one.path))}, "region": region}
    return {
        "ruleId": one.code,
        "ruleIndex": codes.index(one.code),
        "level": _level(one),
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"meshcompat/v1": f"{one.path}:{one.code}:{one.name}"},
        "properties": {
            "confidence": one.confidence.word,
            "fails_on": ordered(one.fails_on),
            "warns_on": ordered(one.warns_on),
            "wrong_on": ordered(one.wrong_on),
        },
    }


def _uri(path: str) -> str:
    here = from_here(path)
    return Path(here).as_uri() if Path(here).is_absolute() else quote(here)


def _level(one: Finding) -> str:
    if one.confidence is Confidence.LOW:
        return "note"
    return "error" if one.fails_on or one.wrong_on or one.code.startswith("MC0") else "warning"
