"""What a new process pays: the import, the command's help, and `meshcompat verify`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
IMPORT = """
import time, torch
times = [time.perf_counter()]
import meshcompat
times.append(time.perf_counter())
for name in meshcompat.__all__:
    getattr(meshcompat, name)
times.append(time.perf_counter())
print(times[1] - times[0], times[2] - times[0])
"""
HELP = ["-m", "meshcompat", "--help"]


def test_import_after_torch(in_turns):
    """Time `import meshcompat`, and up to the point where all its names are there."""
    waiting = {"ours": deque(), "every name": deque()}

    def take(side):
        if not waiting[side]:
            alone, with_names = map(float, told("-c", IMPORT).split())
            waiting["ours"].append(alone)
            waiting["every name"].append(with_names)
        return waiting[side].popleft()

    in_turns({side: partial(take, side) for side in waiting}, rounds=5, topic="import")


def test_help(in_turns):
    """Beside it, what an interpreter takes that does nothing."""
    sides = {"ours": lambda: wall(*HELP), "python": lambda: wall("-c", "pass")}
    in_turns(sides, rounds=10, topic="help")


def test_help_does_without_torch(note):
    seen = subprocess.run(
        [sys.executable, "-X", "importtime", *HELP],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = [line.rpartition("|")[2].strip() for line in seen.stderr.splitlines()]
    assert "meshcompat" in modules
    torch = [name for name in modules if name.split(".")[0] == "torch"]
    note({"topic": "help imports", "counts": {"modules": len(modules), "of torch": len(torch)}})


def test_verify(in_turns):
    in_turns({"ours": lambda: wall("-m", "meshcompat", "verify")}, rounds=3, topic="verify")


def told(*arguments):
    """Return what python prints, run as a user would run it: from what was compiled before."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def wall(*arguments):
    start = time.perf_counter()
    told(*arguments)
    return time.perf_counter() - start
