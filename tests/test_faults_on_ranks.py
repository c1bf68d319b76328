"""A rank dies, hangs or is late, or the store goes away: the others end in time, and say who."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat import _groups
from meshcompat.testing import GlooPool, RankDied
from tests.support.rank_faults import (
    ALLOWANCE,
    FAULTS,
    HUNG,
    KILLS,
    STOPPED,
    TIMEOUT,
    call_and_write,
    die,
    told_in,
)

pytestmark = [pytest.mark.multiprocess, pytest.mark.processes]

WORLD = 4


@pytest.fixture(scope="module")
def pool():
    with GlooPool(world_size=WORLD, timeout=60, grace=TIMEOUT + 2 * ALLOWANCE) as pool:
        yield pool


@pytest.fixture
def launcher():
    """A store in a process that is no rank, as torchrun has it."""
    return new_store()


def new_store():
    return dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def join(port):
    """Replace the world by one whose store is the launcher's."""
    rank, patience = dist.get_rank(), timedelta(seconds=60)
    dist.barrier()
    dist.destroy_process_group()
    store = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=patience)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=WORLD, timeout=patience)


def make_mesh(names=("dp", "tp"), timeout=TIMEOUT):
    return mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=names, timeout=timeout)


def meet(folder, port, culprit, fault):
    if port is not None:
        join(port)
    make_mesh(("first", "second"), 60)  # whatever the first call of a process needs
    dist.barrier()
    with pytest.MonkeyPatch.context() as patch:
        if dist.get_rank() == culprit:
            FAULTS[fault](patch)
        call_and_write(Path(folder, str(dist.get_rank())), make_mesh)


def is_running(pid):
    return Path(f"/proc/{pid}/stat").exists() and ") Z" not in Path(f"/proc/{pid}/stat").read_text()


def without_those_who_have_all(told, fault):
    """Leave out who met the dead rank in its first group, and needs it for no other."""
    if fault == "killed between two groups":
        told = {rank: words for rank, words in told.items() if words["kind"] is not None}
    assert told
    return told


@pytest.mark.parametrize("case", list(itertools.product([*KILLS, HUNG], (0, 3))), ids=str)
def test_the_others_name_the_rank_in_time(pool, launcher, tmp_path, figure, case):
    fault, culprit = case
    with pytest.raises(RankDied):
        pool.run(meet, str(tmp_path), launcher.port, culprit, fault)
    told = told_in(tmp_path)
    assert set(told) == set(range(WORLD)) - {culprit}
    told = without_those_who_have_all(told, fault)
    for words in told.values():
        assert (words["kind"], words["missing"]) == ("MeshMismatchError", [culprit])
        assert f"rank {culprit}" in words["text"]
        assert words["seconds"] < TIMEOUT + ALLOWANCE
    worst = max(words["seconds"] for words in told.values())
    figure("faults", f"rank {culprit} {fault}: s after the timeout", round(worst - TIMEOUT, 1))
    figure("faults", "survived", 1)
    assert pool.run(dist.get_rank) == list(range(WORLD))


@pytest.mark.parametrize("fault", KILLS)
def test_a_store_that_dies_with_its_rank_is_told_at_once(pool, tmp_path, figure, fault):
    with pytest.raises(RankDied):
        pool.run(meet, str(tmp_path), None, 0, fault)
    told = told_in(tmp_path)
    assert set(told) == {1, 2, 3}
    told = without_those_who_have_all(told, fault)
    for words in told.values():
        assert words["kind"] == "MeshMismatchError"
        assert "the store of the default process group is gone" in words["text"]
        assert "rank 0" in words["text"]
    seconds = [words["seconds"] for words in told.values()]
    worst = max(seconds)
    assert min(seconds) < ALLOWANCE
    # Among the groups, who has the address of a peer waits for that to connect.
    assert worst < (TIMEOUT + ALLOWANCE if "groups" in fault else ALLOWANCE)
    figure("faults", f"rank 0, which has the store, {fault}: s", round(worst, 1))
    figure("faults", "survived", 1)


def test_a_store_that_answers_no_more_while_groups_are_made_is_told_in_time(pool, tmp_path, figure):
    """torch waits for its answer for ever."""
    pool.start()

    def kill_when_all_are_told():
        deadline = time.monotonic() + TIMEOUT + 3 * ALLOWANCE
        while len(list(tmp_path.iterdir())) < WORLD - 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(pool.pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_when_all_are_told)
    killer.start()
    with pytest.raises(RankDied):
        pool.run(meet, str(tmp_path), None, 0, STOPPED)
    killer.join()
    told = told_in(tmp_path)
    assert set(told) == {1, 2, 3}
    for words in told.values():
        assert words["kind"] == "MeshMismatchError"
        assert "the store of the default process group is gone" in words["text"]
        assert words["seconds"] < TIMEOUT + ALLOWANCE
    worst = max(words["seconds"] for words in told.values())
    figure("faults", f"rank 0, which has the store, {STOPPED}: s", round(worst, 1))
    figure("faults", "survived", 1)


def wait_for_one_that_is_away(folder, port):
    join(port)
    make_mesh(("first", "second"), 60)  # whatever the first call of a process needs
    if dist.get_rank() == 3:
        time.sleep(TIMEOUT)
    call_and_write(Path(folder, str(dist.get_rank())), make_mesh)


def test_a_store_that_the_launcher_takes_away_is_told_at_once(pool, tmp_path, figure):
    held = [new_store()]
    pool.start()
    threading.Timer(1.5, held.clear).start()
    pool.run(wait_for_one_that_is_away, str(tmp_path), held[0].port)
    told = told_in(tmp_path)
    for words in told.values():
        assert words["kind"] == "MeshMismatchError"
        assert "the store of the default process group is gone" in words["text"]
        assert words["seconds"] < TIMEOUT
    figure("faults", "survived", 1)


def go_on_without(folder, port, culprit):
    join(port)
    mesh = make_mesh()
    dist.barrier()
    if dist.get_rank() == culprit:
        die()
    if culprit in mc.get_ranks(mesh, "tp"):
        sums = Path(folder, f"sum-{dist.get_rank()}")
        call_and_write(sums, lambda: dist.all_reduce(torch.ones(1), group=mesh.get_group("tp")))
    call_and_write(Path(folder, str(dist.get_rank())), lambda: make_mesh(("next", "one")))


@pytest.mark.parametrize("culprit", [0, 3])
def test_a_rank_that_dies_with_its_meshes_made_is_named_by_the_next_call(
    pool, launcher, tmp_path, figure, culprit
):
    with pytest.raises(RankDied):
        pool.run(go_on_without, str(tmp_path), launcher.port, culprit)
    (sums,) = tmp_path.glob("sum-*")
    words = json.loads(sums.read_text())
    assert words["kind"] is not None, "a sum with a dead rank"
    assert words["seconds"] < TIMEOUT + ALLOWANCE
    sums.unlink()
    told = told_in(tmp_path)
    assert set(told) == set(range(WORLD)) - {culprit}
    for words in told.values():
        assert (words["kind"], words["missing"]) == ("MeshMismatchError", [culprit])
        assert words["seconds"] < TIMEOUT + ALLOWANCE
    figure("faults", "survived", 1)


def come_late_to_the_groups(folder, port):
    join(port)
    make_mesh(("first", "second"), 60)  # whatever the first call of a process needs
    dist.barrier()
    ended = Path(folder, "first-3")
    with pytest.MonkeyPatch.context() as patch:
        if dist.get_rank() == 3:
            make = _groups._make

            def make_late(*args, **kwargs):
                time.sleep(TIMEOUT + ALLOWANCE)
                return make(*args, **kwargs)

            patch.setattr(_groups, "_make", make_late)
        call_and_write(Path(folder, f"first-{dist.get_rank()}"), make_mesh)
    while not ended.exists():
        time.sleep(0.1)
    call_and_write(Path(folder, str(dist.get_rank())), lambda: make_mesh(("next", "one")))


def test_after_a_rank_that_stalled_among_the_groups_the_next_call_is_an_error(
    pool, launcher, tmp_path, figure
):
    """Groups are half made, so that the ranks count different ones: told, not hung."""
    pool.run(come_late_to_the_groups, str(tmp_path), launcher.port)
    first = [json.loads((tmp_path / f"first-{rank}").read_text()) for rank in range(WORLD)]
    assert [words["missing"] for words in first[:3]] == [[3]] * 3
    assert first[3]["kind"] is not None
    for path in tmp_path.glob("first-*"):
        path.unlink()
    for words in told_in(tmp_path).values():
        assert words["kind"] == "MeshMismatchError"
        assert "they differ in groups made before" in words["text"]
    figure("faults", "survived", 1)


def test_no_rank_outlives_the_pool(tmp_path):
    with GlooPool(world_size=WORLD, timeout=60, grace=1) as pool:
        pool.start()
        pids = pool.pids
        with pytest.raises(RankDied):
            pool.run(meet, str(tmp_path), None, 3, "killed before its call")
        assert not any(map(is_running, pids))
