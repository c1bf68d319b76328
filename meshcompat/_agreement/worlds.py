"""The world that a rank is in, by a number that all its ranks take from the store.

A store can outlive its world, as torchrun's does, and then holds verdicts of the world before. So
worlds of one size are numbered in the store. A rank joins a number once: where it finds that it has
joined already, in whichever process, this is another world, and it takes the next. All ranks find
the same number, as no verdict says "agreed" before all of them have joined.

A rank can miss a comparison, which the others then give up. It hears so when it comes, and cannot
tell from what it asks for whether it is late, or left that call out and makes the next one, which
is the same. Where the others are in a later comparison about the same, it takes part in that one:
all are in this call. Else it is late, and is told so alone.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from typing import TYPE_CHECKING

from meshcompat._agreement.comparison import AGREED, Comparison, Difference, Place
from meshcompat._agreement.marks import Marks
from meshcompat._agreement.talk import StoreError

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from meshcompat._agreement.talk import Talk

LATER_WORLD = 0.5
"""Seconds in which a rank that is called missing looks whether the others are in another world."""

LATER_CALL = 5.0
"""Seconds in which a late rank looks whether the others make the same call again.

It is a third of the timeout, if that is less.
"""


class World:
    """The comparisons of one default process group, counted by each rank on its own.

    Attributes:
        talk: The store, asked by this rank.
        marks: How far each rank has got.
    """

    marks: Marks

    def __init__(self, talk: Talk, rank: int, size: int) -> None:
        self.talk = talk
        self.rank = rank
        self.size = size
        self._prefix = f"meshcompat/worlds of {size}"
        self._join()

    def compare(self, asked: dict[str, str], limit: float) -> tuple[int, Difference | None]:
        """Return the comparison's number, and what differs; None where all ranks ask for the same.

        Args:
            asked: What this rank is about to make.
            limit: How many seconds to wait for the others.
        """
        late: Difference | None = None
        while True:
            comparison = self.next(asked)
            verdict = comparison.arrive(limit) or comparison.hear()
            if verdict == AGREED:
                self.clear()
                return comparison.number, None
            difference = Difference.from_text(verdict)
            if self.rank not in difference.missing:
                return comparison.number, difference
            if self._has_ended():
                self._join()
                late = None
                continue
            if asked in difference.asked.values():
                late = difference
            # Otherwise the others gave up this one, and it was about something else.
            if late and not self._others_go_on(asked, min(LATER_CALL, limit / 3)):
                return comparison.number, late

    def key(self, number: int, name: str) -> str:
        """Return a key of the store that belongs to one comparison."""
        return f"{self._prefix}/{self._number}/{number} {name}"

    def next(self, asked: dict[str, str]) -> Comparison:
        """Return the next comparison."""
        self._used.append(self._coming(asked))
        self._compared += 1
        return self._used[-1]

    def clear(self) -> None:
        """Delete the keys of all comparisons but the last: every rank has done with those."""
        self.marks.are_all_there = True
        for comparison in self._used[:-1]:
            if self.rank == 0:
                comparison.clear(self.talk)
        del self._used[:-1]

    def _coming(self, asked: dict[str, str]) -> Comparison:
        """Return the next comparison, as long as this rank takes no part in it."""
        place = Place(f"{self._prefix}/{self._number}", self._compared, self.rank, self.size)
        return Comparison(self.talk, place, self.marks, asked)

    def _others_go_on(self, asked: dict[str, str], seconds: float) -> bool:
        """Return whether the others make this call again, or have given up the next comparison too."""
        # A late rank knows why, also where the store ends with the others.
        with contextlib.suppress(StoreError):
            return self._coming(asked).awaits_or_is_over(seconds)
        return False

    def _join(self) -> None:
        self._compared = 0
        self._used: list[Comparison] = []
        self._number = self._latest()
        while True:
            number = f"{self._prefix}/{self._number}"
            self.marks = Marks(number)
            if self.marks.join(self.talk, self.rank):
                return
            if self.talk.add(f"{number}/ended", 1) == 1:
                self.talk.add(f"{self._prefix}/latest", 1)
            self._number += 1

    def _latest(self) -> int:
        return self.talk.add(f"{self._prefix}/latest", 0)

    def _has_ended(self) -> bool:
        """Return whether the others are in a later world.

        A rank that never came in the world before joins that one, if it is the first to come now.
        So it waits a moment for another to find that the world has ended.
        """
        deadline = time.monotonic() + LATER_WORLD
        while not self.marks.are_all_there and time.monotonic() < deadline:
            if self._latest() > self._number:
                return True
            time.sleep(LATER_WORLD / 10)
        return False


# Of each default process group that is alive.
_worlds: weakref.WeakKeyDictionary[ProcessGroup, World] = weakref.WeakKeyDictionary()


def join(group: ProcessGroup, talk: Talk, rank: int, size: int) -> World:
    """Return the world of a default process group, which this rank joins at the first call."""
    if group not in _worlds:
        _worlds[group] = World(talk, rank, size)
    _worlds[group].talk = talk
    return _worlds[group]
