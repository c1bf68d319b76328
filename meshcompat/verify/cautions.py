"""Warnings, which are no failures: ranks that are slow or late, releases that differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshcompat._rank_processes.words import ranks_named
from meshcompat._rank_text import ranks_text
from meshcompat.verify.pace import LATE, SLOW, TIMES, lateness_of, paces_of

if TYPE_CHECKING:
    from meshcompat.verify.plan import Row
    from meshcompat.verify.roll import Roll


@dataclass(frozen=True)
class Caution:
    """One thing to look at.

    Attributes:
        kind: ``slow``, ``late`` or ``versions``.
        ranks: The ranks that it is about.
        row: The mesh dim on which it was seen, or None.
        milliseconds: For how long the others waited, or None.
        message: The sentence for a reader.
    """

    kind: str
    ranks: tuple[int, ...]
    row: Row | None
    milliseconds: float | None
    message: str


def cautions_of(roll: Roll) -> list[Caution]:
    """Return what to look at, worst first within each kind; nothing if all ranks are alike."""
    return [*_slow(roll), *_late(roll), *_versions(roll)]


def on_host(roll: Roll, rank: int) -> str:
    """Write ``rank 3 on node0``, or ``rank 3`` where the host is not known."""
    identity = roll.members[rank].identity
    return f"rank {rank}" + ("" if identity is None else f" on {identity.host}")


def _slow(roll: Roll) -> list[Caution]:
    found = []
    for index, row in enumerate(roll.plan.rows):
        if any(len(member.results) <= index for member in roll.members):
            break
        for pace in paces_of(roll, row):
            if pace.behind < max(SLOW, TIMES * pace.usual):
                continue
            message = (
                f"{on_host(roll, pace.slowest)} kept the others waiting for "
                f"{pace.behind / 1000:.1f} s in the all-reduce on {row}, "
                f"{ranks_named(pace.ranks)}"
            )
            found.append(Caution("slow", (pace.slowest,), row, pace.behind, message))
    return sorted(found, key=lambda caution: -(caution.milliseconds or 0.0))


def _late(roll: Roll) -> list[Caution]:
    late = {rank: time for rank, time in lateness_of(roll).items() if time > LATE}
    return [
        Caution(
            "late",
            (rank,),
            None,
            time,
            f"{on_host(roll, rank)} joined {time / 1000:.1f} s after the first rank; look what "
            f"its start waits for, such as a slow file system",
        )
        for rank, time in sorted(late.items(), key=lambda item: -item[1])
    ]


def _versions(roll: Roll) -> list[Caution]:
    """Warn of ranks whose torch or NCCL is not that of the others."""
    ranks_of: dict[str, list[int]] = {}
    for rank, member in enumerate(roll.members):
        if member.identity is not None:
            nccl = f" with NCCL {member.identity.nccl}" if member.identity.nccl else ""
            ranks_of.setdefault(f"torch {member.identity.torch}{nccl}", []).append(rank)
    if len(ranks_of) < 2:
        return []
    told = "; ".join(f"{version} on ranks {ranks_text(r)}" for version, r in ranks_of.items())
    usual = max(ranks_of.values(), key=len)
    others = tuple(sorted({r for ranks in ranks_of.values() for r in ranks} - set(usual)))
    return [Caution("versions", others, None, None, f"the ranks differ: {told}")]
