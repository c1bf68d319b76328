"""The one table of what a torch release cannot do: each row is a strict xfail there.

A row whose pattern matches no test is stale, and so is one whose test passes: both fail.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class KnownDifference(NamedTuple):
    """Tests that fail on some releases, for a reason that is not ours to mend."""

    oldest: tuple[int, int]
    """First torch minor that differs."""
    newest: tuple[int, int]
    """Last torch minor that differs."""
    tests: str
    """Pattern over test ids, such as ``tests/test_select.py::test_name[*]``; ``[`` is plain."""
    reason: str
    link: str
    """Where upstream says so."""

    def holds_on(self, minor: tuple[int, int] | None) -> bool:
        """Return whether the row is about this torch minor."""
        return minor is not None and self.oldest <= minor <= self.newest

    def is_about(self, test_id: str) -> bool:
        """Return whether the pattern matches."""
        return fnmatch.fnmatchcase(test_id, self.tests.replace("[", "[[]"))


KNOWN_DIFFERENCES: tuple[KnownDifference, ...] = ()


def stale(rows: Iterable[KnownDifference], test_ids: Iterable[str]) -> list[KnownDifference]:
    """Return the rows that match none of *test_ids*."""
    ids = list(test_ids)
    return [row for row in rows if not any(row.is_about(test_id) for test_id in ids)]
