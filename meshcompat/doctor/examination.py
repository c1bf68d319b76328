"""One examination: torch is tried in another process while this one looks around."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshcompat._rank_processes.launchers import LauncherError, launch_of
from meshcompat._rank_processes.place import Place
from meshcompat.doctor import facts as installed
from meshcompat.doctor import ranks as between
from meshcompat.doctor.ranks import NotMetError, Ranks
from meshcompat.doctor.report import Report
from meshcompat.doctor.trial import Outcome, Trial

if TYPE_CHECKING:
    from collections.abc import Mapping


def examine(environment: Mapping[str, str], timeout: float) -> Report | None:
    """Return what was found; None on a rank that has told rank 0.

    Raises:
        NotMetError: This is not rank 0, and rank 0 cannot be told.

    Collective:
        Yes under a launcher: all its ranks.
    """
    place, note = _place(environment)
    if place is not None and place.rank != 0:
        between.tell(place, installed.gather(environment), timeout)
        return None
    with Trial() as trial:
        facts = installed.gather(environment)
        met = None if place is None or facts["torch"] is None else _met(place, facts, timeout)
        outcome = Outcome([], None) if facts["missing"] else trial.outcome()
    return Report(facts, outcome, met, note)


def _met(place: Place, facts: Mapping[str, Any], timeout: float) -> Ranks:
    try:
        return between.hear(place, facts, timeout)
    except NotMetError as error:
        return Ranks(place.world_size, [], {}, [], {}, str(error))


def _place(environment: Mapping[str, str]) -> tuple[Place | None, str | None]:
    """Return this process's place among the ranks of a launcher, or why it has none."""
    try:
        if launch_of(environment) is None:
            return None, None
        return Place.of(environment), None
    except LauncherError as error:
        return None, f"not met, as their launcher's variables do not do: {error}"
