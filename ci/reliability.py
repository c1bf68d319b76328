"""The tables of docs/reliability.md: what long tests counted and measured, from runs and not typed.

`reliability.py FILE...` puts the figures of runs into docs/data/reliability.json. A run writes them into the file that
MESHCOMPAT_FIGURES names, through the fixture `figure` of the tests:

    {"<release>": {"<section>": {"<figure>": value}}}

    {"2.15.0": {"programs": {"programs checked": 2000, "operations checked": 14312}}}

A section of the files replaces the stored section of that release. Where several files of one call have the same
section, as the parts of a long run do, whole numbers are counts and are added up; anything else must be the same.

Most figures are the same on every release, so a line of a table has the range, the exceptions and the releases. What no
run has told yet says "not run".
"""

import statistics
import sys
from typing import Any

import records

STORED = records.DATA / "reliability.json"
NOT_RUN = "not run"
COLUMNS = ("value", "on the releases")
SUMMARY = {
    "disagreements: kinds and culprits tried": ("disagreements", "kinds and culprits tried"),
    "ranks told who differs": ("disagreements", "ranks that were told who differs"),
    "faults survived": ("faults", "survived"),
    "programs checked": ("programs", "programs"),
    "bad inputs tried": ("bad inputs", "bad calls"),
    "cycles of gloo worlds without growth": ("cycles", "gloo worlds"),
    "a comparison of 8 ranks, ms": ("cost", "a comparison alone, ms"),
}
"""Lines of the first table, and the section and figure that each comes from."""

Value = int | float | str
Figures = dict[str, dict[str, dict[str, Value]]]


def merge(stored: Figures, runs: list[Figures]) -> Figures:
    """Return the stored figures, with the sections of the runs in place of those of that release.

    Raises:
        ValueError: Runs disagree about a figure that is no count.
    """
    fresh: Figures = {}
    for run in runs:
        for release, sections in run.items():
            for section, figures in sections.items():
                known = fresh.setdefault(release, {}).setdefault(section, {})
                for name, value in figures.items():
                    known[name] = _sum(f"{release}, {section}, {name}", known.get(name), value)
    merged = {
        release: dict(sorted({**stored.get(release, {}), **fresh.get(release, {})}.items()))
        for release in {*stored, *fresh}
    }
    return records.by_release(merged)


def _sum(what: str, known: Value | None, value: Value) -> Value:
    if known is None or (known == value and not isinstance(value, int)):
        return value
    if isinstance(known, int) and isinstance(value, int):
        return known + value
    raise ValueError(
        f"{what} is {known!r} in one run and {value!r} in another, and neither is a count"
    )


def table(part: str) -> records.Table:
    """Return the table of a section, a line for each figure, or the summary where *part* is empty."""
    stored: Figures = records.read(STORED)
    section = part.replace("-", " ")
    names = [name for told in stored.values() for name in told.get(section, ())]
    lines = {name: (section, name) for name in names} if part else SUMMARY
    body = []
    for label, (where, figure) in lines.items():
        told = {
            release: sections[where][figure]
            for release, sections in stored.items()
            if figure in sections.get(where, ())
        }
        body.append([label, *_cells(told, len(stored))])
    return [section or "figure", *COLUMNS], body or [[NOT_RUN, "", ""]]


def _cells(told: dict[str, Value], releases: int) -> list[str]:
    if not told:
        return [NOT_RUN, ""]
    return [spread(told), f"all {releases}" if len(told) == releases > 1 else ", ".join(told)]


def spread(values: dict[str, Any]) -> str:
    """Return what releases have in common, then what does not fit in with it: "19 to 23, 28 on 2.15.0"."""
    numbers = [value for value in values.values() if not isinstance(value, str)]
    most = 2 * statistics.median(numbers) + 1 if numbers else 0
    odd = {
        release: value
        for release, value in values.items()
        if not isinstance(value, str) and value > most
    }
    usual = [value for release, value in values.items() if release not in odd]
    ends = [min(usual), max(usual)] if numbers else usual
    common = " to ".join(dict.fromkeys(map(str, ends)))
    return ", ".join([common, *(f"{value} on {release}" for release, value in odd.items())])


if __name__ == "__main__":
    records.put(sys.argv[1:], STORED, merge)
