"""The store of the default process group, through which ranks talk before they have groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed import Store, distributed_c10d  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Store", "default_store", "read_all"]


def default_store() -> Store | None:
    """Return the store of the default process group, or None where it does not communicate."""
    if "fake" in dist.get_backend():
        return None
    # torch: distributed_c10d._get_default_store, since before 2.2 - pytorch#88330
    store: Store | None = distributed_c10d._get_default_store()
    return store


def read_all(store: Store, keys: Sequence[str]) -> list[str]:
    """Return the values of keys that are there, in one operation where the store has one."""
    known: Any = store
    if known.has_extended_api():
        return [value.decode() for value in known.multi_get(list(keys))]
    return [store.get(key).decode() for key in keys]
