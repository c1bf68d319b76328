"""What runs wrote, by release: how it is read, sorted, told in words and put into a file of docs/data/."""

import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

DATA = Path(__file__).parent.parent / "docs" / "data"

Table = tuple[list[str], list[list[str]]]
"""Header and rows, in Markdown."""

Verdict = TypeVar("Verdict")


def order(release: str) -> list[int]:
    """Return what sorts releases: 2.9.1 before 2.10.0."""
    return [int(part) for part in release.split(".")]


def by_release(records: dict[str, Any]) -> dict[str, Any]:
    """Return records with the oldest release first."""
    return {release: records[release] for release in sorted(records, key=order)}


def spans(verdicts: Mapping[str, Verdict]) -> dict[Verdict, str]:
    """Return each verdict with its releases in words: {"wrong ranks": "2.5 to 2.9"}."""
    minors: dict[str, set[Verdict]] = {}
    for release, verdict in verdicts.items():
        minors.setdefault(release.rpartition(".")[0], set()).add(verdict)
    found: dict[Verdict, list[str]] = {}
    for verdict, run in itertools.groupby(verdicts, key=lambda release: verdicts[release]):
        # A minor whose patches differ is told by its patches.
        labels = [
            minor if len(minors[minor]) == 1 else release
            for release in run
            for minor in [release.rpartition(".")[0]]
        ]
        ends = dict.fromkeys([labels[0], labels[-1]])
        found.setdefault(verdict, []).append(" to ".join(ends))
    return {verdict: ", ".join(parts) for verdict, parts in found.items()}


def read(path: Path) -> Any:
    """Return what a file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, found: Any) -> None:
    """Write a file that `read` reads."""
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def put(files: list[str], stored: Path, merge: Callable[[Any, list[Any]], Any]) -> None:
    """Write what *merge* makes of the stored records and of the runs in *files*."""
    write(stored, merge(read(stored), [read(Path(name)) for name in files]))
