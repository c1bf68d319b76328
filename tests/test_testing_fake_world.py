"""The kit's worlds in one process: they are what they say, and they always end."""

import inspect
from typing import Any

import pytest
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from meshcompat.testing import each_rank, fake_world, on_every_rank


def test_fake_world_is_the_rank_that_was_asked_for():
    with fake_world(16, rank=11):
        assert (dist.get_rank(), dist.get_world_size()) == (11, 16)


def fail():
    raise KeyError


def test_fake_world_ends_after_an_error():
    with pytest.raises(KeyError), fake_world(4):
        fail()
    assert not dist.is_initialized()


def test_fake_world_accepts_that_the_block_destroys_it():
    with fake_world(4):
        dist.destroy_process_group()
    assert not dist.is_initialized()


def test_fake_world_refuses_to_nest_and_leaves_the_outer_one():
    with fake_world(4, rank=3):
        with pytest.raises(RuntimeError, match="rank 3 of 4"), fake_world(2):
            pass
        assert dist.get_rank() == 3


@pytest.mark.parametrize(("world_size", "rank"), [(4, 4), (4, -1), (0, 0)])
def test_fake_world_refuses_a_rank_outside(world_size, rank):
    with pytest.raises(ValueError, match="is not in a world"), fake_world(world_size, rank):
        pass
    assert not dist.is_initialized()


def test_fake_world_makes_groups_with_their_ranks():
    with fake_world(8, rank=2):
        group: Any = dist.new_group([2, 6])
        assert dist.get_process_group_ranks(group) == [2, 6]
        assert dist.new_group([1, 5]) is dist.GroupMember.NON_GROUP_MEMBER


def test_each_rank_gives_every_rank_a_world_of_its_own():
    seen = [(rank, dist.get_rank(), dist.get_world_size()) for rank in each_rank(16)]
    assert seen == [(rank, rank, 16) for rank in range(16)]
    assert not dist.is_initialized()


def test_each_rank_ends_its_world_after_break():
    for _ in each_rank(4):
        break
    assert not dist.is_initialized()


def test_each_rank_ends_its_world_after_an_error_whose_traceback_is_kept():
    def fail_on_two():
        for rank in each_rank(4):
            1 / (rank - 2)

    with pytest.raises(ZeroDivisionError) as kept:
        fail_on_two()
    assert not dist.is_initialized()
    assert kept.traceback


def test_on_every_rank_returns_results_in_rank_order():
    def local_rank(dim, *, offset):
        mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        return mesh.get_local_rank(dim) + offset

    assert on_every_rank(8, local_rank, "tp", offset=10) == [10, 11, 12, 13] * 2


def test_on_every_rank_raises_what_the_function_raised():
    def fail_on_two():
        if dist.get_rank() == 2:
            raise LookupError("here")

    with pytest.raises(LookupError, match="here") as caught:
        on_every_rank(4, fail_on_two)
    notes = getattr(caught.value, "__notes__", ["on rank 2 of a fake world of 4"])
    assert notes == ["on rank 2 of a fake world of 4"]
    assert not dist.is_initialized()


@pytest.mark.parametrize("function", [fake_world, each_rank, on_every_rank])
def test_fake_world_functions_say_whether_they_are_collective(function):
    assert "Collective:\n" in inspect.getdoc(function)
