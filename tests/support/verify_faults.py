"""Ranks that fail on purpose, for the tests of ``meshcompat verify``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from meshcompat.verify import arguments, command
from meshcompat.verify.plan import STANDARD_NAMES, Plan, derive_shape


def standard_plan(world_size):
    return Plan(derive_shape(world_size, STANDARD_NAMES), STANDARD_NAMES)


def patient_timeout():
    """Return a timeout in seconds that is short, and longer where the machine is busy."""
    return 3.0 + round(os.getloadavg()[0] / (os.cpu_count() or 1))


@contextlib.contextmanager
def quiet_environment():
    """Have a fork server start without others' warnings, and without thread pools."""
    given = dict(os.environ)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        yield
    finally:
        for name in ("TORCH_CPP_LOG_LEVEL", "OMP_NUM_THREADS", "PYTHONWARNINGS"):
            os.environ.pop(name, None)
            if name in given:
                os.environ[name] = given[name]


@dataclass(frozen=True)
class Fault:
    """An all-reduce with which one rank goes wrong on one mesh dim."""

    kind: str
    rank: int
    row: str

    def __call__(self, tensor, row, group):
        from meshcompat.verify import checks  # noqa: PLC0415  (torch is for ranks)

        is_mine = int(tensor.argmax()) == self.rank and str(row) == self.row
        if is_mine and self.kind == "raise":
            raise OSError("no such device")
        if is_mine and self.kind == "SIGSTOP":
            os.write(2, str(time.time()).encode())
        if is_mine and self.kind.startswith("SIG"):
            os.kill(os.getpid(), getattr(signal, self.kind))
        if is_mine and self.kind == "late":
            time.sleep(2)
        began = checks.all_reduce(tensor, row, group)
        if is_mine and self.kind == "twice":
            tensor.mul_(2)
        if is_mine and self.kind == "wrong":
            tensor.zero_()[0] = 1
        return began


@dataclass(frozen=True)
class Launch:
    """One rank as a launcher starts it."""

    rank: int
    world_size: int
    port: int
    folder: str
    arguments: tuple[str, ...]
    reduce: Fault | None

    def __call__(self):
        """Run in a process of its own; leave output and exit code in files."""
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{self.folder}/{name}{self.rank}", os.O_WRONLY | os.O_CREAT), stream)
        os.environ |= {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.world_size),
            "LOCAL_RANK": str(self.rank % 2),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self.port),
            "GLOO_SOCKET_IFNAME": "lo",
        }
        parser = argparse.ArgumentParser()
        arguments.add_arguments(parser)
        request = arguments.read(parser, parser.parse_args(self.arguments), os.environ)
        sys.exit(command.run(request, self.reduce))

    def output(self, name="out"):
        """Return what it has written, empty where it has not begun to."""
        path = Path(f"{self.folder}/{name}{self.rank}")
        return path.read_text() if path.exists() else ""

    def written_at(self):
        return Path(f"{self.folder}/out{self.rank}").stat().st_mtime
