"""Lists of ranks as a reader takes them in: in a line, however many they are."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_LISTED = 8


def ranks_text(ranks: Sequence[int]) -> str:
    """Write ranks so that they fit into a line: ``0-7``, ``0, 2`` or ``0, 8, ..., 504 (64)``."""
    steps = {b - a for a, b in itertools.pairwise(ranks)}
    if len(ranks) > 2 and steps == {1}:
        return f"{ranks[0]}-{ranks[-1]}"
    if len(ranks) <= _LISTED:
        return ", ".join(map(str, ranks))
    if len(steps) == 1:
        return f"{ranks[0]}, {ranks[1]}, ..., {ranks[-1]} ({len(ranks)})"
    head = ", ".join(map(str, ranks[: _LISTED - 2]))
    return f"{head}, ..., {ranks[-1]} ({len(ranks)})"
