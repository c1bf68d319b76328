"""The releases of torch that a library is to be tested with, and what each of them needs.

The list is data (``releases.json``), made by ci/releases.py from the package index and from the
matrix that meshcompat itself is tested in.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OLDEST_PYTHON = "3.10"
"""The oldest that meshcompat itself runs on."""


@dataclass(frozen=True)
class Row:
    """One environment to test in."""

    torch: str
    """Release, such as ``2.9.1``."""
    python: str
    """Interpreter for this row: the one that was asked for, else the oldest."""
    oldest_python: str
    """Oldest Python that torch has a wheel for and meshcompat runs on."""
    newest_python: str
    """Newest Python that torch has a wheel for."""
    pins: tuple[str, ...]
    """What the release needs beside itself, such as ``numpy<2``."""
    reasons: tuple[str, ...]
    """Why, one for each pin."""
    note: str = ""
    """What to know before this release is tested at all; empty of most."""

    @property
    def requirements(self) -> list[str]:
        """What to install: torch and the pins."""
        return [f"torch=={self.torch}", *self.pins]


def rows(
    torch: str = "",
    *,
    python: str | None = None,
    edges: bool = False,
    every_patch: bool = False,
) -> list[Row]:
    """Return the environments of a range of torch, oldest first.

    The newest patch of each minor, as far as the range has it.

    Args:
        torch: Range, such as ``">=2.5"`` or ``">=2.6,<2.12"``; all releases from 2.2 on where empty.
        python: Interpreter of all rows, such as ``"3.11"``; releases without a wheel for it are
            left out. By default each row has the oldest that it can.
        edges: Only the ends of the range, and the releases where torch's meshes changed within it.
        every_patch: Each patch of each minor, and not only the newest.

    Returns:
        The rows, none where no release fits.

    Raises:
        ValueError: *torch* is no range, or *python* no version of Python.

    Collective:
        No; torch is not imported.

    Example:
        >>> [row.torch for row in rows(">=2.8,<2.11")]
        ['2.8.0', '2.9.1', '2.10.0']
        >>> rows("==2.2.*")[0].requirements
        ['torch==2.2.2', 'numpy<2']
    """
    wanted, interpreter = _range(torch), _interpreter(python)
    releases = [
        release
        for release in _data()["releases"]
        if wanted.contains(release["torch"])
        and (interpreter is None or interpreter in release["pythons"])
    ]
    if not every_patch:
        newest = {Version(release["torch"]).release[:2]: release for release in releases}
        releases = list(newest.values())
    if edges:
        ends = [release["torch"] for release in (*releases[:1], *releases[-1:])]
        releases = [release for release in releases if release["edge"] or release["torch"] in ends]
    return [_row(release, interpreter) for release in releases]


def _row(release: Mapping[str, Any], interpreter: str | None) -> Row:
    pythons: Sequence[str] = [
        python for python in release["pythons"] if Version(python) >= Version(OLDEST_PYTHON)
    ]
    return Row(
        torch=release["torch"],
        python=interpreter or pythons[0],
        oldest_python=pythons[0],
        newest_python=pythons[-1],
        pins=tuple(release["pins"]),
        reasons=tuple(_data()["reasons"][pin] for pin in release["pins"]),
        note=_data()["notes"].get(release["torch"], ""),
    )


def _range(text: str) -> SpecifierSet:
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(
            f"{text!r} is no range of releases; write one such as '>=2.5' or '>=2.6,<2.12'"
        ) from None


def _interpreter(text: str | None) -> str | None:
    """Return a Python as ``3.11``; a patch of it does not matter to wheels."""
    if text is None:
        return None
    try:
        parts = Version(text).release
    except InvalidVersion:
        parts = ()
    if len(parts) < 2:
        raise ValueError(f"{text!r} is no version of Python; write one such as '3.11'")
    if Version(text) < Version(OLDEST_PYTHON):
        raise ValueError(
            f"Python {text} is older than {OLDEST_PYTHON}, the oldest that meshcompat runs on"
        )
    return f"{parts[0]}.{parts[1]}"


@functools.cache
def _data() -> dict[str, Any]:
    place = importlib.resources.files("meshcompat.matrix").joinpath("releases.json")
    data: dict[str, Any] = json.loads(place.read_text("utf-8"))
    return data
