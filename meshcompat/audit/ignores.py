"""``# meshcompat: ignore[...]`` comments."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshcompat.audit.findings import Finding
from meshcompat.audit.source import Span
from meshcompat.audit.values import Confidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from meshcompat.audit.source import Source

_IGNORE = re.compile(r"#\s*meshcompat:\s*ignore(?:\[(?P<codes>[\w\s,]*)\])?(?![\w\[])")


@dataclass(eq=False)
class Ignore:
    """One comment."""

    path: str
    span: Span
    codes: frozenset[str]
    """Empty where it silences every rule."""
    used: set[str] = field(default_factory=set)
    in_test: bool = False
    project: str = "."

    def covers(self, finding: Finding) -> bool:
        """Whether it stands on the line of a finding and names its rule."""
        return finding.span.line == self.span.line and (
            not self.codes or finding.code.startswith(tuple(self.codes))
        )

    @property
    def idle(self) -> frozenset[str]:
        """The codes that silence nothing, or all of the comment where it names none."""
        return (
            self.codes - self.used if self.codes else frozenset() if self.used else frozenset({""})
        )


def find(source: Source) -> list[Ignore]:
    """Return the comments of a file; what stands in a string is none."""
    if "meshcompat:" not in source.text:
        return []
    found = []
    for line, column, text in _comments(source.text):
        matched = _IGNORE.search(text)
        if matched is not None:
            codes = frozenset(re.findall(r"\w+", (matched["codes"] or "").upper()))
            start = column + matched.start() + 1
            span = Span(line, start, line, start + len(matched[0]))
            found.append(
                Ignore(source.path, span, codes, in_test=source.is_test, project=source.project)
            )
    return found


def _comments(text: str) -> Iterator[tuple[int, int, str]]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.start[1], token.string
    except (tokenize.TokenError, SyntaxError, ValueError):
        return


def apply(
    findings: Iterable[Finding], ignores: list[Ignore]
) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that no comment silences, and a finding for each comment that silences nothing."""
    by_file: dict[str, list[Ignore]] = {}
    for ignore in ignores:
        by_file.setdefault(ignore.path, []).append(ignore)
    kept = []
    for finding in findings:
        covering = [one for one in by_file.get(finding.path, ()) if one.covers(finding)]
        for one in covering:
            one.used |= {code for code in one.codes if finding.code.startswith(code)} or {""}
        if not covering:
            kept.append(finding)
    idle = [_idle(ignore, code) for ignore in ignores for code in sorted(ignore.idle)]
    return kept, idle


def _idle(ignore: Ignore, code: str) -> Finding:
    what = f"this ignore of {code}" if code else "this ignore"
    return Finding(ignore.path, ignore.span, "MC003", code or "ignore", f"{what} silences nothing: take it away",
                   Confidence.HIGH, in_test=ignore.in_test, project=ignore.project)  # fmt: skip
