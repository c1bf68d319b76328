"""How fast ranks and groups were, and which rank the others waited for."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshcompat.verify.plan import Row
    from meshcompat.verify.roll import Roll

SLOW = 1000.0
"""Milliseconds that a rank may be behind in one all-reduce without a warning."""

TIMES = 10.0
"""How many times slower than the median rank a rank must be for a warning."""

LATE = 3000.0
"""Milliseconds that a rank may join after the first one without a warning."""


class Spread(NamedTuple):
    """The least, the middle and the greatest of some figures."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, figures: Iterable[float]) -> Spread:
        """Summarise at least one figure."""
        ordered = sorted(figures)
        return cls(ordered[0], statistics.median(ordered), ordered[-1])


class Pace(NamedTuple):
    """How one group did its all-reduce.

    Attributes:
        ranks: The group.
        milliseconds: Time in the all-reduce, over its ranks; who comes first waits longest.
        slowest: The rank that kept the others waiting longest.
        behind: Milliseconds for which it did: what it took longer than the median rank to get
            there from the all-reduce before, or what it ended after the first of its group.
        usual: Milliseconds in which the median rank gets there.
    """

    ranks: tuple[int, ...]
    milliseconds: Spread
    slowest: int
    behind: float
    usual: float


class Bandwidth(NamedTuple):
    """What the groups of one mesh dim reached with all-reduces of one size, all at once.

    Attributes:
        row: The mesh dim.
        size: Bytes of the tensor.
        group_size: Ranks of a group.
        rates: Bus bandwidth in GB/s over the groups; that of a group is its slowest rank's.
        slowest: The group that reached least.
    """

    row: Row
    size: int
    group_size: int
    rates: Spread
    slowest: tuple[int, ...]


def paces_of(roll: Roll, row: Row) -> list[Pace]:
    """Return the pace of every group of a mesh dim that all ranks have tried, of two ranks or more."""
    index = roll.plan.rows.index(row)
    owns = [_own_time(roll, rank, index) for rank in range(roll.plan.world_size)]
    usual = statistics.median(owns)
    results = [member.results[index] for member in roll.members]
    ends = [result.began + result.milliseconds for result in results]
    paces = []
    for group in roll.plan.groups_of(row):
        if len(group) < 2:
            continue
        first = min(ends[rank] for rank in group)
        behind = {rank: max(owns[rank] - usual, ends[rank] - first) for rank in group}
        slowest = max(group, key=lambda rank: behind[rank])
        spread = Spread.of(results[rank].milliseconds for rank in group)
        paces.append(Pace(group, spread, slowest, max(0.0, behind[slowest]), usual))
    return paces


def _own_time(roll: Roll, rank: int, index: int) -> float:
    """Return the milliseconds that a rank took, on its own, to get to an all-reduce."""
    results = roll.members[rank].results
    before = results[index - 1] if index else None
    return results[index].began - (before.began + before.milliseconds if before else 0.0)


def lateness_of(roll: Roll) -> dict[int, float]:
    """Return by how many milliseconds each rank joined after the first one."""
    waited = {
        rank: member.identity.waited
        for rank, member in enumerate(roll.members)
        if member.identity is not None
    }
    # All go on at the same time: who waited least was ready last.
    return {rank: max(waited.values()) - time for rank, time in waited.items()}


def bandwidths_of(roll: Roll) -> list[Bandwidth]:
    """Return what was measured, for the mesh dims and sizes that all ranks came to the end of."""
    plan = roll.plan
    seconds = [{(r.measured, r.size): r.seconds for r in member.rates} for member in roll.members]
    found = []
    for measured, row in enumerate(plan.measured):
        for size in plan.bandwidth:
            key = (measured, size)
            if any(key not in of_rank for of_rank in seconds):
                continue
            slowest_first = sorted(
                (bus_bandwidth(size, max(seconds[rank][key] for rank in group), len(group)), group)
                for group in plan.groups_of(row)
            )
            rates = Spread.of(rate for rate, _ in slowest_first)
            group = slowest_first[0][1]
            found.append(Bandwidth(row, size, len(group), rates, group))
    return found


def bus_bandwidth(size: int, seconds: float, ranks: int) -> float:
    """Return the bus bandwidth of an all-reduce in GB/s, which hardware bounds whatever the ranks.

    The formula is that of nccl-tests: each byte crosses a link ``2 * (n - 1) / n`` times,
    https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md
    """
    return size / max(seconds, 1e-9) / 1e9 * 2 * (ranks - 1) / ranks
