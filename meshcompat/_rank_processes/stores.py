"""torch's stores, which it documents but does not export to type checkers."""

from __future__ import annotations

from datetime import timedelta

from torch.distributed import PrefixStore, Store, TCPStore

__all__ = ["PrefixStore", "Store", "TCPStore", "open_store"]


def open_store(host: str, port: int, *, is_server: bool, timeout: float) -> TCPStore:
    """Return a connection to the store at a port, and open that store where *is_server*.

    It does not wait for other ranks, so that a rank which never comes can be named. Port 0 lets
    the system choose a free one, so that there is no moment in which somebody else takes it.
    """
    limit = timedelta(seconds=timeout)
    return TCPStore(host, port, None, is_server, limit, wait_for_workers=False)
