"""How far each rank has got: one key a rank, which only that rank writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from meshcompat._agreement.talk import Talk

JOINED = "joined"
CAME = "came"
MADE = "made"
GAVE_UP = "gave up"


class Mark(NamedTuple):
    """In which comparison of its world a rank is, how far in it, and the digest of what it asks for."""

    number: int
    state: str
    digest: str = ""


class Marks:
    """The marks of the ranks of one world.

    Attributes:
        are_all_there: Whether every rank has written one, so that reading one never waits.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.are_all_there = False

    def join(self, talk: Talk, rank: int) -> bool:
        """Put down that a rank is in this world; return False where it was before."""
        self.put(talk, rank, Mark(-1, JOINED))  # first, so that whoever joined has a mark
        return talk.add(self._joined(rank), 1) == 1

    def put(self, talk: Talk, rank: int, mark: Mark) -> None:
        """Write how far a rank has got."""
        talk.set(self._of(rank), f"{mark.number}/{mark.state}/{mark.digest}")

    def read(self, talk: Talk, rank: int) -> Mark | None:
        """Return how far a rank has got; None where it has not come into this world."""
        # A number that is not there reads as 0, whatever the store; other values are waited for.
        if not self.are_all_there and talk.add(self._joined(rank), 0) == 0:
            return None
        number, state, digest = talk.get(self._of(rank)).split("/")
        return Mark(int(number), state, digest)

    def _joined(self, rank: int) -> str:
        return f"{self._prefix}/joined {rank}"

    def _of(self, rank: int) -> str:
        return f"{self._prefix}/rank {rank}"
