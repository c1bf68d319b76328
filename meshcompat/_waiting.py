"""Wait for a call no longer than so long, whatever it waits for itself.

torch's own timeouts do not cover every wait. Of a TCPStore's operations only `wait` has one on all
releases: the others wait for an answer for as long as the kernel believes in the connection, a
quarter of an hour where the host of the store is cut off, and for ever where its process is
stopped. gloo waits five times its timeout for a peer that left its address and died before it
connected (20 s at a timeout of 4 s, seen with torch 2.10), in Pair::waitUntilConnected:
https://github.com/pytorch/gloo/blob/main/gloo/transport/tcp/pair.cc

So another thread makes the call.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LOOK = 0.2
"""Seconds between looks at the progress of a call."""


def within(seconds: float, call: Callable[[], T], progress: Callable[[], object] = int) -> T:
    """Return what *call* returns, if no time of so many seconds passes without progress.

    Args:
        seconds: How long to wait.
        call: What to do, in another thread.
        progress: Returns another value whenever *call* got on, and has the whole time again.

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
    seen, deadline = progress(), time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        try:
            answer, error = ended.get(timeout=max(0, min(LOOK, left)))
            break
        except queue.Empty:
            if progress() != seen:
                seen, deadline = progress(), time.monotonic() + seconds
            elif left <= 0:
                raise RuntimeError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    found: T = answer
    return found
