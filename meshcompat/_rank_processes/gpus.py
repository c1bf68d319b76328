"""Which GPU a rank of this machine uses, and what NCCL is told where ranks share one. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_OVER_SOCKETS = {
    "NCCL_SOCKET_IFNAME": "lo",
    "NCCL_IB_DISABLE": "1",
    "NCCL_P2P_DISABLE": "1",
    "NCCL_SHM_DISABLE": "1",
}


def gpu_of(rank: int, world_size: int, gpus: int, environment: MutableMapping[str, str]) -> int:
    """Return the index of a rank's GPU, where all ranks are on this machine.

    NCCL refuses two ranks of one host on one GPU. Where there are more ranks than GPUs, each rank
    therefore says that it is a host of its own and talks over the loopback interface. What
    *environment* says already stays.
    """
    if world_size > gpus:
        for name, value in {"NCCL_HOSTID": f"rank-{rank}", **_OVER_SOCKETS}.items():
            environment.setdefault(name, value)
    return rank % max(gpus, 1)
