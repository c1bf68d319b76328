"""What long tests counted and measured, per release: from runs, and not typed.

`reliability.py FILE...` puts the figures of runs into docs/data/reliability.json. A run writes them into the file that
MESHCOMPAT_FIGURES names, through the fixture `figure` of the tests:

    {"<release>": {"<section>": {"<figure>": value}}}

    {"2.15.0": {"programs": {"programs checked": 2000, "operations checked": 14312}}}

A section of the files replaces the stored section of that release. Where several files of one call have the same
section, as the parts of a long run do, whole numbers are counts and are added up; anything else must be the same.
"""

import sys

import records

STORED = records.DATA / "reliability.json"

Value = int | float | str
Figures = dict[str, dict[str, dict[str, Value]]]


def added(runs: list[Figures]) -> Figures:
    """Return the figures of several runs as those of one.

    Raises:
        ValueError: Runs disagree about a figure that is no count.
    """
    total: Figures = {}
    for run in runs:
        for release, sections in run.items():
            for section, figures in sections.items():
                known = total.setdefault(release, {}).setdefault(section, {})
                for name, value in figures.items():
                    known[name] = _sum(f"{release}, {section}, {name}", known.get(name), value)
    return total


def merge(stored: Figures, runs: list[Figures]) -> Figures:
    """Return the stored figures, with the sections of the runs in place of those of that release."""
    fresh = added(runs)
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


if __name__ == "__main__":
    records.put(sys.argv[1:], STORED, merge, empty={})
