"""A thread that makes calls for another, which can then give up waiting.

torch's own timeouts do not cover every wait. Of a TCPStore's operations only `wait` has one on all
releases: the others wait for an answer for as long as the kernel believes in the connection, a
quarter of an hour where the host of the store is cut off, and for ever where its process is
stopped. gloo waits five times its timeout for a peer that left its address and died before it
connected (20 s at a timeout of 4 s, seen with torch 2.10), in Pair::waitUntilConnected:
https://github.com/pytorch/gloo/blob/main/gloo/transport/tcp/pair.cc
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from meshcompat._eras import devices

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

LOOK = 0.2
"""Seconds between looks at the progress of a call."""


class NoAnswerError(RuntimeError):
    """A call took longer than was allowed."""


class _Call(NamedTuple):
    call: Callable[[], Any]
    ended: queue.SimpleQueue[tuple[Any, BaseException | None]]


class Helper:
    """One thread for all calls of a block; it begins at the first of them."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call | None] | None = None

    def close(self) -> None:
        """Let the thread end when it has made its last call."""
        if self._calls is not None:
            self._calls.put(None)
        self._calls = None

    def within(
        self, seconds: float, call: Callable[[], T], progress: Callable[[], object] = int
    ) -> T:
        """Return what *call* returns, if no time of so many seconds passes without progress.

        Args:
            seconds: How long to wait.
            call: What to do, in the other thread.
            progress: Returns another value whenever *call* got on, and has the whole time again.

        Raises:
            NoAnswerError: It took longer. The thread is left to its fate, and the next call has
                another one.
        """
        made = _Call(call, queue.SimpleQueue())
        self._thread().put(made)
        seen, deadline = progress(), time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            try:
                answer, error = made.ended.get(timeout=max(0, min(LOOK, left)))
                break
            except queue.Empty:
                if progress() != seen:
                    seen, deadline = progress(), time.monotonic() + seconds
                elif left <= 0:
                    self.close()
                    raise NoAnswerError(f"no answer within {seconds:g} s") from None
        if error is not None:
            raise error
        found: T = answer
        return found

    def _thread(self) -> queue.SimpleQueue[_Call | None]:
        if self._calls is None:
            self._calls = queue.SimpleQueue()
            arguments = (self._calls, devices.current())
            threading.Thread(target=_serve, args=arguments, daemon=True).start()
        return self._calls


def _serve(calls: queue.SimpleQueue[_Call | None], current: list[devices.Current]) -> None:
    """Make call after call, on the current devices of the thread that asks."""
    devices.use(current)
    while (made := calls.get()) is not None:
        made.ended.put(_outcome(made.call))


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001  (raised in the thread that waits)
        return None, error
