"""Sides of a comparison timed in turns, so that what else the machine does meets all of them."""

from __future__ import annotations

import gc
import math
import statistics
import time
import timeit
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Side = Callable[[], float]
    """Does one thing once, or many times, and returns the seconds of one."""

    Drive = Callable[[Callable[[], None], int], object]
    """Calls its first argument as often as its second says."""

DIGITS = 4
PAUSE = 0.02
"""Seconds between turns: a processor's speed changes from one second to the next, and the turns shall see all of it."""


def in_turns(sides: Mapping[str, Side], rounds: int, drive: Drive) -> dict[str, dict[str, float]]:
    """Return the figures of each side, measured one after the other in every round, in turning order.

    Args:
        sides: What to measure, by name.
        rounds: How often each side is measured.
        drive: Repeats the turns: pytest-benchmark, or a loop.
    """
    samples: dict[str, list[float]] = {name: [] for name in sides}

    def turn() -> None:
        # Whoever comes second finds the processor's caches as the first one left them.
        order = list(sides)
        time.sleep(PAUSE)
        for name in order if len(samples[order[0]]) % 2 == 0 else reversed(order):
            samples[name].append(sides[name]())

    drive(turn, rounds)
    found = {name: figures(seconds) for name, seconds in samples.items()}
    if samples.keys() >= {"ours", "torch"}:
        # Of each turn, in which both met the same processor.
        ratios = [a / b for a, b in zip(samples["ours"], samples["torch"], strict=True)]
        found["ours"]["of torch"] = rounded(statistics.median(ratios))
    return found


def figures(seconds: Sequence[float]) -> dict[str, float]:
    """Return what is kept of the samples of one side, in seconds."""
    several = seconds if len(seconds) > 1 else [*seconds] * 3
    low, median, high = statistics.quantiles(several, n=4, method="inclusive")
    return {
        "median": rounded(median),
        "min": rounded(min(seconds)),
        "iqr": rounded(high - low),
        "rounds": len(seconds),
    }


def rounded(value: float) -> float:
    """Return a number with as many digits as a measurement has."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else value


def once(function: Callable[[], object]) -> float:
    """Return the seconds that one call takes, with the garbage of others out of the way."""
    gc.collect()
    start = time.perf_counter()
    kept = function()
    seconds = time.perf_counter() - start
    del kept
    return seconds


def looped(statement: str, names: Mapping[str, Any], calls: int) -> Side:
    """Return a side that runs a statement so often that the clock's own cost does not count."""
    timer = timeit.Timer(statement, globals=dict(names))
    return lambda: timer.timeit(calls) / calls
