"""Whether the ranks meet at all, and what the machine is."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from tests.support.nccl.setting import (
    DEVICE,
    GPUS,
    RANKS,
    RIGHT,
    Result,
    pool_of_ranks,
    sum_over,
    tried,
    want,
)

if TYPE_CHECKING:
    from tests.support.nccl.setting import Tell

DRIVER = Path("/proc/driver/nvidia/version")


def run(tell: Tell) -> None:
    """Tell of the machine, then let all ranks add a number."""
    tell(Result("machine", RIGHT, "", machine()))
    tell(tried("all-reduce of all ranks", meet))


def meet() -> dict[str, float]:
    """Return how long the first sum of the ranks took, and a sum after it."""
    with pool_of_ranks(timeout=40) as pool:
        found = pool.run(two_sums)
    want("sums", [sums for sums, *_ in found], [[RANKS, RANKS]] * RANKS)
    return {
        "first all-reduce, s": round(max(first for _, first, _ in found), 2),
        "next all-reduce, ms": round(max(after for *_, after in found) * 1000, 2),
    }


def two_sums() -> tuple[list[int], float, float]:
    """Return two sums of ones, and how many seconds each took."""
    start = time.perf_counter()
    first = sum_over(dist.group.WORLD)
    between = time.perf_counter()
    second = sum_over(dist.group.WORLD)
    return [first, second], between - start, time.perf_counter() - between


def machine() -> dict[str, str]:
    """Return what the figures of a run belong to."""
    facts = {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "meshcompat at": commit(),
    }
    if DEVICE == "cpu":
        return {**facts, "GPUs": "none: a rehearsal on gloo"}
    names = [torch.cuda.get_device_name(index) for index in range(GPUS)]
    nccl = ".".join(map(str, torch.cuda.nccl.version()))
    gpus = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return {
        **facts,
        "GPUs": gpus,
        "driver": driver(),
        "CUDA": str(torch.version.cuda),
        "NCCL": nccl,
    }


def commit() -> str:
    """Return the commit that is checked out; empty where git cannot say."""
    git = shutil.which("git")
    if not git:
        return ""
    command = [git, "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def driver() -> str:
    """Return the version of the driver, as nvidia-smi or the kernel says it."""
    smi = shutil.which("nvidia-smi")
    if smi:
        command = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        if said.returncode == 0:
            return said.stdout.split("\n")[0].strip()
    found = re.search(r"\d+\.\d+\.\d+", DRIVER.read_text()) if DRIVER.exists() else None
    return found[0] if found else "unknown"
