"""The store of the default process group, through which ranks talk before they have groups."""

from __future__ import annotations

import enum

import torch.distributed as dist
from torch.distributed import Store, distributed_c10d

__all__ = ["Failure", "Store", "default_store", "failure_of"]


class Failure(enum.Enum):
    """Why an operation of a store failed."""

    MISSING = "missing method"
    REFUSED = "refused connection"
    LOST = "lost connection"
    OTHER = "another reason"


# torch: the texts of c10d's stores and sockets, since before 2.2 - pytorch#88330
# Their classes do not tell: torch 2.2 has one for all, and FileStore raises a bare RuntimeError.
_TEXTS = {
    Failure.MISSING: ("pure virtual function", "not implemented", "has no attribute"),
    Failure.REFUSED: ("refused", "no route to host", "unreachable", "to connect"),
    Failure.LOST: (
        "reset by peer",
        "broken pipe",
        "connection was closed",
        "connection closed",
        "connection was likely closed",
        "failed to recv",
        "failed to send",
        "bad file descriptor",
        "end of file",
    ),
}


def default_store() -> Store | None:
    """Return the store of the default process group, or None where it does not communicate."""
    # One backend, or one for each device type: "cpu:gloo,cuda:nccl".
    if all(each.endswith("fake") for each in dist.get_backend().split(",")):
        return None
    # torch: distributed_c10d._get_default_store, since before 2.2 - pytorch#88330
    store: Store | None = distributed_c10d._get_default_store()
    return store


def failure_of(error: Exception) -> Failure:
    """Return why an operation failed, by what its error says."""
    if isinstance(error, (NotImplementedError, AttributeError)):
        return Failure.MISSING
    said = str(error).lower()
    for failure, texts in _TEXTS.items():
        if any(text in said for text in texts):
            return failure
    return Failure.OTHER
