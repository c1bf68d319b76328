"""One comparison, as one rank sees it.

A rank adds 1 to the number under the digest of what it asks for. Whoever brings it to the size of
the world says that all agree; the others wait for that. So a rank does four small operations in a
world of any size. Only the first rank of a digest writes the words behind it.

The first rank of a second digest knows that the ranks differ: it waits until all have come, reads
the mark of each, and says who differs. A rank that gets no verdict in time adds more than all ranks
together would to the number of its digest, so that the ranks can no longer agree by number. Then it
reads the marks, and says who is missing. Only the first decision counts.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from meshcompat._agreement.marks import CAME, Mark
from meshcompat._agreement.talk import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshcompat._agreement.marks import Marks
    from meshcompat._agreement.talk import Talk

AGREED = "agreed"

GRACE = 1.0
"""Seconds that a rank which came last has to say that all agree, when the time is over."""

SHORTEST = 0.01
"""Seconds of the shortest wait; some stores take none for one without an end."""

PAUSES = (0.02, 0.5)
"""Seconds between looks at who has come, at first and at most, where ranks differ or one is late."""


def patience(size: int) -> float:
    """Return the seconds that a rank has to ask how far each rank has got."""
    return 2.0 + size // 1000


class Place(NamedTuple):
    """Which comparison of which world this is, and which rank takes part."""

    prefix: str
    number: int
    rank: int
    size: int


class Difference(NamedTuple):
    """A verdict that is not `AGREED`.

    Attributes:
        rank: The first rank that differs, or that is missing.
        missing: The ranks that did not come.
        asked: What some ranks ask for: the culprit and one of the others, or who waited in vain.
        agreeing: How many ranks ask for what most of them do.
        seconds: How long the rank waited that found out who is missing.
    """

    rank: int
    missing: tuple[int, ...]
    asked: dict[int, dict[str, str]]
    agreeing: int
    seconds: float

    @classmethod
    def from_text(cls, text: str) -> Difference:
        """Return what `text` of another rank stands for."""
        rank, missing, asked, agreeing, seconds = json.loads(text)
        asked = {int(each): words for each, words in asked.items()}
        return cls(rank, tuple(missing), asked, agreeing, seconds)

    def text(self) -> str:
        """Return it in a form for the store."""
        return json.dumps(self)


class Comparison:
    """What one rank does in one comparison."""

    def __init__(self, talk: Talk, place: Place, marks: Marks, asked: Mapping[str, str]) -> None:
        self._talk = talk
        self._place = place
        self._marks = marks
        self.asked = dict(asked)
        self._words = json.dumps(self.asked)
        self._digest = hashlib.sha256(self._words.encode()).hexdigest()[:16]
        self._came: dict[int, str] = {}
        self._limit = self._deadline = 0.0

    @property
    def number(self) -> int:
        """Which comparison of its world this is."""
        return self._place.number

    def arrive(self, limit: float) -> str | None:
        """Tell what this rank asks for, and return the verdict if that completes it; wait for nobody.

        Only the first rank whose words differ waits: until all have come, so that it can say who
        differs.

        Args:
            limit: How many seconds to wait for the others from here on.
        """
        self._limit, self._deadline = limit, time.monotonic() + limit
        count, kinds = self._talk.add(self._counter, 1), 1
        if count == 1:
            self._talk.set(self._key(f"words {self._digest}"), self._words)
            kinds = self._talk.add(self._key("kinds"), 1)
        agreed = count == self._place.size
        if agreed:
            self._talk.set(self._key("verdict"), AGREED)
        # After the verdict: who dies before it is missing.
        mark = Mark(self._place.number, CAME, self._digest)
        self._marks.put(self._talk, self._place.rank, mark)
        if kinds == 2:  # the second kind; of more, others are the first
            self._judge()
        return AGREED if agreed else None

    def hear(self) -> str:
        """Return the verdict; give one where none comes in time."""
        verdict = self._key("verdict")
        left = max(SHORTEST, self._deadline - time.monotonic())
        if not self._talk.has(verdict, left) and not self._is_complete():
            self._decide()
            if not self._talk.has(verdict, patience(self._place.size)):
                return self._without_who_decides()
        return self._talk.get(verdict)

    def awaits_or_is_over(self, seconds: float) -> bool:
        """Return whether others ask for the same here, or have given up; take no part.

        Args:
            seconds: How long to wait for the first of them.
        """
        deadline = time.monotonic() + seconds
        pause = PAUSES[0]
        while not self._talk.add(self._key("kinds"), 0):
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, PAUSES[1])
        return any(self._talk.add(key, 0) for key in (self._counter, self._key("decided")))

    def clear(self, talk: Talk) -> None:
        """Delete the keys that it takes to agree, when all ranks have done with them."""
        names = (f"asked {self._digest}", f"words {self._digest}", "kinds", "verdict")
        talk.delete(*map(self._key, names))

    @property
    def _counter(self) -> str:
        return self._key(f"asked {self._digest}")

    def _key(self, name: str) -> str:
        return f"{self._place.prefix}/{self._place.number} {name}"

    def _judge(self) -> None:
        """Decide as soon as all ranks have come, unless another does before."""
        pause = PAUSES[0]
        while self._missing():
            if time.monotonic() > self._deadline or self._talk.add(self._key("decided"), 0):
                return
            time.sleep(pause)
            pause = min(2 * pause, PAUSES[1])
        self._decide()

    def _is_complete(self) -> bool:
        """Return whether the verdict comes at the last moment; from here on nobody agrees by number."""
        more_than_all = self._place.size + 1
        came = self._talk.add(self._counter, more_than_all) % more_than_all
        return came == self._place.size and self._talk.has(self._key("verdict"), GRACE)

    def _decide(self) -> None:
        if self._talk.add(self._key("decided"), 1) == 1:
            self._talk.set(self._key("decides"), str(self._place.rank))
            self._talk.set(self._key("verdict"), self._verdict())

    def _missing(self) -> list[int]:
        """Return the ranks that have not come; ask each only until it has."""
        for rank in range(self._place.size):
            if rank not in self._came:
                mark = self._marks.read(self._talk, rank)
                if mark is not None and mark.number >= self._place.number:
                    self._came[rank] = mark.digest
        return [rank for rank in range(self._place.size) if rank not in self._came]

    def _verdict(self) -> str:
        """Say who has not come, or who differs, or that all agree after all."""
        missing = self._missing()
        if missing:
            return self._in_vain(missing)
        counts = Counter(self._came[rank] for rank in range(self._place.size))
        usual, agreeing = counts.most_common(1)[0]
        if agreeing == self._place.size:
            return AGREED
        ranks = sorted(self._came)
        culprit = next(rank for rank in ranks if self._came[rank] != usual)
        named = (next(rank for rank in ranks if self._came[rank] == usual), culprit)
        asked = {
            rank: json.loads(self._talk.get(self._key(f"words {self._came[rank]}")))
            for rank in named
        }
        return Difference(culprit, (), asked, agreeing, self._limit).text()

    def _in_vain(self, missing: list[int]) -> str:
        asked = {self._place.rank: self.asked}
        return Difference(missing[0], tuple(missing), asked, 0, self._limit).text()

    def _without_who_decides(self) -> str:
        """Say that the rank that was to decide is missing."""
        who = self._key("decides")
        if not self._talk.has(who, GRACE):
            raise StoreError(self._talk.store, "wait", TimeoutError("no rank gave a verdict"))
        return self._in_vain([int(self._talk.get(who))])
