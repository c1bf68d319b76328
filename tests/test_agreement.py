"""What one rank does in a comparison, whatever the others do; tests/collectives has all of them."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat import _agreement
from meshcompat._eras import stores
from meshcompat.testing import fake_world
from tests.support.counting_store import CountingStore

ASKED = {"call": "flatten", "dims": "'x' of size 2"}
WORLD = 1024
SECOND = timedelta(seconds=1)


@pytest.fixture
def store(monkeypatch):
    """The store of a fake world, which has none of its own."""
    store = dist.HashStore()
    monkeypatch.setattr(stores, "default_store", lambda: store)
    return store


def counted(monkeypatch, store):
    counting = CountingStore(store)
    monkeypatch.setattr(stores, "default_store", lambda: counting)
    return counting.count


FIRST = "meshcompat/worlds of {}/0/comparison 0"


def test_a_rank_of_many_does_five_store_operations_at_its_first_comparison(monkeypatch, store):
    first = FIRST.format(WORLD)
    store.set(f"{first}/verdict", _agreement.AGREED)
    count = counted(monkeypatch, store)
    with fake_world(WORLD, 77):
        _agreement.agree(lambda: ASKED, SECOND)
    assert sum(count.values()) == 5
    assert store.get(f"{first}/77").decode() == json.dumps(ASKED)


def test_rank_0_of_many_does_no_more_for_a_larger_world(monkeypatch, store):
    first = FIRST.format(WORLD)
    for rank in range(1, WORLD):
        store.set(f"{first}/{rank}", json.dumps(ASKED))
    count = counted(monkeypatch, store)
    with fake_world(WORLD, 0):
        _agreement.agree(lambda: ASKED, SECOND)
    reads = WORLD if count["get"] else 1  # a store without multi_get is read key by key
    assert sum(count.values()) == 6 + reads
    assert store.get(f"{first}/verdict").decode() == _agreement.AGREED


class ToldError(Exception):
    """Ends a call where it would make groups."""


def asked_for(ranks, **override):
    """Return what a rank of 32 would tell the others of a mesh over *ranks*."""

    def tell(describe, _):
        raise ToldError(describe())

    with fake_world(32), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_agreement, "agree", tell)
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


class ImpatientStore:
    """A store whose waits are over at once."""

    def __init__(self, store):
        self.store = store

    def wait(self, *_):
        raise dist.DistStoreError("wait timeout")

    def __getattr__(self, name):
        return getattr(self.store, name)


class GoneStore:
    def __getattr__(self, name):
        def fail(*_):
            raise RuntimeError(f"{name}: connection reset by peer")

        return fail


def test_a_store_that_went_away_is_an_error_in_words(monkeypatch):
    monkeypatch.setattr(stores, "default_store", GoneStore)
    words = r"store of the default process group is gone \(.*connection reset.*\).*nothing was made"
    with fake_world(8, 3), pytest.raises(mc.MeshMismatchError, match=words) as caught:
        _agreement.agree(lambda: ASKED, SECOND)
    assert (caught.value.rank, caught.value.missing, caught.value.descriptions) == (None, (), {})


@pytest.mark.parametrize("rank", [0, 3])
def test_a_verdict_that_is_late_is_given_by_rank_0_only(store, rank):
    """All are there: rank 0 says so, and if it does not, it has ended since it came."""
    for other in range(8):
        store.set(f"{FIRST.format(8)}/{other}", json.dumps(ASKED))
    with fake_world(8, rank), pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "default_store", lambda: ImpatientStore(store))
        if rank == 0:
            _agreement.agree(lambda: ASKED, SECOND / 10)
        else:
            with pytest.raises(mc.MeshMismatchError, match="rank 0 did not come") as caught:
                _agreement.agree(lambda: ASKED, SECOND / 10)
            assert caught.value.missing == (0,)


def test_a_difference_is_told_although_rank_0_has_ended(store):
    for other in range(8):
        asked = {"call": "unflatten"} if other == 5 else ASKED
        store.set(f"{FIRST.format(8)}/{other}", json.dumps(asked))
    with fake_world(8, 3), pytest.raises(mc.MeshMismatchError, match="rank 5 asks for") as caught:
        _agreement.agree(lambda: ASKED, SECOND / 10)
    assert caught.value.rank == 5


def test_stores_without_multi_get_are_read_key_by_key(tmp_path):
    store = dist.FileStore(str(tmp_path / "store"), 1)
    store.set("a", "1")
    store.set("b", "2")
    assert stores.read_all(store, ["a", "b"]) == ["1", "2"]


def test_a_store_that_does_not_answer_is_given_up_when_the_time_is_over():
    class SilentStore(ImpatientStore):
        def compare_set(self, *_):
            threading.Event().wait()

    started = time.monotonic()
    with fake_world(8, 3), pytest.MonkeyPatch.context() as patch:
        patch.setattr(_agreement, "SLACK", timedelta(0))
        patch.setattr(_agreement, "GRACE", timedelta(0))
        patch.setattr(stores, "default_store", lambda: SilentStore(dist.HashStore()))
        with pytest.raises(
            mc.MeshMismatchError, match=r"no answer within 0\.1 s.*cannot be reached"
        ):
            _agreement.agree(lambda: ASKED, SECOND / 10)
    assert time.monotonic() - started < 5
