"""`meshcompat verify`, on ranks that are started as a launcher would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from meshcompat._rank_processes.gpus import gpu_of
from tests.support.nccl.setting import DEVICE, GPUS, RANKS, WrongError, tried

if TYPE_CHECKING:
    from tests.support.nccl.setting import Tell

COMMAND = [sys.executable, "-m", "meshcompat", "verify", "--device", DEVICE, "--json"]
PATIENCE = 20


def run(tell: Tell) -> None:
    """Run the command, and tell what it found."""
    tell(tried(f"meshcompat verify --device {DEVICE}", verify))


def verify() -> dict[str, float]:
    """Return how many groups were checked, and how long it took."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*COMMAND, "--timeout", str(PATIENCE)]
    ranks = [
        subprocess.Popen(
            command,
            env=environment_of(rank, port),
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            text=True,
        )
        for rank in range(RANKS)
    ]
    try:
        said, _ = ranks[0].communicate(timeout=4 * PATIENCE)
    finally:
        for rank in ranks:
            rank.kill()
    report = json.loads(said)
    if not report["ok"] or ranks[0].returncode != 0:
        raise WrongError("; ".join(failure["message"] for failure in report["failures"]))
    return {"rows": len(report["rows"]), "s": round(report["seconds"], 1)}


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
