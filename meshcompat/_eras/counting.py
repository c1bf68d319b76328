"""Process groups that this rank is not in: counted, not asked for.

torch names a group by a counter that every rank advances at every `new_group`, member or not. The
call of a rank outside has one other lasting effect: torch writes down the ranks of the last such
group. So a rank advances the counter for the groups that it is not in, and calls torch for its own
and for the last of the others: names, order and mixing with torch's own calls stay as they would
be, and the time does not grow with the world.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d

QUIET = {"fake", "gloo", "nccl", "ucc", "xccl"}
"""Backends of torch's own that do nothing on a rank outside. MPI makes its groups on all ranks."""

_TORCH = str(Path(torch.__file__).parent)


def can_count(backend: str | None) -> bool:
    """Return whether the calls of ranks outside groups of *backend* may be left out; alike on all ranks.

    They may not be left out where such a call does something: where it waits for the others
    (``TORCH_DIST_INIT_BARRIER=1``) or splits a communicator (a bound device); where the default
    group makes its groups itself (2.15), or torchcomms does; where somebody put a function of their
    own in the place of `new_group`; and with a backend that is not torch's own.
    """
    world: Any = dist.group.WORLD
    c10d: Any = distributed_c10d
    # torch: distributed_c10d._use_torchcomms_enabled, since 2.15
    uses_torchcomms = getattr(c10d, "_use_torchcomms_enabled", bool)
    return (
        getattr(world, "bound_device_id", None) is None
        # torch: distributed_c10d._is_barrier_after_init, since before 2.2
        and not c10d._is_barrier_after_init()
        and not callable(getattr(world, "new_group", None))
        and not uses_torchcomms()
        and _is_torchs_own(dist.new_group)
        and _backends(backend) <= QUIET
    )


def _is_torchs_own(function: Any) -> bool:
    """Return whether a function was written in torch, and nobody put one of their own around it."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename.startswith(_TORCH)


def count(groups: int) -> None:
    """Advance torch's counter by groups that this rank is not in."""
    # torch: distributed_c10d._world.group_count, since before 2.2 - pytorch#88330
    distributed_c10d._world.group_count += groups


def _backends(backend: str | None) -> set[str]:
    """Return the backends of a group by name, for each device that it serves."""
    spelled = dist.Backend(backend or dist.get_backend())
    return set(distributed_c10d.BackendConfig(spelled).get_device_backend_map().values())
