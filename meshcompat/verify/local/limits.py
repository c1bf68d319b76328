"""How many ranks a machine is good for."""

from __future__ import annotations

import os
import re
from pathlib import Path

RANKS_PER_CORE = 16
"""Ranks mostly wait for each other; with more than this, timeouts tell of the machine only."""

ALWAYS = 64
"""Ranks that any machine may be asked for."""

MEGABYTES_PER_RANK = 64
"""What a forked rank needs of its own, beside what all share."""

MEGABYTES_SHARED = 600
"""What torch needs once."""

MEMORY = Path("/proc/meminfo")


def excess(world_size: int) -> str | None:
    """Say why this machine should not start so many ranks; None where it may."""
    count = cores()
    most = max(ALWAYS, RANKS_PER_CORE * count)
    if world_size > most:
        return (
            f"{world_size} ranks are too many for {count} cores: most of what they did would be "
            f"to wait for each other; {_advice(most)}"
        )
    free = free_megabytes()
    needed = MEGABYTES_SHARED + MEGABYTES_PER_RANK * world_size
    if free is not None and needed > free:
        fitting = max(1, (free - MEGABYTES_SHARED) // MEGABYTES_PER_RANK)
        return (
            f"{world_size} ranks need about {needed / 1024:.1f} GB of memory, and "
            f"{free / 1024:.1f} GB are free; {_advice(fitting)}"
        )
    return None


def _advice(fitting: int) -> str:
    return (
        f"ask for at most {fitting} with -n, start it on a cluster with torchrun, or add "
        f"--oversubscribe to try"
    )


def cores() -> int:
    """Return the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not outside Linux
        return os.cpu_count() or 1


def free_megabytes() -> int | None:
    """Return the memory that is free, where the system says it."""
    try:
        text = MEMORY.read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return None if found is None else int(found[1]) // 1024
