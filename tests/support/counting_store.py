"""A store that counts what is asked of it."""

from __future__ import annotations

from collections import Counter


class CountingStore:
    """Stands for *store*; `count` has the operations by name."""

    def __init__(self, store):
        self.store = store
        self.count = Counter()

    def has_extended_api(self):
        return self.store.has_extended_api()  # asks no server

    def __getattr__(self, name):
        self.count[name] += 1
        return getattr(self.store, name)
