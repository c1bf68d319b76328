"""`meshcompat verify`, on ranks that are started as a launcher would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from meshcompat._rank_processes.gpus import gpu_of
from tests.support.nccl.setting import DEVICE, GPUS, RANKS, tried, want

if TYPE_CHECKING:
    from tests.support.nccl.setting import Tell

COMMAND = [sys.executable, "-m", "meshcompat", "verify", "--device", DEVICE]
PATIENCE = 20


def run(tell: Tell) -> None:
    """Run the command, and tell what it found."""
    tell(tried(f"meshcompat verify --device {DEVICE}", verify))


def verify() -> dict[str, float]:
    """Return how many mesh dims were checked, and how many groups they took."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "report.json")
        command = [*COMMAND, "--timeout", str(PATIENCE), "--report", str(path)]
        ranks = [subprocess.Popen(command, env=environment_of(rank, port)) for rank in range(RANKS)]
        try:
            codes = [rank.wait(timeout=4 * PATIENCE) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        want("exit codes", codes, [0] * RANKS)
        report = json.loads(path.read_text(encoding="utf-8"))
    want("ok", report["ok"], True)
    groups = report["groups_made"]["on_each_rank"]
    return {"mesh dims": len(report["rows"]), "groups made on each rank": groups}


def environment_of(rank: int, port: int) -> dict[str, str]:
    """Return the variables of one rank."""
    environment = {
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": str(RANKS),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    gpu = gpu_of(rank, RANKS, GPUS, environment) if GPUS else rank
    return {**environment, "LOCAL_RANK": str(gpu)}
