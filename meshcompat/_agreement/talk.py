"""What is asked of a store: only what every store has, and each failure says which operation it was.

Every store has `set`, `get`, `add` and `wait`, also one that is written in Python. Not every store
has `compare_set`, and up to torch 2.3 it wakes no rank that waits. torch 2.2 has no `check`, and
few stores have `multi_get`. Keys are deleted only where a store can do it.
"""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshcompat._eras.stores import Store


class StoreError(Exception):
    """An operation of the store failed."""

    def __init__(self, store: object, operation: str, cause: Exception) -> None:
        super().__init__(str(cause).strip() or type(cause).__name__)
        self.store = store
        self.operation = operation
        self.cause = cause


class Talk:
    """A store, asked by one rank."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._asked = 0
        self._waits_until = 0.0

    def pulse(self) -> object:
        """Return another value whenever the store has answered, and as long as it is to wait."""
        now = time.monotonic()
        return self._asked, now if now < self._waits_until else None

    def set(self, key: str, value: str) -> None:
        """Write a value."""
        self._ask("set", key, value)

    def get(self, key: str) -> str:
        """Return a value that is there."""
        value: str | bytes = self._ask("get", key)
        return value if isinstance(value, str) else value.decode()

    def add(self, key: str, amount: int) -> int:
        """Add to a number, which is 0 where it is not there, and return it; never wait."""
        return int(self._ask("add", key, amount))

    def has(self, key: str, seconds: float) -> bool:
        """Wait no longer than so long for a key, and return whether it is there."""
        started = time.monotonic()
        self._waits_until = started + seconds
        try:
            self._ask("wait", [key], timedelta(seconds=seconds))
        except StoreError:
            # Stores raise errors of any class when the time is over: the clock tells.
            if time.monotonic() - started < 0.9 * seconds:
                raise
            return False
        finally:
            self._waits_until = 0.0
        return True

    def delete(self, *keys: str) -> None:
        """Delete keys, in a store that can."""
        # Otherwise it cannot, or it is gone, which the next operation tells.
        with contextlib.suppress(StoreError):
            for key in keys:
                self._ask("delete_key", key)

    def _ask(self, operation: str, *arguments: Any) -> Any:
        try:
            return getattr(self.store, operation)(*arguments)
        except Exception as error:
            raise StoreError(self.store, operation, error) from error
        finally:
            self._asked += 1
