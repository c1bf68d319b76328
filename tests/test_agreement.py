"""How ranks compare, each in a thread, on stores of every kind; tests/collectives has real ranks."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed as dist

import meshcompat as mc
from benchmarks.many_ranks import MeasuredStore
from meshcompat import _agreement
from meshcompat._agreement import comparison, meeting, wording, worlds
from meshcompat._agreement.talk import StoreError, Talk
from meshcompat._agreement.worlds import World
from meshcompat._eras import stores
from meshcompat.testing import fake_world
from tests.support.counting_store import CountingStore
from tests.support.python_stores import PlainStore, PoorStore, SettingStore

ASKED = {"call": "flatten", "dims": "'x' of size 2"}
OTHER = {"call": "flatten", "dims": "'y' of size 2"}
SIZE = 8
SECOND = timedelta(seconds=1)


def tcp(**options):
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, **options)


STORES = {
    "TCPStore": lambda _: tcp(),
    "TCPStore without libuv": lambda _: tcp(use_libuv=False),
    "HashStore": lambda _: dist.HashStore(),
    "FileStore": lambda path: dist.FileStore(str(path / "store"), SIZE),
    "PrefixStore": lambda _: dist.PrefixStore("worker", tcp()),
    "Python": lambda _: PlainStore(),
    "Python, prefixed": lambda _: dist.PrefixStore("worker", kept(PlainStore())),
    "Python with compare_set": lambda _: dist.PrefixStore("worker", kept(SettingStore())),
}
KEPT = []


def kept(store):
    """Return a store that lives on: a PrefixStore holds only the part of it that is not Python."""
    KEPT.append(store)
    return store


@pytest.fixture(params=STORES)
def any_store(request, tmp_path):
    # torch 2.2 has one kind of TCPStore; from 2.4 on it is the other one by default.
    if "libuv" in request.param and "use_libuv" not in dist.TCPStore.__init__.__doc__:
        return tcp()
    return STORES[request.param](tmp_path)


def client_of(store):
    """Return a connection of its own, where a store has connections."""
    if isinstance(store, dist.TCPStore):
        return dist.TCPStore("127.0.0.1", store.port, is_master=False, wait_for_workers=False)
    if isinstance(store, dist.PrefixStore) and isinstance(store.underlying_store, dist.TCPStore):
        return dist.PrefixStore("worker", client_of(store.underlying_store))
    return store


class Ranks:
    """Ranks of one world, each with a thread."""

    def __init__(self, store, size=SIZE):
        self.clients = [client_of(store) for _ in range(size)]
        self.size = size
        self.worlds = {}

    def compare(self, *asked, limit=20.0):
        """Let each rank compare what it asks for; None stays away."""
        with ThreadPoolExecutor(self.size) as threads:
            jobs = [
                threads.submit(self.one, rank, words, limit) for rank, words in enumerate(asked)
            ]
            return [job.result() for job in jobs]

    def one(self, rank, words, limit):
        if words is None:
            return None
        if rank not in self.worlds:
            self.worlds[rank] = World(Talk(self.clients[rank]), rank, self.size)
        return self.worlds[rank].compare(words, limit)[1] or "agreed"


def test_ranks_agree_differ_and_agree_again(any_store):
    ranks = Ranks(any_store)
    assert ranks.compare(*[ASKED] * SIZE) == ["agreed"] * SIZE
    difference = comparison.Difference(5, (), {0: ASKED, 5: OTHER}, SIZE - 1, 20.0)
    assert ranks.compare(*[ASKED] * 5, OTHER, *[ASKED] * 2) == [difference] * SIZE
    assert ranks.compare(*[ASKED] * SIZE) == ["agreed"] * SIZE
    assert ranks.compare(*[OTHER] * SIZE) == ["agreed"] * SIZE


def test_who_does_not_come_is_named_and_can_come_the_next_time(any_store):
    ranks = Ranks(any_store)
    ranks.compare(*[ASKED] * SIZE)
    found = ranks.compare(*[ASKED] * 3, None, *[ASKED] * 3, None, limit=1.5)
    for difference in filter(None, found):
        assert (difference.rank, difference.missing) == (3, (3, 7))
        assert list(difference.asked.values()) == [ASKED]
    assert ranks.compare(*[OTHER] * SIZE) == ["agreed"] * SIZE


@pytest.mark.parametrize(
    ("asked", "culprit", "usual", "agreeing"),
    [
        pytest.param([OTHER, *[ASKED] * 7], 0, 1, 7, id="rank 0"),
        pytest.param([ASKED] * 4 + [OTHER] * 4, 4, 0, 4, id="as many of each"),
        pytest.param([OTHER, OTHER, *[ASKED] * 6], 0, 2, 6, id="the first of two"),
        pytest.param([{"call": str(rank)} for rank in range(8)], 1, 0, 1, id="all of them"),
    ],
)
def test_the_first_rank_that_differs_from_most_is_the_culprit(asked, culprit, usual, agreeing):
    for difference in Ranks(dist.HashStore()).compare(*asked):
        assert (difference.rank, set(difference.asked)) == (culprit, {culprit, usual})
        assert (difference.missing, difference.agreeing) == ((), agreeing)


def test_who_is_missing_is_told_where_others_differ_too():
    found = Ranks(dist.HashStore()).compare(OTHER, *[ASKED] * 6, None, limit=1.5)
    assert {difference.missing for difference in found[:-1]} == {(7,)}


class DeadError(Exception):
    """Stands for the end of a process."""


def die_at(store, operation, key):
    """Return a store whose rank ends at the moment when it asks this."""

    class DyingStore:
        def __getattr__(self, name):
            def ask(asked, *arguments):
                if name == operation and key in str(asked):
                    raise DeadError(asked)
                return getattr(store, name)(asked, *arguments)

            return ask

    return DyingStore()


def come_one_by_one(monkeypatch, dying, *, limit, culprit=7):
    """Let all ranks come, the culprit last, and return what the others hear."""
    monkeypatch.setattr(comparison, "patience", lambda _: 0.5)
    monkeypatch.setattr(comparison, "GRACE", 0.2)
    ranks = Ranks(dist.HashStore())
    ranks.clients[culprit] = die_at(ranks.clients[culprit], *dying)
    with ThreadPoolExecutor(SIZE) as threads:
        jobs = [threads.submit(ranks.one, rank, ASKED, limit) for rank in range(SIZE - 1)]
        time.sleep(0.2)
        with pytest.raises(StoreError):
            ranks.one(culprit, ASKED, limit / 2)
        return [job.result() for job in jobs]


def test_a_rank_that_comes_last_and_dies_before_it_said_so_is_missing(monkeypatch):
    for difference in come_one_by_one(monkeypatch, ("set", "verdict"), limit=2):
        assert difference.missing == (7,)


def test_a_rank_that_dies_while_it_decides_is_missing(monkeypatch):
    """It waits for less than the others, finds that one is missing, and dies before it says so."""
    monkeypatch.setattr(comparison, "patience", lambda _: 0.5)
    ranks = Ranks(dist.HashStore())
    ranks.clients[1] = die_at(ranks.clients[1], "set", "verdict")
    limits = [2.0, 0.3, 2.0, 2.0]
    with ThreadPoolExecutor(SIZE) as threads:
        jobs = [threads.submit(ranks.one, rank, ASKED, limits[rank]) for rank in range(4)]
        with pytest.raises(StoreError):
            jobs[1].result()
        assert {jobs[rank].result().missing for rank in (0, 2, 3)} == {(1,)}


def test_a_rank_that_comes_after_the_verdict_hears_it():
    ranks = Ranks(dist.HashStore())
    ranks.compare(*[ASKED] * SIZE)
    first = ranks.compare(*[ASKED] * 7, None, limit=1)
    assert ranks.one(7, ASKED, 5) == first[0]
    second = ranks.compare(*[ASKED] * 7, None, limit=1)
    assert second[0].missing == (7,)
    # It left that call out, and is on.
    with ThreadPoolExecutor(SIZE) as threads:
        jobs = [threads.submit(ranks.one, rank, OTHER, 5) for rank in range(SIZE)]
        assert [job.result() for job in jobs] == ["agreed"] * SIZE


def left_out(ranks, *calls):
    """Let all ranks but the last make these calls in vain."""
    for words in calls:
        found = ranks.compare(*[words] * (SIZE - 1), None, limit=1)
        assert {difference.missing for difference in found[:-1]} == {(SIZE - 1,)}
    return found[0]


@pytest.mark.parametrize("calls", [(ASKED,), (ASKED, ASKED), (ASKED, OTHER), (OTHER, ASKED)])
def test_a_rank_that_left_calls_out_makes_the_same_call_with_the_others(calls):
    ranks = Ranks(dist.HashStore())
    ranks.compare(*[ASKED] * SIZE)
    left_out(ranks, *calls)
    for words in (ASKED, ASKED, OTHER, ASKED):
        assert ranks.compare(*[words] * SIZE) == ["agreed"] * SIZE


def test_a_rank_that_made_a_call_more_makes_the_same_call_with_the_others():
    ranks = Ranks(dist.HashStore())
    ranks.compare(*[ASKED] * SIZE)
    assert ranks.one(0, ASKED, 0.5).missing == tuple(range(1, SIZE))
    assert ranks.compare(*[ASKED] * SIZE) == ["agreed"] * SIZE


def late_and_then(ranks, words, limit=15.0):
    """Let the last rank ask for what the others gave up; a moment later these ask for `words`."""
    with ThreadPoolExecutor(SIZE) as threads:
        late = threads.submit(ranks.one, SIZE - 1, ASKED, limit)
        time.sleep(0.3)
        jobs = [threads.submit(ranks.one, rank, words, limit) for rank in range(SIZE - 1)]
        heard = late.result()
        if words != ASKED:
            jobs.append(threads.submit(ranks.one, SIZE - 1, words, limit))
        return heard, [job.result() for job in jobs]


def test_a_rank_that_comes_late_takes_part_when_the_others_make_the_call_again():
    ranks = Ranks(dist.HashStore())
    ranks.compare(*[ASKED] * SIZE)
    left_out(ranks, ASKED)
    assert late_and_then(ranks, ASKED) == ("agreed", ["agreed"] * (SIZE - 1))


@pytest.mark.parametrize("calls", [(ASKED,), (ASKED, OTHER)])
def test_a_rank_that_comes_late_hears_it_when_the_others_are_at_another_call(calls):
    ranks = Ranks(dist.HashStore())
    ranks.compare(*[ASKED] * SIZE)
    left_out(ranks, *calls)
    next_call = {"call": "unflatten"}
    started = time.monotonic()
    heard, found = late_and_then(ranks, next_call)
    assert (heard.missing, heard.asked) == ((SIZE - 1,), {**dict.fromkeys(heard.asked, ASKED)})
    assert found == ["agreed"] * SIZE
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("calls", [(ASKED,), (ASKED, OTHER)])
def test_a_rank_that_hears_alone_is_in_step_with_those_that_come_much_later(monkeypatch, calls):
    monkeypatch.setattr(worlds, "LATER_CALL", 0.3)
    ranks = Ranks(dist.HashStore())
    ranks.compare(*[ASKED] * SIZE)
    left_out(ranks, *calls)
    started = time.monotonic()
    assert ranks.one(SIZE - 1, ASKED, 15).missing == (SIZE - 1,)
    assert time.monotonic() - started < 3
    for words in (ASKED, OTHER):
        assert ranks.compare(*[words] * SIZE) == ["agreed"] * SIZE


def test_a_rank_that_heard_alone_while_the_others_tried_again_is_in_step_afterwards(monkeypatch):
    monkeypatch.setattr(worlds, "LATER_CALL", 0.3)
    ranks = Ranks(dist.HashStore())
    ranks.compare(*[ASKED] * SIZE)
    left_out(ranks, ASKED)
    assert ranks.one(SIZE - 1, ASKED, 15).missing == (SIZE - 1,)
    left_out(ranks, ASKED)
    monkeypatch.undo()
    assert ranks.compare(*[ASKED] * SIZE) == ["agreed"] * SIZE


def test_what_a_late_rank_knows_is_told_where_the_store_ends_meanwhile():
    ranks = Ranks(dist.HashStore())
    ranks.compare(*[ASKED] * SIZE)
    told = left_out(ranks, ASKED)
    ranks.worlds[SIZE - 1].talk = Talk(die_at(ranks.clients[SIZE - 1], "add", "/2 kinds"))
    assert ranks.one(SIZE - 1, ASKED, 15) == told


def test_all_come_at_the_last_moment_and_agree():
    """A rank waits in vain, and finds when it asks that all are there."""
    ranks = Ranks(dist.HashStore())
    ranks.compare(*[ASKED] * SIZE)
    late = threading.Event()

    class SlowStore:
        """Lets the last rank come between the end of the wait and the question who is there."""

        def __init__(self, store):
            self.store = store

        def add(self, key, amount):
            answer = self.store.add(key, amount)
            if amount > SIZE:
                threads.submit(ranks.one, 7, ASKED, 5)
                late.wait(0.3)
            return answer

        def __getattr__(self, name):
            return getattr(self.store, name)

    slow: Any = SlowStore(ranks.clients[3])
    ranks.worlds[3].talk = Talk(slow)
    with ThreadPoolExecutor(SIZE) as threads:
        jobs = [
            threads.submit(ranks.one, rank, ASKED, 0.2 if rank == 3 else 5) for rank in range(7)
        ]
        assert [job.result() for job in jobs] == ["agreed"] * 7


@pytest.mark.parametrize("size", [8, 1024])
def test_no_rank_asks_more_of_the_store_in_a_larger_world(size):
    """Rank after rank comes; then each hears."""
    store = MeasuredStore(tcp())
    counting: list[Any] = [CountingStore(store) for _ in range(size)]
    worlds = [World(Talk(each), rank, size) for rank, each in enumerate(counting)]
    for number in range(3):
        for each in counting:
            each.count.clear()
        begun = [world.next(ASKED) for world in worlds]
        verdicts = [each.arrive(1) for each in begun]
        heard = [verdict or each.hear() for verdict, each in zip(verdicts, begun, strict=True)]
        for world in worlds:
            world.clear()
        assert heard == ["agreed"] * size
        first, *others, last = ({**each.count} for each in counting)
        deleted = {"delete_key": 4} if number else {}
        assert first == {"add": 2, "set": 2, "wait": 1, "get": 1, **deleted}
        assert all(count == {"add": 1, "set": 1, "wait": 1, "get": 1} for count in others)
        assert last == {"add": 1, "set": 2}
    assert store.largest < 400


def test_nothing_is_left_in_the_store_of_what_ranks_agreed_on():
    store: Any = PlainStore()
    ranks = Ranks(store)
    ranks.compare(*[ASKED] * SIZE)
    keys = len(store.values)
    forgotten = []
    store.delete_key = lambda key: forgotten.append(store.values.pop(key))
    for _ in range(3):
        ranks.compare(*[ASKED] * SIZE)
    assert (len(forgotten), len(store.values)) == (12, keys)


class ToldError(Exception):
    """Ends a call where it would make groups."""


def asked_for(ranks, **override):
    """Return what a rank of 32 would tell the others of a mesh over *ranks*."""

    def tell(describe, _):
        raise ToldError(describe())

    with fake_world(32), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_agreement, "agreed", tell)
        shape, names = (2, len(ranks) // 2), ("dp", "tp")
        with pytest.raises(ToldError) as told:
            mc.init_device_mesh("cpu", shape, mesh_dim_names=names, ranks=ranks, **override)
    return told.value.args[0]


def test_many_ranks_are_told_by_a_digest_that_differs_with_the_last_of_them():
    many = list(range(23))
    first, other = (asked_for([*many, last])["ranks"] for last in (24, 25))
    assert first.startswith(f"{many[:16]} and 8 more (")
    assert first != other
    assert asked_for([0, 1, 2, 5])["ranks"] == "[0, 1, 2, 5]"
    assert asked_for(list(range(24)))["ranks"] == "0 to 23"


def test_options_are_told_by_their_kind():
    options = SimpleNamespace(backend="fake", _timeout=timedelta(seconds=7))
    told = asked_for(list(range(32)), backend_override={"tp": options}, timeout=9)
    assert "'tp' of size 16" in told["dims"]
    assert "options SimpleNamespace" in told["dims"]
    assert "timeout 9 s" in told["dims"]


def agree_on(monkeypatch, store, timeout=SECOND):
    """Compare as rank 3 of a fake world whose store this is."""
    monkeypatch.setattr(stores, "default_store", lambda: store)
    with fake_world(SIZE, 3), _agreement.agreed(lambda: ASKED, timeout):
        pass


def failing(error):
    class FailingStore:
        def __getattr__(self, name):
            def fail(*_):
                raise error

            return fail

    return FailingStore()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            RuntimeError("recvValue: connection reset by peer"),
            r"is gone \(.*reset by peer.*has ended",
        ),
        (RuntimeError("Broken pipe"), r"is gone \(Broken pipe\).*has ended"),
        (RuntimeError("Connection refused"), r"is gone: add\(\) found nobody at its address"),
        (
            RuntimeError("timed out after 1 s while trying to connect to (host, 1)"),
            "nobody at its address",
        ),
        (RuntimeError("Tried to call pure virtual function"), "has no method 'add'"),
        (NotImplementedError(), "has no method 'add'"),
        (ValueError("no quota"), r"failed in add\(\) \(no quota\)"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_why_a_store_failed_is_told(monkeypatch, error, words):
    match = rf"(?s)store of the default process group.*{words}.*nothing was made"
    with pytest.raises(mc.MeshMismatchError, match=match) as caught:
        agree_on(monkeypatch, failing(error))
    assert (caught.value.rank, caught.value.missing, caught.value.descriptions) == (None, (), {})


def test_a_store_written_in_python_is_told_which_method_it_lacks(monkeypatch):
    match = r"of class PoorStore, has no method 'add'.*Give it set, get, add and wait"
    with pytest.raises(mc.MeshMismatchError, match=match):
        agree_on(monkeypatch, PoorStore())


def test_a_rank_that_is_late_at_a_file_store_is_named(monkeypatch, tmp_path):
    store = dist.FileStore(str(tmp_path / "store"), SIZE)
    with pytest.raises(mc.MeshMismatchError, match=r"rank 0, 1, .* did not come within 1 s"):
        agree_on(monkeypatch, store)


def test_a_connection_that_is_lost_while_a_rank_waits_is_no_timeout(monkeypatch):
    store = dist.HashStore()
    lost = die_at(store, "wait", "verdict")
    with pytest.raises(mc.MeshMismatchError, match="failed in wait"):
        agree_on(monkeypatch, lost)


def test_a_store_that_does_not_answer_is_given_up_when_the_time_is_over(monkeypatch):
    class SilentStore:
        def __getattr__(self, _):
            return lambda *_: threading.Event().wait()

    monkeypatch.setattr(meeting, "patience", lambda _: 0.1)
    started = time.monotonic()
    with pytest.raises(mc.MeshMismatchError, match=r"no answer within 0\.1 s.*cannot be reached"):
        agree_on(monkeypatch, SilentStore(), SECOND / 10)
    assert time.monotonic() - started < 5


def test_a_store_may_take_a_third_of_the_time_for_an_answer(monkeypatch):
    store, stalls = dist.HashStore(), [0.5]

    class BusyStore:
        def __getattr__(self, name):
            time.sleep(stalls.pop() if stalls else 0)
            return getattr(store, name)

    monkeypatch.setattr(meeting, "patience", lambda _: 0.1)
    with pytest.raises(mc.MeshMismatchError, match="did not come within 3 s"):
        agree_on(monkeypatch, BusyStore(), 3 * SECOND)


def test_many_missing_ranks_are_not_all_written_out():
    missing = tuple(range(1, 100))
    error = wording.difference_error(comparison.Difference(1, missing, {0: ASKED}, 0, 6.0), 100)
    assert "rank 1-99 did not come within 6 s" in str(error)
    assert error.missing == missing
