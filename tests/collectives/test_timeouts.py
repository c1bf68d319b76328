"""`timeout=` ends a collective whose peer never comes."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat._eras import process_groups, stores

pytestmark = pytest.mark.multiprocess

LATE = 7
PEERS = {"root": 6, "flattened": 1, "unflattened": 4}
"""Which rank waits for rank 7, in a group of which kind."""


def groups_with_own_timeouts(root_timeout, flat_timeout, unflat_timeout):
    """Return three groups that hold rank 7, each with one other of `PEERS`."""
    root = mc.init_device_mesh(
        "cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"), timeout=root_timeout
    )
    flat = mc.flatten(mc.get_submesh(root, ("pp", "dp")), "pp_dp", timeout=flat_timeout)
    halves = mc.flatten(mc.get_submesh(root, ("dp", "tp")), "dp_tp")
    view = mc.unflatten(halves, 0, (1, 4), ("one", "all"), timeout=unflat_timeout)
    return {
        "root": root.get_group("tp"),
        "flattened": flat.get_group(),
        "unflattened": view.get_group("all"),
    }


def wait_in_vain(*timeouts):
    """Return after how many seconds the collective of this rank failed; None if it has none."""
    # Making a group has to end in its time too, so nobody is still importing then.
    mc.init_device_mesh("cpu", (8,))
    dist.barrier()
    groups = groups_with_own_timeouts(*timeouts)
    dist.barrier()
    kind = next((kind for kind, rank in PEERS.items() if rank == dist.get_rank()), None)
    if kind is None:
        return None
    start = time.monotonic()
    with pytest.raises(RuntimeError):
        dist.all_reduce(torch.ones(1), group=groups[kind])
    return time.monotonic() - start


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        pytest.param((2, 2.5, 3), (2, 2.5, 3), id="each its own"),
        pytest.param((2, None, None), (2, 2, 2), id="that of the root"),
    ],
)
def test_a_collective_without_its_peer_ends_when_its_time_is_over(pool, given, ends):
    seconds = pool.run(wait_in_vain, *given)
    for kind, end in zip(PEERS, ends, strict=True):
        assert end - 0.5 < seconds[PEERS[kind]] < end + 5, kind
    assert pool.run(dist.get_rank) == list(range(8))


def make_all_that_builders_make(limit):
    """Return the groups of an FSDP2 mesh with flattened and expert dims, by name."""
    sizes = mc.ParallelismSizes(dp_size=4, dp_replicate_size=2, tp_size=2, ep_size=2)
    root, experts = mc.create_fsdp2_device_mesh(sizes, world_size=8, timeout_minutes=limit)
    names = ("dp_replicate", "dp_shard", "tp", "dp", "ep_shard", "ep")
    return {name: mc.get_group(experts if "ep" in name[:2] else root, name) for name in names}


def make_in_a_world_with(limit):
    """Return the groups of meshes without a timeout; the default group has one."""
    rank, size = dist.get_rank(), dist.get_world_size()
    store = dist.PrefixStore("again", stores.default_store())
    dist.destroy_process_group()
    limit = timedelta(seconds=limit)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=limit)
    root = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
    view = mc.unflatten(root, "tp", (2, 2), ("tp_out", "tp_in"))
    few = mc.init_device_mesh("cpu", (3,), mesh_dim_names=("few",), ranks=[0, 1, 7])
    meshes = {"dp": root, "tp": root, "tp_out": view, "tp_in": view}
    if mc.is_member(few):
        meshes["few"] = few
    return {name: mc.get_group(mesh, name) for name, mesh in meshes.items()}


def wait_for_all_in_vain(make, limit):
    """Return when the collective on each group that holds the late rank failed, by name."""
    mc.init_device_mesh("cpu", (8,))
    dist.barrier()
    groups = make(limit)
    dist.barrier()
    if dist.get_rank() == LATE:
        return list(groups), {}
    start = time.monotonic()
    works = {
        name: dist.all_reduce(torch.ones(1), group=group, async_op=True)
        for name, group in groups.items()
        if LATE in dist.get_process_group_ranks(group)
    }
    seconds = {}
    for name, work in works.items():
        with pytest.raises(RuntimeError):
            work.wait()
        seconds[name] = time.monotonic() - start
    return None, seconds


@pytest.mark.parametrize(
    ("make", "limit", "end"),
    [
        pytest.param(make_all_that_builders_make, 2 / 60, 2, id="minutes of a builder"),
        pytest.param(make_in_a_world_with, 2, 2, id="that of the default group"),
    ],
)
def test_one_timeout_reaches_every_group_that_holds_a_late_rank(pool, make, limit, end):
    found = pool.run(wait_for_all_in_vain, make, limit)
    names, _ = found[LATE]
    ended = [(name, after) for _, seconds in found[:LATE] for name, after in seconds.items()]
    assert {name for name, _ in ended} == set(names)
    for name, after in ended:
        assert end - 0.5 < after < end + 5, name


def shared_with_a_registered_group(limit):
    """Return whether flatten takes a group of *limit* s, by the timeout that is asked for."""
    root = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
    default = process_groups.default_timeout()
    made_with = default if limit is None else timedelta(seconds=limit)
    made = [dist.new_group(range(first, 8, 2), timeout=made_with) for first in (0, 1)]
    theirs = next(group for group in made if group != dist.GroupMember.NON_GROUP_MEMBER)
    mc.register_axis(root, "theirs", theirs)
    dims = ("pp", "dp")
    return {
        "default": mc.flatten(root, dims, "usual").get_group() is theirs,
        "of the group": mc.flatten(root, dims, "theirs", timeout=limit).get_group() is theirs,
        "its own": mc.flatten(root, dims, "short", timeout=limit or 77).get_group() is theirs,
    }


@pytest.mark.parametrize("limit", [50, None], ids=["50 s", "that of the default group"])
def test_a_registered_group_is_shared_where_its_timeout_is_asked_for(pool, limit):
    found = pool.run(shared_with_a_registered_group, limit)
    is_default = limit is None
    assert found == [{"default": is_default, "of the group": True, "its own": not is_default}] * 8
