"""The tables of docs/reliability.md, from docs/data/reliability.json: what no run has told yet says "not run"."""

from typing import Any

import records
import reliability

NOT_RUN = "not run"

SUMMARY = {
    "disagreements: kinds and culprits tried": ("disagreements", "kinds and culprits tried"),
    "ranks told who differs": ("disagreements", "ranks that were told who differs"),
    "faults survived": ("faults", "survived"),
    "programs checked": ("programs", "programs"),
    "bad inputs tried": ("bad inputs", "bad calls"),
    "cycles of gloo worlds without growth": ("cycles", "gloo worlds"),
    "a comparison of 8 ranks, ms": ("cost", "a comparison alone, ms"),
}
"""Columns of the first table, and the section and figure that each comes from."""


def stored() -> dict[str, Any]:
    """Return the figures by release, section and name."""
    if not reliability.STORED.exists():
        return {}
    figures: dict[str, Any] = records.read(reliability.STORED)
    return figures


def summary() -> tuple[list[str], list[list[str]]]:
    """Return the table with one line for each release."""
    body = [
        [release, *(_cell(sections, *where) for where in SUMMARY.values())]
        for release, sections in stored().items()
    ]
    return ["torch", *SUMMARY], body or [[NOT_RUN, *("" for _ in SUMMARY)]]


def section(name: str) -> tuple[list[str], list[list[str]]]:
    """Return the table of a section: one line for each figure, one column for each release."""
    figures = {
        release: sections[name] for release, sections in stored().items() if name in sections
    }
    names = dict.fromkeys(figure for told in figures.values() for figure in told)
    body = [
        [figure, *(str(told.get(figure, NOT_RUN)) for told in figures.values())] for figure in names
    ]
    return [name, *figures], body or [[NOT_RUN]]


def table(part: str) -> tuple[list[str], list[list[str]]]:
    """Return the table of a section of the page, or the one of all releases where *part* is empty."""
    return section(part.replace("-", " ")) if part else summary()


def _cell(sections: dict[str, Any], name: str, figure: str) -> str:
    return str(sections.get(name, {}).get(figure, NOT_RUN))
