"""Process groups that are given up: destroyed, or aborted where their backend can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed import distributed_c10d

from meshcompat._eras.process_groups import gloo_backend

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

ABORTABLE = {"gloo", "nccl"}
"""Backends of which an abort was seen to end a collective that waits (gloo), or is documented (NCCL)."""


def can_abort(group: ProcessGroup) -> bool:
    """Return whether torch can abort this group."""
    # torch: ProcessGroup.abort, since 2.8 - pytorch#148798. Before it, _abort_process_group
    # (pytorch#132291) does nothing to a group that is not NCCL's.
    if not hasattr(dist.ProcessGroup, "abort"):
        return False
    config = distributed_c10d.BackendConfig(dist.Backend(dist.get_backend(group)))
    return set(config.get_device_backend_map().values()) <= ABORTABLE


def end_groups(groups: list[ProcessGroup], *, abort: bool) -> None:
    """Destroy or abort groups, one after the other, and empty the list.

    Not a collective on gloo. NCCL's communicators are ended on all ranks together.
    """
    end: Any = distributed_c10d._abort_process_group if abort else dist.destroy_process_group
    # What joins gloo's threads must be the last to go: see `gloo_backend`.
    kept = [gloo_backend(group) for group in groups]
    while groups:
        end(groups.pop(0))
    kept.clear()
