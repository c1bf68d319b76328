"""What the roll means: which rank failed, where, and who only waited for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshcompat._rank_processes.words import ranks_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat.verify.plan import Plan, Row
    from meshcompat.verify.roll import Member, Result, Roll


@dataclass(frozen=True)
class Failure:
    """One thing that went wrong.

    Attributes:
        kind: ``wrong``, ``missing``, ``died``, ``silent``, ``error``, ``stuck``, ``store`` or
            ``rendezvous``.
        ranks: The ranks that it happened to.
        row: The mesh dim on which it happened, or None before the first all-reduce.
        group: The ranks that should have met there.
        message: The sentence for a reader.
    """

    kind: str
    ranks: tuple[int, ...]
    row: Row | None
    group: tuple[int, ...]
    message: str


def failures_of(roll: Roll, bound: str) -> list[Failure]:
    """Return what went wrong, causes before consequences; nothing if all is right.

    *bound* says until when was waited: ``within 60 s``.

    A rank that died, or that gives no sign of life, explains the errors of those who waited
    for it: these come last, and are told from one rank only.
    """
    faulty = [*_wrong(roll), *_lost(roll), *_missing(roll, bound)]
    if not any(failure.kind != "wrong" for failure in faulty):
        return faulty + _grouped(roll, "error", _gave_up) + _stuck(roll, bound)
    consequences = _grouped(roll, "error", _gave_up) or _stuck(roll, bound)
    return faulty + consequences[:1]


def _wrong(roll: Roll) -> list[Failure]:
    found = []
    for row, *results in zip(roll.plan.rows, *_columns(roll), strict=True):
        for rank, result in enumerate(results):
            if result is not None and result.fault is not None:
                group = roll.plan.group_of(row, rank)
                message = f"rank {rank} is wrong on {row}: {result.fault}"
                found.append(Failure("wrong", (rank,), row, group, message))
    return found


def _missing(roll: Roll, bound: str) -> list[Failure]:
    missing = tuple(
        rank
        for rank, member in enumerate(roll.members)
        if member.step is None and member.end is None
    )
    if not missing:
        return []
    message = (
        f"{ranks_named(missing)} never came {bound}; look whether the process runs there and "
        f"reaches rank 0, or raise --timeout if importing torch takes that long; "
        f"{len(roll.members) - len(missing)} of {len(roll.members)} ranks came: if no more were "
        f"started, the number of ranks (WORLD_SIZE) is wrong"
    )
    return [Failure("missing", missing, None, (), message)]


def _lost(roll: Roll) -> list[Failure]:
    """Name the ranks that died or give no sign of life, each on its own."""
    found = []
    for rank, member in enumerate(roll.members):
        during = f"during {_where(roll.plan, member, rank)}"
        if member.end is not None:
            kind, message = "died", f"rank {rank} died ({member.end}) {during}"
        elif member.is_silent and member.step is not None:
            kind = "silent"
            message = f"rank {rank} died or is stopped: no sign of life from it {during}"
        else:
            continue
        if member.last_words:
            message += f"; its last words: {member.last_words}"
        found.append(_failure(roll, kind, (rank,), member, message))
    return found


def _grouped(roll: Roll, kind: str, say: Callable[[Member], str | None]) -> list[Failure]:
    """Tell once what the ranks of one group have to say about one step."""
    sayings: dict[object, tuple[list[int], str]] = {}
    for rank, member in enumerate(roll.members):
        if member.end is not None or member.is_silent or member.step is None:
            continue
        said = say(member)
        if said is not None:
            key = (member.step, _group(roll.plan, member, rank))
            sayings.setdefault(key, ([], said))[0].append(rank)
    found = []
    for ranks, said in sayings.values():
        member = roll.members[ranks[0]]
        message = f"{ranks_named(ranks)} {said} {_where(roll.plan, member, ranks[0])}"
        if member.error is not None:
            message += f": {member.error}"
        found.append(_failure(roll, kind, tuple(ranks), member, message))
    return found


def _gave_up(member: Member) -> str | None:
    return None if member.error is None else "gave up in"


def _stuck(roll: Roll, bound: str) -> list[Failure]:
    if roll.is_complete:
        return []

    def say(member: Member) -> str | None:
        return None if member.has_ended else f"did not finish {bound}:"

    return _grouped(roll, "stuck", say)


def _failure(
    roll: Roll, kind: str, ranks: tuple[int, ...], member: Member, message: str
) -> Failure:
    row = None if member.step is None else roll.plan.row_at(member.step)
    return Failure(kind, ranks, row, _group(roll.plan, member, ranks[0]), message)


def _where(plan: Plan, member: Member, rank: int) -> str:
    """Write where a rank is: its step, and whom it has to meet there."""
    if member.has_ended and member.error is None:
        return "the wait for the others"
    step = member.step or 0
    row = plan.row_at(step)
    if row is None:
        return plan.steps[step]
    return f"{plan.steps[step]}, {ranks_named(plan.group_of(row, rank))}"


def _group(plan: Plan, member: Member, rank: int) -> tuple[int, ...]:
    row = None if member.step is None else plan.row_at(member.step)
    return () if row is None else plan.group_of(row, rank)


def _columns(roll: Roll) -> list[list[Result | None]]:
    """Return each rank's results, with None for the rows that it has not tried."""
    count = len(roll.plan.rows)
    return [[*member.results, *[None] * (count - len(member.results))] for member in roll.members]
