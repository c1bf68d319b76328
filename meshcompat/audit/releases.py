"""Sets of torch releases: one release a minor, its newest patch."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from meshcompat.api import table

if TYPE_CHECKING:
    from collections.abc import Iterable


Releases = frozenset[str]

ORDER: tuple[str, ...] = table.newest_patches()
ALL: Releases = frozenset(ORDER)
NONE: Releases = frozenset()


def ordered(releases: Iterable[str]) -> list[str]:
    """Return releases oldest first."""
    chosen = frozenset(releases)
    return [release for release in ORDER if release in chosen]


def since(first: str, last: str | None = None) -> Releases:
    """Return the releases from one minor to another, such as ``since("2.5", "2.9")``."""
    minors = [release.rpartition(".")[0] for release in ORDER]
    end = minors.index(last) + 1 if last else len(minors)
    return frozenset(ORDER[minors.index(first) : end])


@functools.cache
def spans(releases: Releases) -> str:
    """Return releases in few words, such as ``2.5 to 2.9 and from 2.13``."""
    runs: list[list[str]] = []
    for index, release in enumerate(ORDER):
        if release not in releases:
            continue
        if runs and ORDER[index - 1] == runs[-1][-1]:
            runs[-1].append(release)
        else:
            runs.append([release])
    words = [_span(run) for run in runs]
    return (
        "none"
        if not words
        else " and ".join([", ".join(words[:-1])] * bool(words[1:]) + words[-1:])
    )


def _span(run: list[str]) -> str:
    first, last = (release.rpartition(".")[0] for release in (run[0], run[-1]))
    if run[0] == ORDER[0] and run[-1] == ORDER[-1]:
        return "all"
    if run[-1] == ORDER[-1]:
        return f"from {first}" if first != last else first
    return first if first == last else f"{first} to {last}"


def within(spec: SpecifierSet) -> Releases:
    """Return the minors of which some known patch fulfils a specifier; the newest for what is newer than the table.

    A local version such as ``==2.10.0+cpu`` counts as the release that it was built from.
    """
    public = SpecifierSet(re.sub(r"\+[\w.]+", "", str(spec)))
    fitting = list(public.filter(table.releases(), prereleases=True))
    if not fitting and newer(spec):
        return frozenset({ORDER[-1]})
    return frozenset(_minor(release) for release in fitting) & ALL


def newer(spec: SpecifierSet) -> str:
    """Return a version that a specifier names and that is newer than the table, or nothing."""
    named = (
        part.version.rstrip(".*")
        for part in spec
        if part.operator in {">=", ">", "==", "~=", "==="}
    )
    return next((version for version in named if table.is_newer(version)), "")


def _minor(release: str) -> str:
    wanted = release.rpartition(".")[0]
    return next(newest for newest in ORDER if newest.rpartition(".")[0] == wanted)
