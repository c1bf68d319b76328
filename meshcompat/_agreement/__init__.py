"""Ranks agree on what they are about to make, make it, and hear which of them did not get that far.

Without it, ranks that ask for different groups hang or mix them up. A rank can also die or hang
between the comparison and the groups. torch then reports a key of its store after the timeout, or
waits even longer. So every rank writes that it made its groups, or that it gave up; a rank that
reports neither is missing.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING

import torch.distributed as dist

from meshcompat._agreement import checking
from meshcompat._agreement.helper import Helper
from meshcompat._agreement.making import at_once, in_time
from meshcompat._agreement.marks import MADE
from meshcompat._agreement.meeting import Meeting
from meshcompat._eras import process_groups, stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta

    from meshcompat._agreement.making import Make

__all__ = ["agreed"]


@contextlib.contextmanager
def agreed(describe: Callable[[], dict[str, str]], timeout: timedelta | None) -> Iterator[Make]:
    """Make in this block what all ranks of the world ask for.

    Args:
        describe: Says in words what this rank is about to make; called only where ranks compare.
        timeout: How long to wait for the others; by default as long as the default group.

    Yields:
        How to make groups: in time, where ranks compare.

    Raises:
        MeshMismatchError: On every rank, where one asks for something else or does not come:
            nothing was made. Or torch could not make the groups, and ranks are missing.
        RuntimeError: torch could not make the groups, and all ranks are there.

    Collective:
        Yes: all ranks of the world, through the default store. A rank does 5 store operations,
        however large the world is: it adds to a number, writes how far it has got, waits for the
        verdict, reads it, and writes that it made its groups. The first rank that comes does 2
        more, for the words; the last one writes the verdict instead of reading it; rank 0 deletes
        4 keys of the comparison before; and at the first call of a world each rank does 3 more.
    """
    store = stores.default_store()
    if store is None or not checking.is_on() or dist.get_world_size() == 1:
        yield at_once
        return
    limit = (timeout or process_groups.default_timeout()).total_seconds()
    with contextlib.closing(Helper()) as helper:
        meeting = Meeting(helper, store)
        meeting.compare(describe(), limit)
        try:
            yield functools.partial(in_time, helper)
        except RuntimeError as error:
            told = meeting.failed(error)
            if told is error:
                raise
            raise told from error
        except BaseException:
            meeting.gave_up()
            raise
        meeting.put_down(MADE)
