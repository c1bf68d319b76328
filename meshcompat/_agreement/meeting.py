"""What one rank does with the others before it makes its groups, and after."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, TypeVar

import torch.distributed as dist

from meshcompat._agreement import wording, worlds
from meshcompat._agreement.comparison import patience
from meshcompat._agreement.helper import NoAnswerError
from meshcompat._agreement.marks import GAVE_UP, MADE, Mark
from meshcompat._agreement.talk import StoreError, Talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat._agreement.comparison import Difference
    from meshcompat._agreement.helper import Helper
    from meshcompat._agreement.worlds import World
    from meshcompat._eras.stores import Store

PATIENCE = 2.5
"""Seconds that a rank which gave up waits to hear the same of the others."""

PAUSE = 0.2
"""Seconds between two looks at the others."""

BUSY = 10.0
"""Seconds that a store on a busy machine may take for one answer, or a third of the limit if that is less."""

FEW = 1000
"""About how many ranks every rank may ask; more are never named one by one."""

T = TypeVar("T")


class Meeting:
    """One comparison and its outcome, as one rank sees them.

    The helper asks the store, so that this rank can stop waiting for an answer.
    """

    def __init__(self, helper: Helper, store: Store) -> None:
        self._helper = helper
        self._talk = Talk(store)
        self._group: Any = dist.group.WORLD
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        # What the store may take for one answer: it is asked by all ranks at once.
        self._slack = patience(self._size)

    def compare(self, asked: dict[str, str], limit: float) -> None:
        """Return when all ranks ask for the same.

        Raises:
            MeshMismatchError: One asks for something else or does not come, or the store fails.
        """
        self._asked = asked
        self._slack = max(self._slack, limit / 10, min(BUSY, limit / 3))

        def compare() -> tuple[World, int, Difference | None]:
            world = worlds.join(self._group, self._talk, self._rank, self._size)
            return world, *world.compare(asked, limit)

        self._world, self._number, difference = self._ask(compare, "nothing was made")
        if difference is not None:
            raise wording.difference_error(difference, self._size)

    def put_down(self, state: str) -> None:
        """Let the others know how this rank ended.

        Raises:
            MeshMismatchError: The store fails.
        """
        self._ask(lambda: self._mark(state), "the groups were made")

    def gave_up(self) -> None:
        """Let the others know that this rank did not make its groups, if the store can be reached."""
        with contextlib.suppress(RuntimeError):
            self.put_down(GAVE_UP)

    def failed(self, error: RuntimeError) -> RuntimeError:
        """Return the error of a rank that could not make its groups.

        It is our error where ranks are missing, and torch's own where none is.
        """
        missing = self._ask(self._silent, f"groups are half made: {str(error).strip()!r}")
        if not missing:
            return error
        return wording.half_made_error(missing, self._rank, self._asked, error)

    def _ask(self, call: Callable[[], T], consequence: str) -> T:
        try:
            return self._helper.within(self._slack, call, self._talk.pulse)
        except (StoreError, NoAnswerError) as error:
            raise wording.store_error(error, consequence) from error

    def _mark(self, state: str) -> None:
        self._world.marks.put(self._talk, self._rank, Mark(self._number, state))

    def _silent(self) -> tuple[int, ...]:
        """Return the ranks that report nothing in time.

        The first rank that gives up asks about all, so that not every rank asks about every rank.
        The others take its answer, and ask again only about those in it.
        """
        self._mark(GAVE_UP)
        everyone = list(range(self._size))
        answer = self._world.key(self._number, "silent")
        if self._talk.add(self._world.key(self._number, "gave up"), 1) == 1:
            silent = self._still_silent(everyone, PATIENCE)
            self._talk.set(answer, json.dumps(silent))
        elif self._talk.has(answer, self._until_told):
            silent = json.loads(self._talk.get(answer))
            is_older = self._rank in silent  # than the moment when this rank gave up
            if len(silent) <= FEW:
                silent = self._still_silent(silent, PATIENCE if is_older else 0)
        else:
            silent = self._still_silent(everyone, 0)
        return tuple(rank for rank in silent if rank != self._rank)

    @property
    def _until_told(self) -> float:
        """Seconds in which the first rank that gave up has asked about all."""
        return PATIENCE + PAUSE + patience(self._size) - patience(0)

    def _still_silent(self, silent: list[int], seconds: float) -> list[int]:
        deadline = time.monotonic() + seconds
        while True:
            silent = [rank for rank in silent if not self._has_ended(rank)]
            if not silent or time.monotonic() >= deadline:
                return silent
            time.sleep(PAUSE)

    def _has_ended(self, rank: int) -> bool:
        mark = self._world.marks.read(self._talk, rank)
        if mark is None or mark.number < self._number:
            return False
        return mark.number > self._number or mark.state in {MADE, GAVE_UP}
