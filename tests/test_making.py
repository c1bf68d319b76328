"""What a rank says when torch cannot make what all agreed on; test_faults_on_ranks has real deaths."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat import _agreement
from meshcompat._agreement import making, meeting
from meshcompat._agreement.marks import GAVE_UP, MADE, Mark
from meshcompat._agreement.talk import Talk
from meshcompat._agreement.worlds import World
from meshcompat._eras import process_groups, stores
from meshcompat.testing import fake_world
from tests.support.counting_store import CountingStore

ASKED = {"call": "flatten"}
TORCH = "wait timeout after 3000ms"
SIZE, ME = 8, 3


class Others:
    """The ranks that agree with this one, and then tell how they ended."""

    def __init__(self, store):
        self.store = store
        self.worlds = [World(Talk(store), rank, SIZE) for rank in range(SIZE) if rank != ME]
        for world in self.worlds:
            world.next(ASKED).arrive(1)

    def end(self, ranks, state):
        for world in self.worlds:
            if world.rank in ranks:
                world.marks.put(world.talk, world.rank, Mark(0, state))

    def mark_of(self, rank):
        return self.worlds[0].marks.read(Talk(self.store), rank)


@pytest.fixture
def others(monkeypatch):
    monkeypatch.setattr(meeting, "PATIENCE", 0.1)
    monkeypatch.setattr(meeting, "PAUSE", 0.01)
    store = dist.HashStore()
    monkeypatch.setattr(stores, "default_store", lambda: store)
    with fake_world(SIZE, ME):
        yield Others(store)


def agreed():
    return _agreement.agreed(lambda: ASKED, timedelta(seconds=5))


def fail(error):
    with agreed():
        raise error


def test_ranks_of_which_nothing_is_heard_are_missing(others):
    others.end((1, 7), MADE)
    others.end((0, 2, 4), GAVE_UP)
    with pytest.raises(mc.MeshMismatchError, match="rank 5, 6 had agreed") as caught:
        fail(RuntimeError(TORCH))
    assert (caught.value.rank, caught.value.missing) == (5, (5, 6))
    assert caught.value.descriptions == {ME: "call flatten"}
    assert TORCH in str(caught.value)


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        pytest.param([5, 6], (5, 6), id="as it is"),
        pytest.param([5, 6, 7], (5, 6), id="but for who has ended since"),
        pytest.param([ME, 5, 6], (5, 6), id="of a moment before this rank gave up"),
    ],
)
def test_the_first_rank_that_gave_up_tells_the_others_who_is_missing(
    others, monkeypatch, told, missing
):
    others.end((0, 1, 2, 4, 7), MADE)
    world = others.worlds[0]
    world.talk.add(world.key(0, "gave up"), 1)
    world.talk.set(world.key(0, "silent"), json.dumps(told))
    asked = CountingStore(others.store)
    monkeypatch.setattr(stores, "default_store", lambda: asked)
    with pytest.raises(mc.MeshMismatchError) as caught:
        fail(RuntimeError(TORCH))
    assert caught.value.missing == missing
    if ME not in told:
        assert asked.count["get"] == 1 + len(told)  # the answer, and who is in it


def test_an_error_that_all_ranks_had_is_torchs_own(others):
    others.end(range(SIZE), GAVE_UP)
    with pytest.raises(RuntimeError, match=TORCH) as caught:
        fail(RuntimeError(TORCH))
    assert not isinstance(caught.value, mc.MeshCompatError)


def test_a_rank_that_is_further_on_had_made_its_groups(others):
    others.end(range(1, SIZE), GAVE_UP)
    others.worlds[0].next(ASKED)
    others.worlds[0].next(ASKED).arrive(0)
    with pytest.raises(RuntimeError, match=TORCH) as caught:
        fail(RuntimeError(TORCH))
    assert not isinstance(caught.value, mc.MeshCompatError)


def test_an_error_of_another_kind_is_put_down_and_left_as_it_is(others):
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    assert others.mark_of(ME).state == GAVE_UP


class StoreThatGoes:
    """A store that is gone from some moment on."""

    is_gone = False

    def __init__(self, store):
        self.store = store

    def __getattr__(self, name):
        if self.is_gone:
            raise RuntimeError(f"{name}: connection reset by peer")
        return getattr(self.store, name)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(RuntimeError(TORCH), f"groups are half made: .*{TORCH}", id="and torch fails"),
        pytest.param(None, "the groups were made", id="after all is made"),
    ],
)
def test_a_store_that_went_away_meanwhile_is_told(others, monkeypatch, error, words):
    store = StoreThatGoes(others.store)
    monkeypatch.setattr(stores, "default_store", lambda: store)

    def make():
        with agreed():
            store.is_gone = True
            if error is not None:
                raise error

    match = f"store of the default process group is gone.*{words}"
    with pytest.raises(mc.MeshMismatchError, match=match):
        make()


def test_a_rank_that_made_its_groups_says_so(others):
    with agreed():
        assert others.mark_of(ME).state == "came"
    assert others.mark_of(ME) == Mark(0, MADE)


@pytest.mark.usefixtures("others")
def test_where_ranks_did_not_compare_nothing_is_asked():
    with pytest.raises(RuntimeError, match=TORCH), mc.unchecked():
        fail(RuntimeError(TORCH))


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
    monkeypatch.setattr(making, "MARGIN", 0.1)
    monkeypatch.setattr(process_groups, "groups_made", lambda: len(made))
    GO_ON.clear()
    return made


GO_ON = threading.Event()
PARTS = [[rank] for rank in range(8)]
SOON = timedelta(seconds=0.2)


@pytest.mark.usefixtures("others")
def test_torch_may_take_its_time_as_long_as_it_gets_on(made):
    with agreed() as make:
        assert make(lambda parts: count_up(parts, made, seconds=0.1), PARTS, SOON) == 8


def test_torch_that_stands_still_is_left_and_makes_no_group_any_more(others, made):
    others.end(range(7), GAVE_UP)
    with (
        pytest.raises(mc.MeshMismatchError, match="rank 7 had agreed") as caught,
        agreed() as make,
    ):
        make(lambda parts: count_up(parts, made, stand_still_at=3), PARTS, SOON)
    assert "no answer within 0.3 s" in str(caught.value)
    GO_ON.set()
    time.sleep(0.1)
    assert made == [[0], [1], [2], [3]]


@pytest.fixture
def threads(monkeypatch):
    """The threads in which torch made groups, in their order."""
    threads = []
    make = process_groups.new_groups

    def make_and_tell(*args, **kwargs):
        threads.append(threading.current_thread())
        return make(*args, **kwargs)

    monkeypatch.setattr(process_groups, "new_groups", make_and_tell)
    return threads


def make_mesh():
    return mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))


def test_where_ranks_did_not_compare_torch_is_called_as_ever(threads):
    with fake_world(SIZE, ME):
        make_mesh()
    assert threads == [threading.current_thread()] * 3


@pytest.mark.usefixtures("others")
def test_a_call_has_one_thread_for_all_its_groups(threads, monkeypatch):
    monkeypatch.setattr(meeting.Meeting, "compare", lambda *_: None)
    monkeypatch.setattr(meeting.Meeting, "put_down", lambda *_: None)
    make_mesh()
    assert len(threads) == 3
    assert len({*threads}) == 1
    assert threads[0] is not threading.current_thread()
    threads[0].join(5)
    assert not threads[0].is_alive()


@pytest.mark.usefixtures("others")
def test_a_call_that_makes_nothing_has_no_thread(monkeypatch):
    with mc.unchecked():
        mesh = make_mesh()
    monkeypatch.setattr(threading.Thread, "start", None)
    flat = mc.flatten(mc.get_submesh(mesh, ("pp", "dp", "tp")), "all")
    assert flat.size() == SIZE
