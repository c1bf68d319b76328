"""The tables of docs/reliability.md, from docs/data/reliability.json: what no run has told yet says "not run".

Most figures are the same on every release, so a line has the range, the exceptions and the releases.
"""

import statistics
from typing import Any

import records
import reliability

NOT_RUN = "not run"
COLUMNS = ("value", "on the releases")

Table = tuple[list[str], list[list[str]]]

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


def stored() -> dict[str, Any]:
    """Return the figures by release, section and name."""
    if not reliability.STORED.exists():
        return {}
    figures: dict[str, Any] = records.read(reliability.STORED)
    return figures


def summary() -> Table:
    """Return the table of the figures that matter most."""
    body = [
        _line(label, {release: _find(told, *where) for release, told in stored().items()})
        for label, where in SUMMARY.items()
    ]
    return ["figure", *COLUMNS], body


def section(name: str) -> Table:
    """Return the table of a section: one line for each figure."""
    told = {release: parts[name] for release, parts in stored().items() if name in parts}
    names = dict.fromkeys(figure for figures in told.values() for figure in figures)
    body = [
        _line(figure, {release: figures.get(figure) for release, figures in told.items()})
        for figure in names
    ]
    return [name, *COLUMNS], body or [[NOT_RUN, "", ""]]


def table(part: str) -> Table:
    """Return the table of a section of the page, or the summary where *part* is empty."""
    return section(part.replace("-", " ")) if part else summary()


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


def _line(label: str, values: dict[str, Any]) -> list[str]:
    known = {release: value for release, value in values.items() if value is not None}
    if not known:
        return [label, NOT_RUN, ""]
    where = f"all {len(known)}" if len(known) == len(stored()) > 1 else ", ".join(known)
    return [label, spread(known), where]


def _find(told: dict[str, Any], name: str, figure: str) -> Any:
    return told.get(name, {}).get(figure)
