"""The store of the default process group, through which ranks talk before they have groups."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

import torch.distributed as dist
from torch.distributed import Store, distributed_c10d  # type: ignore[attr-defined]

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Store", "default_store", "read_all", "within"]

T = TypeVar("T")


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


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what *call*, which asks a store, returns.

    Of a TCPStore's operations only `wait` has a timeout on all releases. The others wait for an
    answer for as long as the kernel believes in the connection: a quarter of an hour, where the
    host of the store is cut off. So another thread asks.

    Raises:
        RuntimeError: It took longer; the thread is left to its fate.
    """
    ended: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((call(), None))
        except BaseException as error:  # noqa: BLE001  (raised in the thread that waits)
            ended.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise RuntimeError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    found: T = answer
    return found
