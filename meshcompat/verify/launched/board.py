"""What ranks tell each other through a store when a launcher started them.

It is all counters. They are read by adding 0, which never waits for a rank that does not come.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from meshcompat.verify.roll import Identity, Member, Rate, Result, Roll

if TYPE_CHECKING:
    from meshcompat._rank_processes.stores import Store
    from meshcompat.verify.plan import Plan


class Board:
    """One rank's connection to the board."""

    def __init__(self, store: Store, rank: int) -> None:
        """*store* is used from one thread only: a blocked call would block the others."""
        self._store = store
        self.rank = rank
        self._results: list[Result] = []
        self._rates: list[Rate] = []

    def read(self, name: str) -> int:
        """Return a counter."""
        return self.count(name, 0)

    def count(self, name: str, more: int = 1) -> int:
        """Add to a counter, and return what it is then."""
        return int(self._store.add(name, more))

    def beat(self) -> None:
        """Give a sign of life."""
        self.count(f"beats/{self.rank}")

    def beats(self, world_size: int) -> list[int]:
        """Return how many signs of life each rank has given."""
        return [self.read(f"beats/{rank}") for rank in range(world_size)]

    def began(self, step: int) -> None:  # noqa: ARG002  (steps are counted, in order)
        """Say that the next step begins."""
        self.count(f"steps/{self.rank}")
        self.count("progress")

    def found(self, result: Result) -> None:
        """Say what the next row gave."""
        self._results.append(result)
        self._store.set(f"results/{self.rank}", json.dumps(self._results))

    def came(self, identity: Identity) -> None:
        """Say who this rank is."""
        self._store.set(f"identity/{self.rank}", json.dumps(identity))
        self.count(f"came/{self.rank}")

    def measured(self, rate: Rate) -> None:
        """Say how long all-reduces of one size took."""
        self._rates.append(rate)
        self._store.set(f"rates/{self.rank}", json.dumps(self._rates))
        self.count(f"rated/{self.rank}")

    def ended(self, error: str | None) -> None:
        """Say that this rank is through, or gave up."""
        if error is not None:
            self._store.set(f"error/{self.rank}", error)
            self.count(f"errors/{self.rank}")
            self.count("errors")
        self.count(f"ended/{self.rank}")
        self.count("ended")

    def roll(self, plan: Plan) -> Roll:
        """Return what all ranks have said."""
        return Roll(plan, [self._member(plan, rank) for rank in range(plan.world_size)])

    def _member(self, plan: Plan, rank: int) -> Member:
        begun = self.read(f"steps/{rank}")
        member = Member(step=begun - 1 if begun else None)
        member.has_ended = self.read(f"ended/{rank}") > 0
        if self.read(f"errors/{rank}"):
            member.error = self._store.get(f"error/{rank}").decode()
        is_through = member.has_ended and member.error is None
        # A result is set before the next step begins, so this does not wait.
        if is_through or (member.step or 0) > plan.first_row_step:
            listed = json.loads(self._store.get(f"results/{rank}"))
            member.results = [Result(*result) for result in listed]
        if self.read(f"came/{rank}"):
            member.identity = Identity(*json.loads(self._store.get(f"identity/{rank}")))
        if plan.measured and self.read(f"rated/{rank}"):
            rates = json.loads(self._store.get(f"rates/{rank}"))
            member.rates = [Rate(*rate) for rate in rates]
        return member
