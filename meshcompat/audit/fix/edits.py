"""Edits: pieces of a text that are replaced; all else stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Edit(NamedTuple):
    """One piece of a text, from `start` to before `end`, and what stands there afterwards."""

    start: int
    end: int
    new: str
    rank: int = 0
    """Orders insertions at one place: the lowest comes first."""


class RefusedError(Exception):
    """A place is not rewritten; the text says why."""


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with the edits made.

    Raises:
        RefusedError: Two edits overlap.
    """
    found, at = [], 0
    for edit in sorted(set(edits), key=lambda one: (one.start, one.end > one.start, one.rank)):
        if edit.start < at:
            raise RefusedError("two rewrites overlap")
        found += [text[at : edit.start], edit.new]
        at = edit.end
    return "".join([*found, text[at:]])
