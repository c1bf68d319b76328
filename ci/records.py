"""What runs wrote, one JSON file a release: how it is read, sorted and put into a file of docs/data/."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent.parent / "docs" / "data"


def order(release: str) -> list[int]:
    """Return what sorts releases: 2.9.1 before 2.10.0."""
    return [int(part) for part in release.split(".")]


def by_release(records: dict[str, Any]) -> dict[str, Any]:
    """Return records with the oldest release first."""
    return {release: records[release] for release in sorted(records, key=order)}


def read(path: Path) -> Any:
    """Return what a file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def put(
    files: list[str], stored: Path, merge: Callable[[Any, list[Any]], Any], *, empty: Any
) -> None:
    """Write what *merge* makes of the stored records, *empty* where there are none, and of the runs in *files*."""
    known = read(stored) if stored.exists() else empty
    merged = merge(known, [read(Path(name)) for name in files])
    stored.parent.mkdir(exist_ok=True)
    stored.write_text(json.dumps(merged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
