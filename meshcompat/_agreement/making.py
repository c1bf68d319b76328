"""Make groups, and give up soon after the timeout."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from meshcompat._eras import process_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta

    from meshcompat._agreement.helper import Helper

    Partition = Iterable[Any]

MARGIN = 0.5
"""Seconds beyond its timeout that torch has to give up by itself."""

T = TypeVar("T")


class Make(Protocol):
    """How to make what ranks agreed on."""

    def __call__(
        self, make: Callable[[Partition], T], partition: Partition, timeout: timedelta
    ) -> T:
        """Return what *make* makes of *partition*."""


def at_once(make: Callable[[Partition], T], partition: Partition, timeout: timedelta) -> T:  # noqa: ARG001  (a `Make`)
    """Return what *make* makes of *partition*, with torch's own timeouts: ranks did not compare."""
    return make(partition)


def in_time(
    helper: Helper, make: Callable[[Partition], T], partition: Partition, timeout: timedelta
) -> T:
    """Return what *make* makes of *partition*; give up soon after the timeout, also where torch waits on.

    The time is over when no group was finished for that long. No group is begun after it.

    Raises:
        RuntimeError: The time is over, or torch failed.
    """
    has_given_up = threading.Event()

    def until_then() -> Iterator[Any]:
        for part in partition:
            if has_given_up.is_set():
                return
            yield part

    try:
        bound = timeout.total_seconds() + MARGIN
        return helper.within(bound, lambda: make(until_then()), process_groups.groups_made)
    finally:
        has_given_up.set()
