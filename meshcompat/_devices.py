"""Device types and their backends: what a world communicates on, and which device a process takes."""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.distributed as dist

from meshcompat._arguments import world_is_fake


def mesh_device_type() -> str:
    """Return the device type that the default process group communicates on.

    That is what torch maps its backend to; before there is a world, the accelerator of this machine.
    """
    backend = dist.get_backend() if dist.is_initialized() else "undefined"
    # A world made without naming a backend has one for each device type, and calls itself undefined.
    if backend == "undefined":
        return accelerator() or "cpu"
    if ":" in backend:
        devices = [part.partition(":")[0] for part in backend.split(",")]
    else:
        devices = [device for device, name in _backends().items() if name == backend]
        if "cpu" in devices:
            return "cpu"
    return next((device for device in devices if device != "cpu" and _is_there(device)), "cpu")


def accelerator() -> str | None:
    """Return the device type of this machine that has a backend which is not that of CPUs."""
    known = _backends()
    others = [device for device, backend in known.items() if backend != known.get("cpu")]
    return next((device for device in others if _is_there(device)), None)


def make_world(device_type: str) -> None:
    """Initialise the default process group that the environment names.

    Where there is no accelerator, the backend is named: torch 2.2 would make NCCL too, and raise.
    """
    backend = None if accelerator() else _backends().get(device_type)
    dist.init_process_group(backend)


def select_device(device_type: str) -> None:
    """Choose this process's device unless it was chosen, as torch's own meshes do.

    A process that sees one device of its machine takes that one, whatever its local rank.
    """
    module: Any = getattr(torch, device_type, None)
    # There is one "cpu" to choose; torch.cpu has a set_device, and is_initialized only from 2.8 on.
    if device_type == "cpu" or world_is_fake() or not hasattr(module, "set_device"):
        return
    if module.is_initialized():
        return
    count = module.device_count()
    if count:
        module.set_device(int(os.environ.get("LOCAL_RANK", dist.get_rank())) % count)


def _backends() -> dict[str, str]:
    known: dict[str, str] = dist.Backend.default_device_backend_map
    return known


def _is_there(device_type: str) -> bool:
    is_available = getattr(getattr(torch, device_type, None), "is_available", None)
    return is_available is not None and bool(is_available())
