"""The same kinds of meshes on GPUs, talking over NCCL: one rank on each, or as many as ci/nccl.py asks for."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from tests.collectives.kinds import KINDS
from tests.collectives.sums import bits, cosets, exchange, expected, seen
from tests.support.nccl.setting import BACKEND, DEVICE, RANKS, make_root, pool_of_ranks, root_ranks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(RANKS == 0, reason="needs CUDA devices and NCCL"),
]


@pytest.fixture(scope="module")
def gpu_pool():
    with pool_of_ranks() as pool:
        yield pool


def seen_of_kind(shape, kind):
    return seen(KINDS[kind].make(make_root(shape)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_group_of_a_mesh_sums_over_the_ranks_of_its_dim(gpu_pool, kind):
    ranks = root_ranks()
    assert gpu_pool.run(seen_of_kind, ranks.shape, kind) == expected(
        KINDS[kind].meshes(ranks), RANKS
    )


def seen_of_all_kinds(shape, **options):
    root = make_root(shape, **options)
    return {name: seen(kind.make(root)) for name, kind in KINDS.items()}


def assert_all_kinds(seen_by_ranks, ranks):
    for name, kind in KINDS.items():
        assert [seen[name] for seen in seen_by_ranks] == expected(kind.meshes(ranks), RANKS), name


# A timeout of its own keeps even a world of one from being served by the default group.
@pytest.mark.parametrize("options", [{}, {"timeout": 60}], ids=["torch's timeout", "own timeout"])
def test_all_meshes_of_one_root_sum_right_side_by_side(gpu_pool, options):
    ranks = root_ranks()
    assert_all_kinds(gpu_pool.run(seen_of_all_kinds, ranks.shape, **options), ranks)


def bind_device(rendezvous):
    """Make the world again, its communicator at once: groups are then split off from it."""
    rank, world_size = dist.get_rank(), dist.get_world_size()
    dist.destroy_process_group()
    # gloo splits no groups, so that a rehearsal binds nothing.
    bound: dict[str, Any] = (
        {} if DEVICE == "cpu" else {"device_id": torch.device(DEVICE, torch.cuda.current_device())}
    )
    dist.init_process_group(
        BACKEND,
        init_method=f"file://{rendezvous}",
        rank=rank,
        world_size=world_size,
        **bound,
    )


def seen_with_bound_device(rendezvous, shape, **options):
    bind_device(rendezvous)
    return seen_of_all_kinds(shape, **options)


needs_bound_device = pytest.mark.skipif(
    "device_id" not in inspect.signature(dist.init_process_group).parameters,
    reason="this torch binds no device to the default process group",
)


@needs_bound_device
@pytest.mark.parametrize("options", [{}, {"timeout": 60}], ids=["torch's timeout", "own timeout"])
def test_all_meshes_sum_right_where_groups_are_split_from_a_bound_world(
    gpu_pool, tmp_path, options
):
    ranks = root_ranks()
    seen_by_ranks = gpu_pool.run(
        seen_with_bound_device, tmp_path / "rendezvous", ranks.shape, **options
    )
    assert_all_kinds(seen_by_ranks, ranks)


def seen_beside_a_subset(subset, rendezvous=None):
    """Make a mesh of some ranks, then one of all, and a group of torch's last."""
    if rendezvous is not None:
        bind_device(rendezvous)
    some = mc.init_device_mesh(
        DEVICE, subset.shape, mesh_dim_names=("dp", "tp"), ranks=subset.flatten(), timeout=60
    )
    flat = mc.flatten(some, "dp_tp")
    every = mc.init_device_mesh(DEVICE, (dist.get_world_size(),), timeout=60)
    last = dist.new_group(list(range(dist.get_world_size())))
    return [seen(some), seen(flat), seen(every), exchange([last], DEVICE)[0]]


@pytest.mark.skipif(RANKS < 2, reason="needs two ranks")
@pytest.mark.parametrize("bound", [False, pytest.param(True, marks=needs_bound_device)])
def test_meshes_of_some_ranks_and_of_all_sum_right_side_by_side(gpu_pool, tmp_path, bound):
    subset = np.arange(1, RANKS).reshape(1, -1)
    should_see = zip(
        expected([subset], RANKS),
        expected([subset.flatten()], RANKS),
        expected(cosets(np.arange(RANKS), (0,)), RANKS),
        [[bits(range(RANKS))]] * RANKS,
        strict=True,
    )
    rendezvous = tmp_path / "rendezvous" if bound else None
    seen_by_ranks = gpu_pool.run(seen_beside_a_subset, subset, rendezvous)
    assert seen_by_ranks == [list(by_rank) for by_rank in should_see]
