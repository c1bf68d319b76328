"""One run from the paths to what there is to say: findings, verdicts, and what was not read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from meshcompat.audit import given as givens
from meshcompat.audit import ignores, rules
from meshcompat.audit.findings import Finding
from meshcompat.audit.releases import ALL, Releases, within
from meshcompat.audit.survey import Survey, survey
from meshcompat.audit.values import Confidence
from meshcompat.audit.verdict import Verdict, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from meshcompat.audit.settings import Settings
    from meshcompat.audit.source import Source


@dataclass(eq=False)
class Part:
    """What was found in the paths that are read together."""

    given: Path
    """The folder that paths are relative to, or the one file or archive that was given."""
    survey: Survey
    findings: list[Finding] = field(default_factory=list)
    """Those that are asked for, in order."""
    guarded: list[Finding] = field(default_factory=list)
    """Sites whose guards cover them."""
    verdicts: list[Verdict] = field(default_factory=list)
    releases: Releases = ALL
    paths: tuple[Path, ...] = ()
    """What was given; empty where it is all of `given`."""

    def shown(self, path: str) -> str:
        """Return a path as it is opened from where the command runs."""
        if self.given.is_dir():
            return (self.given / path).as_posix()
        return (
            self.given.as_posix() if path == self.given.name else f"{self.given.as_posix()}!{path}"
        )

    def line_of(self, finding: Finding) -> str:
        """Return the text of the line of a finding."""
        source: Source | None = self.survey.sources.get(finding.path)
        if source is None or finding.span.line > len(source.lines):
            return ""
        return source.lines[finding.span.line - 1]


def audit(given: Path, settings: Settings, paths: tuple[Path, ...] = ()) -> Part:
    """Read one path, or some paths in one folder, and judge what they hold."""
    low = settings.confidence is Confidence.LOW
    files = givens.found(givens.Given(given, paths or (given,)), settings.exclude)
    read = survey(files, given, also_low=low)
    part = Part(given, read, paths=paths)
    for project in read.projects:
        asked = within(settings.torch) if settings.torch is not None else project.declared.releases
        found = rules.judge(read.sites[project.path], asked)
        own = {one.path for one in project.files.values()}
        marks = [ignore for source in project.sources for ignore in ignores.find(source)]
        findings = [finding for finding in found if not finding.is_guarded]
        kept, idle = ignores.apply(findings, marks)
        part.guarded += [finding for finding in found if finding.is_guarded]
        shown = [
            finding
            for finding in [*kept, *idle]
            if settings.wants(finding.code) and finding.confidence >= settings.confidence
        ]
        part.findings += shown
        name = project.declared.name or (
            given.resolve().name or str(given) if project.path == "." else project.path
        )
        unread = sum(one.path in own for one in read.problems)
        part.verdicts.append(
            verdict(
                project.path,
                name,
                project.declared,
                kept,
                count=len(shown) + unread,
                asked=asked,
                given=str(settings.torch or ""),
            )
        )
        part.releases = asked if len(read.projects) == 1 else part.releases
    part.findings += [
        Finding(one.path, one.span, one.code, one.code, one.reason, Confidence.HIGH)
        for one in read.problems
        if settings.wants(one.code)
    ]
    part.findings.sort(
        key=lambda finding: (finding.path, *finding.span, finding.code, finding.name)
    )
    return part


def with_findings(part: Part, findings: Sequence[Finding]) -> Part:
    """Return a part of which only some findings count."""
    kept = {id(finding) for finding in findings}
    chosen = [finding for finding in part.findings if id(finding) in kept]
    return replace(part, findings=chosen)
