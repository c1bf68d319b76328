"""What one rank's process is given by the one that started it, and how often it must report."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from meshcompat.verify.checks import Reduce
    from meshcompat.verify.plan import Plan

BEAT = 0.25
"""Seconds between a rank's signs of life."""


class Task(NamedTuple):
    """What the process of one rank is given: which rank of which plan it is, and its log."""

    rank: int
    plan: Plan
    timeout: float
    reduce: Reduce | None
    log: str
