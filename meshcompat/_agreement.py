"""Ranks compare what they are about to create, so that a difference is an error and not a hang.

Each comparison has keys of its own in the default store: one per rank, and one for the verdict.
Every rank writes what it asks for; rank 0 waits for all, reads all, and writes the verdict; the
others wait for it. Whoever waits in vain writes a verdict too, and the first one stands, so
that no rank goes on to create groups which others have given up.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import time
import weakref
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import torch.distributed as dist

from meshcompat._eras import process_groups, stores
from meshcompat._errors import MeshMismatchError
from meshcompat._waiting import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch.distributed import ProcessGroup

    from meshcompat._eras.stores import Store

VARIABLE = "MESHCOMPAT_CHECK"
AGREED = "agreed"
NONE = "none"
GRACE = timedelta(seconds=1)
"""How much longer than rank 0 the others wait, so that it is rank 0 that names who is missing."""

SLACK = timedelta(seconds=2)
"""How much longer the store has to answer the questions that follow a wait."""

LATER_WORLD = 0.5
"""Seconds in which a rank that is called missing looks whether the others are in another world."""

_is_unchecked = contextvars.ContextVar("meshcompat_unchecked", default=False)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Make meshes without comparing first what the ranks ask for.

    Ranks that disagree then hang, or mix up their groups. All ranks must leave the check out of
    the same calls: the others would wait for one that does, and name it missing. The
    environment variable ``MESHCOMPAT_CHECK=off`` turns the check off for a whole process.

    Yields:
        None.

    Collective:
        No.

    Example:
        >>> from meshcompat import init_device_mesh, unchecked
        >>> with unchecked():
        ...     mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
    """
    token = _is_unchecked.set(True)
    try:
        yield
    finally:
        _is_unchecked.reset(token)


def is_on() -> bool:
    """Return whether ranks compare here: they do unless someone turned it off."""
    return not _is_unchecked.get() and os.environ.get(VARIABLE, "on").lower() != "off"


def agree(describe: Callable[[], dict[str, str]], timeout: timedelta | None) -> Agreement | None:
    """Return when all ranks of the world ask for the same; create nothing.

    Args:
        describe: Says in words what this rank is about to create; called only where ranks compare.
        timeout: How long to wait for the others; by default as long as the default group.

    Returns:
        What they agreed on; None where nothing was compared.

    Raises:
        MeshMismatchError: On every rank, where one asks for something else or does not come.

    Collective:
        Yes: all ranks of the world, through the default store. A rank does 4 store operations,
        rank 0 does 8, however large the world is; the first call of a world takes two more,
        and one more is what `_making` puts down when the groups are there.
    """
    store = stores.default_store()
    if store is None or not is_on() or dist.get_world_size() == 1:
        return None
    limit = timeout or process_groups.default_timeout()
    asked = describe()
    try:
        bound = (limit + GRACE + SLACK).total_seconds()
        keys, verdict = within(bound, lambda: _compare(store, asked, limit))
    except RuntimeError as error:
        raise store_is_gone(error, "nothing was made") from error
    if verdict is not None:
        raise _mismatch(verdict, limit)
    return Agreement(store, keys, in_words(asked))


def store_is_gone(error: RuntimeError, consequence: str) -> MeshMismatchError:
    """Return the error of a rank that can hear of no other."""
    msg = (
        f"the store of the default process group is gone ({error}): the process that serves "
        f"it, rank 0 or the launcher, has ended or cannot be reached; {consequence}. Start the "
        f"job again"
    )
    return MeshMismatchError(msg)


def _compare(
    store: Store, asked: dict[str, str], limit: timedelta
) -> tuple[Keys, dict[str, Any] | None]:
    """Return the keys of the comparison and the verdict, or None where all ranks ask for the same."""
    room, me = _room_of_this_world(store), dist.get_rank()
    while True:
        keys = room.enter()
        store.set(keys.of(me), json.dumps(asked))
        word = _judge(store, keys, limit) if me == 0 else _await(store, keys, limit)
        if word == AGREED:
            room.clear(store)
            return keys, None
        verdict: dict[str, Any] = json.loads(word)
        if me in verdict["missing"] and room.has_ended(store):
            room.join(store)
            continue
        # The others gave up this comparison, and it was about something else: they are on.
        if me not in verdict["missing"] or asked in verdict["asked"].values():
            return keys, verdict


def _judge(store: Store, keys: Keys, limit: timedelta) -> str:
    """Wait for all ranks and write the verdict, if nobody else has."""
    everyone = [keys.of(rank) for rank in range(dist.get_world_size())]
    try:
        store.wait(everyone, limit)
        verdict = _verdict(stores.read_all(store, everyone))
    except dist.DistStoreError:
        verdict = _belated_verdict(store, keys)
    return _first_word(store, keys, verdict)


def _await(store: Store, keys: Keys, limit: timedelta) -> str:
    """Wait for the verdict; write one where none comes."""
    try:
        store.wait([keys.verdict], limit + GRACE)
        return store.get(keys.verdict).decode()
    except dist.DistStoreError:
        return _first_word(store, keys, _belated_verdict(store, keys))


def _first_word(store: Store, keys: Keys, verdict: str) -> str:
    """Write *verdict* where there is none, and return the one that stands."""
    stands = store.compare_set(keys.decision, "", verdict).decode()
    store.set(keys.verdict, stands)  # up to torch 2.3 `compare_set` wakes nobody who waits
    return stands


def _verdict(asked: Sequence[str]) -> str:
    """Compare what all ranks ask for with what most of them do."""
    usual = Counter(asked).most_common(1)[0][0]
    culprit = next((rank for rank, words in enumerate(asked) if words != usual), None)
    if culprit is None:
        return AGREED
    words = {rank: json.loads(asked[rank]) for rank in (asked.index(usual), culprit)}
    agreeing = sum(each == usual for each in asked)
    return json.dumps({"rank": culprit, "missing": [], "asked": words, "agreeing": agreeing})


def _belated_verdict(store: Store, keys: Keys) -> str:
    """Say who has not come, or compare if all have, at the last moment."""
    everyone = [keys.of(rank) for rank in range(dist.get_world_size())]
    missing = [rank for rank, key in enumerate(everyone) if _peek(store, key) == NONE]
    if not missing:
        verdict = _verdict(stores.read_all(store, everyone))
        if verdict != AGREED or dist.get_rank() == 0:
            return verdict
        missing = [0]  # It came, and has not judged: it ended, and would be waited for once more.
    mine = {dist.get_rank(): json.loads(store.get(keys.of(dist.get_rank())))}
    return json.dumps({"rank": missing[0], "missing": missing, "asked": mine, "agreeing": 0})


def _peek(store: Store, key: str) -> str:
    """Return the value of a key, or `NONE` at once where there is none."""
    return store.compare_set(key, NONE, NONE).decode()  # torch 2.2 has no Store.check


def _mismatch(verdict: Mapping[str, Any], limit: timedelta) -> MeshMismatchError:
    asked = {int(rank): words for rank, words in verdict["asked"].items()}
    descriptions = {rank: in_words(words) for rank, words in asked.items()}
    missing: tuple[int, ...] = tuple(verdict["missing"])
    culprit: int = verdict["rank"]
    lines = [f"  rank {rank}: {words}" for rank, words in descriptions.items()]
    if missing:
        head = (
            f"rank {', '.join(map(str, missing))} did not come within {limit.total_seconds():g} s to make "
            f"process groups with the others, who ask for"
        )
        advice = f"Nothing was made. See what rank {culprit} did instead"
    else:
        usual = next(rank for rank in asked if rank != culprit)
        fields = [name for name in asked[usual] if asked[culprit].get(name) != asked[usual][name]]
        head = (
            f"rank {culprit} asks for other process groups than {verdict['agreeing']} of "
            f"{dist.get_world_size()} ranks, of which rank {usual} is one; they differ in "
            f"{', '.join(fields)}"
        )
        advice = "Nothing was made. Make the same calls in the same order on all ranks"
    text = "\n".join([f"{head}:", *lines, advice])
    return MeshMismatchError(text, rank=culprit, missing=missing, descriptions=descriptions)


def in_words(asked: Mapping[str, str]) -> str:
    """Return what a rank asks for as one line."""
    return ", ".join(f"{name} {value}" for name, value in asked.items())


class Keys:
    """The keys of one comparison."""

    def __init__(self, prefix: str) -> None:
        self.decision = f"{prefix}/decision"
        self.verdict = f"{prefix}/verdict"
        self._prefix = prefix

    def of(self, rank: int) -> str:
        """Return the key under which a rank says what it asks for."""
        return f"{self._prefix}/{rank}"


class Agreement(NamedTuple):
    """A comparison that came out well: where it was made, and about what."""

    store: Store
    keys: Keys
    words: str


class _Room:
    """The comparisons of one default process group, counted by each rank on its own.

    A store can outlive its world, as torchrun's does, and then holds verdicts of the world before.
    So worlds of one size are numbered in the store. A rank joins a number once: where it finds
    that it has joined already, in whichever process, this is another world, and it takes the next.
    All ranks find the same number, as no verdict says "agreed" before all of them have joined.
    """

    def __init__(self, store: Store) -> None:
        self._worlds = f"meshcompat/worlds of {dist.get_world_size()}"
        self.join(store)

    def join(self, store: Store) -> None:
        """Take the number of this world."""
        self._calls = 0
        self._used: list[Keys] = []
        self._has_agreed = False
        self._number = store.add(f"{self._worlds}/latest", 0)
        while store.add(f"{self._worlds}/{self._number}/{dist.get_rank()}", 1) > 1:
            if store.add(f"{self._worlds}/{self._number}/ended", 1) == 1:
                store.add(f"{self._worlds}/latest", 1)
            self._number += 1

    def has_ended(self, store: Store) -> bool:
        """Return whether the others are in a later world.

        A rank that never came in the world before joins that one, if it is the first to come now.
        So it waits a moment for another to find that the world has ended.
        """
        deadline = time.monotonic() + LATER_WORLD
        while not self._has_agreed and time.monotonic() < deadline:
            if store.add(f"{self._worlds}/latest", 0) > self._number:
                return True
            time.sleep(LATER_WORLD / 10)
        return False

    def enter(self) -> Keys:
        self._used.append(Keys(f"{self._worlds}/{self._number}/comparison {self._calls}"))
        self._calls += 1
        return self._used[-1]

    def clear(self, store: Store) -> None:
        """Delete the keys of all comparisons but the last: every rank has done with those."""
        for keys in self._used[:-1]:
            store.delete_key(keys.of(dist.get_rank()))
            if dist.get_rank() == 0:
                store.delete_key(keys.decision)
                store.delete_key(keys.verdict)
        del self._used[:-1]
        self._has_agreed = True


_rooms: weakref.WeakKeyDictionary[ProcessGroup, _Room] = weakref.WeakKeyDictionary()


def _room_of_this_world(store: Store) -> _Room:
    world: Any = dist.group.WORLD
    if world not in _rooms:
        _rooms[world] = _Room(store)
    return _rooms[world]
