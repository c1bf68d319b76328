"""What is kept of a run: the machine, the releases, and a row for each thing measured."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def release() -> str:
    """Return the release of torch without the name of its build."""
    return torch.__version__.partition("+")[0]


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "torch": release(),
        "python": platform.python_version(),
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
    }


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a run: a line for the machine, and one for each row."""
    lines = [f'"run": {json.dumps(machine())}', f'"rows": [\n{_lines(rows)}\n]']
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def line(row: Mapping[str, Any]) -> str:
    """Return a row in words, for whoever watches the run."""
    about = [str(value) for key, value in row.items() if key not in {"sides", "counts"}]
    if "counts" in row:
        return f"{', '.join(about)}: {row['counts']}"
    times = {side: figures["min"] for side, figures in row["sides"].items()}
    ratio = row["sides"].get("ours", {}).get("of torch")
    compared = "" if ratio is None else f"  ours/torch {ratio:.3g}"
    told = ", ".join(f"{side} {seconds * 1e6:.4g} us" for side, seconds in times.items())
    return f"{', '.join(about)}: {told}{compared}"


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return ",\n".join(json.dumps(row) for row in rows)


def _cpu() -> str:
    """Return the processor's own name for itself; platform has none on Linux."""
    described = Path("/proc/cpuinfo")
    if sys.platform == "linux" and described.exists():
        for entry in described.read_text(encoding="utf-8").splitlines():
            key, _, value = entry.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
