"""What a rank says when torch cannot make what all agreed on; test_faults_on_ranks has real deaths."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat import _agreement, _making
from meshcompat._eras import process_groups
from meshcompat.testing import fake_world

KEYS = _agreement.Keys("meshcompat/0")
TORCH = "wait timeout after 3000ms"


@pytest.fixture
def store(monkeypatch):
    """A store in which 8 ranks have said what they ask for, and have agreed."""
    monkeypatch.setattr(_making, "PATIENCE", 0.1)
    monkeypatch.setattr(_making, "PAUSE", 0.01)
    store = dist.HashStore()
    for rank in range(8):
        store.set(KEYS.of(rank), json.dumps({"call": "flatten"}))
    with fake_world(8, 3):
        yield store


def fail(store):
    with _making.made_by_all(_agreement.Agreement(store, KEYS, "call flatten")):
        raise RuntimeError(TORCH)


def test_ranks_of_which_nothing_is_heard_are_missing(store):
    for rank in (0, 1, 2, 4, 7):
        store.set(KEYS.of(rank), _making.MADE if rank % 2 else _making.GIVEN_UP)
    with pytest.raises(mc.MeshMismatchError, match="rank 5, 6 had agreed") as caught:
        fail(store)
    assert (caught.value.rank, caught.value.missing) == (5, (5, 6))
    assert caught.value.descriptions == {3: "call flatten"}
    assert TORCH in str(caught.value)


def test_an_error_that_all_ranks_had_is_torchs_own(store):
    for rank in range(8):
        store.set(KEYS.of(rank), _making.GIVEN_UP)
    with pytest.raises(RuntimeError, match=TORCH) as caught:
        fail(store)
    assert not isinstance(caught.value, mc.MeshCompatError)


def test_a_store_that_went_away_meanwhile_is_told():
    class GoneStore:
        def __getattr__(self, name):
            raise RuntimeError(f"{name}: connection reset by peer")

    with fake_world(8, 3), pytest.raises(mc.MeshMismatchError, match="groups are half made"):
        fail(GoneStore())


def test_a_rank_that_made_its_groups_says_so(store):
    with _making.made_by_all(_agreement.Agreement(store, KEYS, "call flatten")):
        pass
    assert store.get(KEYS.of(3)).decode() == _making.MADE


def test_where_ranks_did_not_compare_nothing_is_asked():
    with pytest.raises(RuntimeError, match=TORCH), _making.made_by_all(None):
        raise RuntimeError(TORCH)


def count_up(parts, made, *, stand_still_at=None, seconds=0.0):
    """Make a "group" of every part, slowly, and stand still before one of them."""
    for part in parts:
        if part[0] == stand_still_at:
            GO_ON.wait(10)
        time.sleep(seconds)
        made.append(part)
    return len(made)


@pytest.fixture
def made(monkeypatch):
    made = []
    monkeypatch.setattr(_making, "MARGIN", 0.1)
    monkeypatch.setattr(process_groups, "groups_made", lambda: len(made))
    GO_ON.clear()
    return made


GO_ON = threading.Event()
PARTS = [[rank] for rank in range(8)]
SOON = timedelta(seconds=0.2)


def test_torch_may_take_its_time_as_long_as_it_gets_on(store, made):
    with _making.made_by_all(_agreement.Agreement(store, KEYS, "call flatten")):
        assert _making.in_time(lambda parts: count_up(parts, made, seconds=0.1), PARTS, SOON) == 8


def test_torch_that_stands_still_is_left_and_makes_no_group_any_more(store, made):
    for rank in range(7):
        store.set(KEYS.of(rank), _making.GIVEN_UP)
    with (
        pytest.raises(mc.MeshMismatchError, match="rank 7 had agreed") as caught,
        _making.made_by_all(_agreement.Agreement(store, KEYS, "call flatten")),
    ):
        _making.in_time(lambda parts: count_up(parts, made, stand_still_at=3), PARTS, SOON)
    assert "no answer within 0.3 s" in str(caught.value)
    GO_ON.set()
    time.sleep(0.1)
    assert made == [[0], [1], [2], [3]]


def test_where_ranks_did_not_compare_torch_is_called_as_ever(monkeypatch):
    threads = []
    make = process_groups.new_groups

    def make_and_tell(*args, **kwargs):
        threads.append(threading.current_thread())
        return make(*args, **kwargs)

    monkeypatch.setattr(process_groups, "new_groups", make_and_tell)
    with fake_world(8, 3):
        mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
    assert threads == [threading.current_thread()] * 2
