"""How groups and ranks are written in a picture."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LISTED = 8


def mark_of(group: int) -> str:
    """Return the letters of a group: A to Z, then AA, as the columns of a spreadsheet."""
    letters = ""
    group += 1
    while group:
        group, letter = divmod(group - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def ranks_text(ranks: Sequence[int]) -> str:
    """Write ranks so that they fit into a line: ``0-7``, ``0, 2`` or ``0, 8, ..., 504 (64)``."""
    steps = {b - a for a, b in itertools.pairwise(ranks)}
    if len(ranks) > 2 and steps == {1}:
        return f"{ranks[0]}-{ranks[-1]}"
    if len(ranks) <= _LISTED:
        return ", ".join(map(str, ranks))
    head = ", ".join(map(str, ranks[: 2 if len(steps) == 1 else _LISTED - 2]))
    return f"{head}, ..., {ranks[-1]} ({len(ranks)})"


def count_text(count: int, thing: str) -> str:
    """Write ``1 group`` or ``8 groups``."""
    return f"{count} {thing}{'' if count == 1 else 's'}"
