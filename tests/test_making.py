"""What a rank says when torch cannot make what all agreed on; test_faults_on_ranks has real deaths."""

from __future__ import annotations

import json

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat import _agreement, _making
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
