"""Stores written in Python, as schedulers have them: with no more than every store must have."""

from __future__ import annotations

import threading
import time

import torch.distributed as dist


class PlainStore(dist.Store):
    """Has set, get, add, wait and check."""

    def __init__(self):
        super().__init__()
        self.values = {}
        self.changed = threading.Condition()

    def set(self, key, value):
        with self.changed:
            self.values[key] = value if isinstance(value, bytes) else value.encode()
            self.changed.notify_all()

    def get(self, key):
        with self.changed:
            return self.values[key]

    def add(self, key, amount):
        with self.changed:
            number = int(self.values.get(key, 0)) + amount
            self.values[key] = str(number).encode()
            self.changed.notify_all()
        return number

    def wait(self, keys, timeout=None):
        deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
        with self.changed:
            while not all(key in self.values for key in keys):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise LookupError(keys)  # of no class that torch knows
                self.changed.wait(left)

    def check(self, keys):
        return all(key in self.values for key in keys)


class SettingStore(PlainStore):
    """Has compare_set too, but cannot delete."""

    def compare_set(self, key, expected, desired):
        with self.changed:
            if self.values.get(key, b"") == expected.encode():
                self.values[key] = desired.encode()
            return self.values[key]


class PoorStore(dist.Store):
    """Can write, and nothing else."""

    def __init__(self):
        super().__init__()

    def set(self, key, value):
        pass
