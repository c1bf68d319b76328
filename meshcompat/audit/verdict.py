"""The releases that a project's mesh code runs on, and the site that decides each end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from meshcompat.audit.releases import ALL, ORDER, Releases, newer, ordered, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcompat.audit.declared import Declared
    from meshcompat.audit.findings import Finding


@dataclass(frozen=True)
class Verdict:
    """What one project declares, and what it runs on."""

    path: str
    name: str
    declared: Declared
    runs_on: Releases
    because: tuple[Finding, ...]
    """What decides each end of the range, and each hole in it."""
    count: int
    """Findings of the project that are shown."""
    asked: Releases = ALL
    """Releases that the verdict is about."""
    given: str = ""
    """The range of `--torch` or of the settings; empty where what is declared counts."""

    @property
    def text(self) -> str:
        """The verdict in one line, without the sites."""
        declares = (
            f"declares torch{self.declared.text}"
            if self.declared.text
            else "declares no range of torch"
        )
        return f"{declares}, {f'runs on {_range(self.runs_on)}' if self.because else self._runs}"

    @property
    def _runs(self) -> str:
        """Where the mesh code runs that nothing keeps from a release."""
        asked = self.given or self.declared.text
        if not self.asked:
            return "and no release in that range is known"
        if asked and all(newer(SpecifierSet(one)) for one in asked.split(" or ")):
            return (
                f"and its mesh code runs on {spans(self.asked)}, the newest release that is known"
            )
        where = (
            f"in the range {self.given}" if self.given else "in that range" if asked else "of torch"
        )
        return f"and its mesh code runs on every known release {where}"


def verdict(
    path: str,
    name: str,
    declared: Declared,
    decisive: Sequence[Finding],
    *,
    count: int,
    asked: Releases = ALL,
    given: str = "",
) -> Verdict:
    """Return the verdict of a project, of all of its findings that fail somewhere."""
    failing = [
        finding for finding in decisive if finding.decides_range and finding.fails_on & asked
    ]
    lost = frozenset().union(*(finding.fails_on for finding in failing)) if failing else frozenset()
    runs_on = asked - lost
    because = tuple(_deciding(failing, runs_on, asked))
    return Verdict(path, name, declared, runs_on, because, count, asked, given)


def _deciding(failing: Sequence[Finding], runs_on: Releases, asked: Releases) -> list[Finding]:
    """Return a finding for each release next to the range: the one that takes most away, then the first."""
    chosen: list[Finding] = []
    order = ordered(asked)
    edges = [
        release
        for index, release in enumerate(order)
        if release not in runs_on
        and (
            (index + 1 < len(order) and order[index + 1] in runs_on)
            or (index > 0 and order[index - 1] in runs_on)
        )
    ] or [release for release in order if release not in runs_on][:1]
    for edge in edges:
        candidates = [finding for finding in failing if edge in finding.fails_on]
        best = max(candidates, key=lambda finding: (finding.confidence, len(finding.fails_on)))
        if best not in chosen:
            chosen.append(best)
    return chosen


def needs(finding: Finding, asked: Releases) -> str:
    """Return what a deciding finding asks of torch, such as ``needs 2.9``."""
    left = asked - finding.fails_on
    if not left:
        return "works on none of them"
    words = spans(left)
    return (
        f"needs {words.removeprefix('from ')}"
        if ORDER[-1] in left and " and " not in words
        else f"works on {words}"
    )


def _range(releases: Releases) -> str:
    run = ordered(releases)
    if not run:
        return "no release that is known"
    if run[-1] == ORDER[-1] and run == ordered(ORDER[ORDER.index(run[0]) :]):
        return f">={run[0].rpartition('.')[0]}"
    return spans(releases)
