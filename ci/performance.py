"""The runs of benchmarks/ that docs/performance.md is written from.

`python -m pytest benchmarks --record` writes a run into docs/data/performance/, one file a release. performance_page.py
makes the tables of the page of them, performance_aims.py says what was reached, pictures.py draws the pictures.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from records import DATA, order, read

STORED = DATA / "performance"
DRAWN = DATA.parent / "performance"
PICTURES = ("lookups", "groups")
CALLS = ("get_flat_mesh", "get_submesh", "get_root_mesh", "get_axis_size")
LOOKUP = ("call", "world", "thread")

Row = dict[str, Any]


class Run(NamedTuple):
    """One run of all benchmarks on one release."""

    about: Row
    rows: list[Row]

    @property
    def release(self) -> str:
        """The release of torch."""
        return str(self.about["torch"])

    @property
    def builds_every_slice(self) -> bool:
        """Whether torch makes the mesh of every subgroup when it slices: up to 2.9."""
        return order(self.release) < [2, 10]

    def find(self, topic: str, **about: object) -> Row:
        """Return the row about this.

        Raises:
            LookupError: The run has none, or several.
        """
        wanted = {"topic": topic, **about}
        found = [row for row in self.rows if wanted.items() <= row.items()]
        if len(found) != 1:
            raise LookupError(f"the run on {self.release} has {len(found)} rows about {wanted}")
        return found[0]

    def worlds(self, topic: str) -> list[int]:
        """Return the numbers of ranks that were measured, ascending."""
        return sorted({row["world"] for row in self.rows if row["topic"] == topic})

    def seconds(self, side: str, topic: str, **about: object) -> float:
        """Return the time of one side: its best turn, which nothing else on the machine made longer."""
        return float(self.find(topic, **about)["sides"][side]["min"])

    def ratio(self, topic: str, **about: object) -> float:
        """Return our time as a part of torch's."""
        return self.seconds("ours", topic, **about) / self.seconds("torch", topic, **about)


def runs(stored: Path = STORED) -> list[Run]:
    """Return the stored runs, oldest release first."""
    found = [read(path) for path in sorted(stored.glob("*.json"))]
    return sorted(
        (Run(each["run"], each["rows"]) for each in found), key=lambda run: order(run.release)
    )


def abouts(run: Run, topic: str, *keys: str) -> Iterator[Row]:
    """Yield what each row of a topic is about, as far as these keys tell."""
    for row in run.rows:
        if row["topic"] == topic:
            yield {key: row[key] for key in keys}


def slowest(run: Run, world: int | None = None, thread: str | None = None) -> float:
    """Return the slowest look-up after the first, in seconds."""
    return max(
        run.seconds("ours", "again", **about)
        for about in abouts(run, "again", *LOOKUP)
        if world in {None, about["world"]} and thread in {None, about["thread"]}
    )


def memory_ratio(run: Run, **about: object) -> float:
    """Return the peak of our build as a part of that of torch's."""
    counts = run.find("memory", **about)["counts"]
    return float(counts["ours"]["peak"] / counts["torch"]["peak"])


def layouts(measured: list[Run]) -> Iterator[tuple[str, str]]:
    """Yield project and shape of every layout, as they were measured on the newest release."""
    for row in measured[-1].rows if measured else ():
        if row["topic"] == "groups":
            yield row["project"], row["shape"]


def digest(stored: Path = STORED) -> str:
    """Return what changes when any figure changes that a picture shows; pictures carry it."""
    shown = [
        [run.release, [row for row in run.rows if row["topic"] in {"again", "groups"}]]
        for run in runs(stored)
    ]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


def stale_pictures(stored: Path = STORED, drawn: Path = DRAWN) -> list[Path]:
    """Return the pictures that do not show the stored figures; there are none of no run."""
    pictures = [drawn / f"{name}.svg" for name in PICTURES if runs(stored)]
    return [
        path
        for path in pictures
        if not path.exists() or digest(stored) not in path.read_text(encoding="utf-8")
    ]
