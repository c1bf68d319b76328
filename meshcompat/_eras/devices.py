"""The current device, which torch keeps for each thread and each device type."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist


class Current(NamedTuple):
    """The current device of one type: its module, such as `torch.cuda`, and its index."""

    module: Any
    index: Any


def current() -> list[Current]:
    """Return the current device of this thread, of each type that torch knows a backend for.

    A type that is not in use yet is left out: to ask for its device would begin to use it.
    """
    # torch: Backend.default_device_backend_map, since 2.1; register_backend() adds device types
    types: Any = dist.Backend.default_device_backend_map
    modules: list[Any] = [getattr(torch, name, None) for name in types]
    return [
        Current(module, module.current_device())
        for module in modules
        if hasattr(module, "current_device")
        and hasattr(module, "set_device")
        and getattr(module, "is_initialized", lambda: True)()
    ]


def use(devices: list[Current]) -> None:
    """Make these the current devices of this thread."""
    for device in devices:
        device.module.set_device(device.index)
