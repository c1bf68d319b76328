"""How a rank gets to the store at which all ranks meet, and what to do where it does not.

torch says much the same of a port that is taken, a name that nobody knows, a firewall and a rank
that was never started. So each is looked for before torch is asked.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from meshcompat._rank_processes.stores import PrefixStore, Store, open_store

if TYPE_CHECKING:
    from meshcompat._rank_processes.place import Place

_PAUSE = 0.25
_ANSWER = 5.0
"""Seconds that a host has to answer; where packets are dropped it never does."""


class RendezvousError(RuntimeError):
    """The ranks cannot meet; the text says why, and what to do."""


def open_server(place: Place, timeout: float) -> Store:
    """Open the store at which all ranks meet, in this process, and return a connection to it.

    Raises:
        RendezvousError: The port is in use, or may not be opened.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", place.port))
        except OSError as error:
            raise RendezvousError(
                f"port {place.port} cannot be opened on {socket.gethostname()}, where rank 0 runs: "
                f"{error.strerror}; end the process that uses it, or choose another port with "
                f"MASTER_PORT (torchrun: --master-port)"
            ) from error
    return _open(place, timeout, is_server=True)


def connect(place: Place, timeout: float) -> Store:
    """Return a connection to the store at which all ranks meet.

    Raises:
        RendezvousError: The host is not known or does not answer, or nobody listens there.
    """
    _wait_for_server(place, timeout)
    return _open(place, timeout, is_server=False)


def check_place(place: Place, store: Store) -> None:
    """Refuse a place of this rank that does not fit what the others were told.

    Raises:
        RendezvousError: The ranks were told of different world sizes, or two are the same rank.
    """
    told = str(place.world_size)
    others = store.compare_set("world_size", "", told).decode()
    if others != told:
        raise RendezvousError(
            f"rank {place.rank} was told of {told} ranks, and another rank of {others}; give all "
            f"the same number (WORLD_SIZE; torchrun: the same --nnodes and --nproc-per-node "
            f"everywhere)"
        )
    if store.add(f"claims/{place.rank}", 1) > 1:
        raise RendezvousError(
            f"two processes were told to be rank {place.rank}, one of them on "
            f"{socket.gethostname()}; give each its own number (RANK; torchrun: --node-rank)"
        )


def _open(place: Place, timeout: float, *, is_server: bool) -> Store:
    store = open_store(place.host, place.port, is_server=is_server, timeout=timeout)
    return PrefixStore(f"meshcompat/verify/{place.attempt}", store)


def _wait_for_server(place: Place, timeout: float) -> None:
    where = f"{place.host}:{place.port}"
    try:
        socket.getaddrinfo(place.host, place.port)
    except socket.gaierror as error:
        raise RendezvousError(
            f"the host name {place.host!r}, where rank 0 should be met, does not resolve on "
            f"{socket.gethostname()} ({error.strerror}); set MASTER_ADDR to a name or an address "
            f"that every host knows (torchrun: --master-addr or --rdzv-endpoint)"
        ) from error
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            socket.create_connection((place.host, place.port), max(0.1, min(_ANSWER, left))).close()
        except ConnectionRefusedError as error:
            if left < _PAUSE:
                raise RendezvousError(
                    f"nobody listens at {where} within {timeout:g} s; look whether rank 0 was "
                    f"started there, and whether MASTER_ADDR and MASTER_PORT are the same on all "
                    f"ranks"
                ) from error
            time.sleep(_PAUSE)
        except OSError as error:
            if left < _PAUSE:
                raise RendezvousError(
                    f"{where} does not answer on {socket.gethostname()} within {timeout:g} s "
                    f"({error}); a firewall drops the connection, or the host is down: open the "
                    f"ports between the hosts, or choose an open one with MASTER_PORT"
                ) from error
            time.sleep(_PAUSE)
        else:
            return
