"""The runs of benchmarks/ that docs/performance.md is written from.

`python -m pytest benchmarks --record` writes a run into docs/data/performance/, one file a release. performance_page.py
makes the tables of the page of them, and pictures.py draws the pictures.
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

    def all(self, topic: str, **about: object) -> Iterator[Row]:
        """Yield the rows about this."""
        wanted = {"topic": topic, **about}
        return (row for row in self.rows if wanted.items() <= row.items())

    def one(self, topic: str, **about: object) -> Row:
        """Return the row about this.

        Raises:
            LookupError: The run has none, or several.
        """
        found = list(self.all(topic, **about))
        if len(found) != 1:
            raise LookupError(
                f"the run on {self.release} has {len(found)} rows about {topic} {about}"
            )
        return found[0]

    def worlds(self, topic: str) -> list[int]:
        """Return the numbers of ranks that were measured, ascending."""
        return sorted({row["world"] for row in self.all(topic)})

    def seconds(self, side: str, topic: str, **about: object) -> list[float]:
        """Return the times of one side, ascending: of each row the best turn, which no other load made longer."""
        return sorted(float(row["sides"][side]["min"]) for row in self.all(topic, **about))

    def ratios(self, topic: str, **about: object) -> list[float]:
        """Return our times as parts of torch's, ascending: of each row the median of its turns."""
        return sorted(float(row["sides"]["ours"]["of torch"]) for row in self.all(topic, **about))


def runs(stored: Path = STORED) -> list[Run]:
    """Return the stored runs, oldest release first."""
    found = [read(path) for path in stored.glob("*.json")]
    return sorted(
        (Run(each["run"], each["rows"]) for each in found), key=lambda run: order(run.release)
    )


def digest(stored: Path = STORED) -> str:
    """Return what changes when any figure changes that a picture shows; pictures carry it."""
    shown = [[run.release, *run.all("again"), *run.all("groups")] for run in runs(stored)]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


def stale_pictures(stored: Path = STORED, drawn: Path = DRAWN) -> list[Path]:
    """Return the pictures that do not show the stored figures; there are none of no run."""
    pictures = [drawn / f"{name}.svg" for name in PICTURES if runs(stored)]
    return [
        path
        for path in pictures
        if not path.exists() or digest(stored) not in path.read_text(encoding="utf-8")
    ]
