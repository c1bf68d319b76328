"""A store can outlive its world: what an ended world agreed on says nothing about the next one."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import timedelta

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat._eras import stores

pytestmark = pytest.mark.multiprocess

ODD = 5
PATIENCE = timedelta(seconds=60)


def make_mesh(shape=(2, 4), **options):
    return mc.init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp"), **options)


def store_that_stays(kind, where):
    if kind == "file":
        return dist.FileStore(where, dist.get_world_size())
    store = dist.TCPStore("127.0.0.1", where, is_master=False, timeout=PATIENCE)
    # torchrun's agent keeps one store for all worlds of an attempt.
    return dist.PrefixStore("/worker/attempt_0", store) if kind == "torchrun" else store


@contextlib.contextmanager
def worlds_in(store):
    """Give a function that begins a world whose ranks compare through *store*.

    gloo meets under a prefix: it would take the addresses of the world before for its own.
    """
    under = {number: dist.PrefixStore(f"gloo {number}", store) for number in range(4)}

    def begin(number):
        rank, size = dist.get_rank(), dist.get_world_size()
        dist.barrier()
        dist.destroy_process_group()
        dist.init_process_group(
            "gloo", store=under[number], rank=rank, world_size=size, timeout=PATIENCE
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "default_store", lambda: store)
        yield begin


def error_of(call):
    try:
        call()
    except mc.MeshMismatchError as error:
        return error.rank, error.missing
    return None


def differ_in_the_second_world(kind, where):
    with worlds_in(store_that_stays(kind, where)) as begin:
        begin(0)
        make_mesh()
        make_mesh((4, 2))
        begin(1)
        make_mesh()
        error = error_of(lambda: make_mesh((2, 4) if dist.get_rank() == ODD else (4, 2)))
        return error, error_of(make_mesh)


@pytest.fixture
def server():
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


@pytest.mark.parametrize("kind", ["tcp", "torchrun", "file"])
def test_ranks_that_differ_in_a_later_world_are_told_so(pool, server, tmp_path, kind):
    where = os.fspath(tmp_path / "store") if kind == "file" else server.port
    assert pool.run(differ_in_the_second_world, kind, where) == [((ODD, ()), None)] * 8


def stay_away_in_the_first_world(where):
    with worlds_in(store_that_stays("tcp", where)) as begin:
        begin(0)
        first = None if dist.get_rank() == ODD else error_of(lambda: make_mesh(timeout=1))
        begin(1)
        if dist.get_rank() != ODD:
            time.sleep(0.2)  # so that the odd rank meets what was said of it
        return first, error_of(make_mesh), error_of(lambda: make_mesh((4, 2)))


def test_a_rank_that_never_came_in_one_world_is_heard_in_the_next(pool, server):
    found = pool.run(stay_away_in_the_first_world, server.port)
    for rank, (first, *then) in enumerate(found):
        assert first == (None if rank == ODD else (ODD, (ODD,)))
        assert then == [None, None]


def worlds_of_other_sizes(where):
    found = []
    with worlds_in(store_that_stays("tcp", where)):
        store, rank = stores.default_store(), dist.get_rank()
        dist.barrier()
        dist.destroy_process_group()
        for number, size in enumerate((8, 2, 8)):
            if rank < size:
                under = dist.PrefixStore(f"gloo {number}", store)
                dist.init_process_group("gloo", store=under, rank=rank, world_size=size)
                found.append(error_of(lambda size=size: make_mesh((2, size // 2))))
                dist.barrier()  # gloo of a slower rank may still be meeting this one
                dist.destroy_process_group()
    return found


def test_a_smaller_world_in_between_is_another(pool, server):
    found = pool.run(worlds_of_other_sizes, server.port)
    assert found == [[None] * (3 if rank < 2 else 2) for rank in range(8)]
