"""The memory that a build takes: `python -m benchmarks.memory SIDE RANKS DIMS`, each in a process of its own."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
STATUS = Path("/proc/self/status")
FORGET_PEAK = Path("/proc/self/clear_refs")


def of_build(side: str, world_size: int, size_1: str) -> dict[str, float]:
    """Return the MiB that a build adds to a process: at the peak, and after it."""
    command = [sys.executable, "-m", "benchmarks.memory", side, str(world_size), size_1]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    grown: dict[str, float] = json.loads(told.stdout)
    return grown


def main(side: str, world_size: int, size_1: str) -> None:
    """Build twice, first in a small world for what only the first build of a process takes."""
    from benchmarks import worlds  # noqa: PLC0415  (torch, which the caller's process may not want)

    build = worlds.builders()[side]
    with worlds.fresh_world(64):
        build(worlds.layout_of(64))
    gc.collect()
    with worlds.fresh_world(world_size):
        FORGET_PEAK.write_text("5", encoding="ascii")
        before = mib("VmRSS")
        kept = build(worlds.layout_of(world_size, size_1))
        peak = mib("VmHWM") - before
        gc.collect()
        after = mib("VmRSS") - before
        del kept
    print(json.dumps({"peak": round(peak, 1), "after": round(after, 1)}))


def mib(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text(encoding="ascii"))
    if found is None:
        raise RuntimeError(f"{STATUS} does not tell {field}; memory is measured on Linux only")
    return int(found[1]) / 1024


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
