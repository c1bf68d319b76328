"""What has been heard of each rank. Pure data: `local` and `launched` fill it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from meshcompat.verify.plan import Plan


class Identity(NamedTuple):
    """Who a rank is, as it says when it has joined the default process group.

    Attributes:
        host: The name of its machine.
        device: What it computes on, such as ``cuda:3``.
        torch: The version that torch itself gives.
        nccl: The version of NCCL, or None where it is not used.
        waited: Milliseconds from when it was ready to join until all had joined.
    """

    host: str
    device: str
    torch: str
    nccl: str | None
    waited: float


class Result(NamedTuple):
    """What one rank found on one mesh dim.

    Attributes:
        milliseconds: How long the all-reduce took here: with waiting for the others and, for
            NCCL, with connecting to them.
        is_new: Whether the group was made for this mesh dim.
        fault: What was wrong, or None.
        began: Milliseconds from when all had joined until it began the all-reduce.
    """

    milliseconds: float
    is_new: bool
    fault: str | None
    began: float = 0.0


class Rate(NamedTuple):
    """How long one rank took for all-reduces of one size on one of the measured mesh dims."""

    measured: int
    size: int
    seconds: float


@dataclass
class Member:
    """One rank, as the others know it.

    Attributes:
        step: The step of the plan that it began last, or None if it never came.
        identity: Who it is, once it has joined.
        results: What it found, for the first rows of the plan.
        rates: What it measured, in order.
        has_ended: Whether it said that it is through with the plan, or gave up.
        error: What made it give up.
        end: How its process ended, where that is known and it ended too early.
        is_silent: Whether it gives no sign of life any more.
        last_words: What it wrote last before it died.
    """

    step: int | None = None
    identity: Identity | None = None
    results: list[Result] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    has_ended: bool = False
    error: str | None = None
    end: str | None = None
    is_silent: bool = False
    last_words: str = ""


@dataclass
class Roll:
    """All ranks of a run."""

    plan: Plan
    members: list[Member]

    @classmethod
    def of(cls, plan: Plan) -> Roll:
        """Return a roll on which nobody has been heard of."""
        return cls(plan, [Member() for _ in range(plan.world_size)])

    @property
    def is_complete(self) -> bool:
        """Whether every rank is through."""
        return all(member.has_ended for member in self.members)

    @property
    def is_troubled(self) -> bool:
        """Whether a rank can go on no more, so that others may wait for it in vain."""
        return any(member.error or member.end for member in self.members)

    @property
    def progress(self) -> int:
        """How many steps have begun, over all ranks."""
        return sum(0 if m.step is None else m.step + 1 for m in self.members)
