"""Ranks that agreed make their groups, and hear which of them did not get that far.

A rank can die or hang between the comparison and the groups. torch then names a key of its store,
after the timeout, on the ranks that wait for it or for one that waits, or waits on for longer than
that. So every rank puts down that it is done, or that it gave up, and whom nothing is heard of is
missing.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import torch.distributed as dist

from meshcompat import _agreement
from meshcompat._eras import process_groups, stores
from meshcompat._errors import MeshMismatchError
from meshcompat._waiting import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta

    from meshcompat._agreement import Agreement

    Partition = Iterable[list[int]]

MADE = '"made"'
GIVEN_UP = '"given up"'

MARGIN = 0.5
"""Seconds beyond its timeout that torch has to give up by itself."""

PATIENCE = 2.5
"""Seconds that a rank which gave up waits to hear the same of the others."""

PAUSE = 0.2

SLACK = 1.0
"""Seconds more for a store that does not answer at once."""

T = TypeVar("T")


@contextlib.contextmanager
def made_by_all(agreement: Agreement | None) -> Iterator[None]:
    """Make in this block what was agreed on; where torch fails, say which ranks are missing.

    Args:
        agreement: What the ranks agreed on; None where they did not compare: torch's own error
            is then all there is.

    Raises:
        MeshMismatchError: torch could not make the groups, and ranks are missing, or the store.
        RuntimeError: torch could not make the groups, and all ranks are there.

    Collective:
        Yes, as the block is. A rank does one store operation; where torch fails, several.
    """
    if agreement is None:
        yield
        return
    mine = agreement.keys.of(dist.get_rank())
    try:
        yield
    except RuntimeError as error:
        missing = _missing(agreement, mine, error)
        if not missing:
            raise
        ranks = ", ".join(map(str, missing))
        msg = (
            f"rank {ranks} had agreed to make process groups, and did not make them with the "
            f"others, who ask for:\n  rank {dist.get_rank()}: {agreement.words}\n"
            f"Groups are half made: {str(error).strip()!r}. See what rank "
            f"{missing[0]} did instead, and start the job again"
        )
        described = {dist.get_rank(): agreement.words}
        raise MeshMismatchError(
            msg, rank=missing[0], missing=missing, descriptions=described
        ) from error
    try:
        agreement.store.set(mine, MADE)
    except RuntimeError as error:
        raise _agreement.store_is_gone(error, "the groups were made") from error


def in_time(make: Callable[[Partition], T], partition: Partition, timeout: timedelta) -> T:
    """Return what *make* makes of *partition*; give up soon after the timeout, also where torch waits on.

    That is where no group is finished for so long; none is begun after it.

    Raises:
        RuntimeError: The time is over, or torch failed.
    """
    has_given_up = threading.Event()

    def until_then() -> Partition:
        for ranks in partition:
            if has_given_up.is_set():
                return
            yield ranks

    try:
        bound = timeout.total_seconds() + MARGIN
        return within(bound, lambda: make(until_then()), process_groups.groups_made)
    finally:
        has_given_up.set()


def _missing(agreement: Agreement, mine: str, error: RuntimeError) -> tuple[int, ...]:
    """Return the ranks of which nothing is heard; an error that all ranks have leaves none."""

    def ask() -> tuple[int, ...]:
        agreement.store.set(mine, GIVEN_UP)
        return _silent(agreement)

    try:
        return within(PATIENCE + SLACK, ask)
    except RuntimeError:
        raise _agreement.store_is_gone(error, "groups are half made") from error


def _silent(agreement: Agreement) -> tuple[int, ...]:
    everyone = [agreement.keys.of(rank) for rank in range(dist.get_world_size())]
    deadline = time.monotonic() + PATIENCE
    while True:
        words = stores.read_all(agreement.store, everyone)
        silent = tuple(rank for rank, word in enumerate(words) if word not in {MADE, GIVEN_UP})
        if not silent or time.monotonic() > deadline:
            return silent
        time.sleep(PAUSE)
