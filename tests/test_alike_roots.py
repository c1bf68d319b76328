"""Roots that look alike are told apart by what all ranks made together, or not at all."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle

import pytest
import torch.distributed as dist
from torch.distributed import device_mesh

import meshcompat as mc
from meshcompat.testing import fake_world
from tests.support.small_world import NAMES, RANK, ours


def by_torch():
    return device_mesh.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)


def of_the_world():
    return mc.from_group(dist.group.WORLD, "cpu", mesh_dim_names=("dp",))


def second_as_written_by_another_rank():
    with fake_world(8, 1):
        kept = ours()
        data = mc.mesh_to_dict(ours())
        assert mc.is_member(kept)
    return data


def fail():
    """Fail as a root does whose groups could not be made."""

    def no_luck(*_, **__):
        raise RuntimeError("no luck")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "new_group", no_luck)
        with pytest.raises(RuntimeError, match="no luck"):
            ours()


def look():
    """Look at a mesh that torch made, and keep it."""
    mesh = by_torch()
    mc.layout_of(mesh)
    return mesh


HAPPENED_HERE_ALONE = {
    "a root that failed": fail,
    "a look at a mesh that torch made": look,
    "a look at a mesh that is gone": lambda: (look(), gc.collect())[1],
    "a mesh of a group that was there": lambda: mc.from_group(
        dist.group.WORLD, "cpu", mesh_dim_names=("dp",)
    ),
}


@pytest.mark.parametrize("happens", HAPPENED_HERE_ALONE.values(), ids=HAPPENED_HERE_ALONE)
def test_what_one_rank_did_alone_does_not_shift_its_roots(happens):
    data = second_as_written_by_another_rank()
    with fake_world(8, 0):
        kept = happens()
        first = ours()
        between = happens()
        second = ours()
        assert mc.mesh_from_dict(data) is second
        assert mc.mesh_from_dict({**data, "number": 0}) is first
        del kept, between


def test_a_group_of_one_rank_does_not_shift_roots_of_the_world():
    with fake_world(8, 1):
        kept = mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",))
        data = mc.mesh_to_dict(mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",)))
    with fake_world(8, 0):
        alone = of_the_world()
        kept = mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",))
        second = mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",))
        assert mc.mesh_from_dict(data) is second
        assert copy.deepcopy(alone) is alone
        assert copy.deepcopy(kept) is kept


def test_the_mesh_of_a_root_that_is_gone_is_not_that_of_another_one():
    with fake_world(8, RANK):
        kept = ours()
        data = mc.mesh_to_dict(ours())
        gc.collect()
        with pytest.raises(mc.MeshLayoutError, match="cannot be told"):
            mc.mesh_from_dict({**data, "number": 5})
        assert copy.deepcopy(kept) is kept


def test_roots_that_torch_made_are_not_told_apart_by_what_a_rank_wrote():
    with fake_world(8, 1):
        data = mc.mesh_to_dict(by_torch())
    with fake_world(8, 0):
        first, second = look(), look()
        with pytest.raises(mc.MeshLayoutError, match="cannot be told"):
            mc.mesh_from_dict(data)
        assert mc.same_root(first, first)
        assert mc.same_root(second, second)


def part_of(root):
    return mc.get_submesh(root, ("tp", "pp"))


def test_a_root_that_torch_made_is_not_taken_for_another_one_that_was_not_looked_at():
    with fake_world(8, 1):
        data = mc.mesh_to_dict(part_of(by_torch()))
    with fake_world(8, 0):
        kept = by_torch()
        part = part_of(by_torch())
        with pytest.raises(mc.MeshLayoutError, match="cannot be told"):
            mc.mesh_from_dict(data)
        assert copy.deepcopy(part) is part
        assert not mc.same_root(part, kept)


def test_a_copy_of_a_root_that_is_gone_is_not_that_of_another_one():
    with fake_world(8, RANK):
        stored = pickle.dumps(part_of(by_torch()))
        gc.collect()
        part = part_of(by_torch())
        # Up to 2.9 torch's own tables can keep the first one.
        with contextlib.suppress(mc.MeshLayoutError):
            read = pickle.loads(stored)  # noqa: S301  (our own bytes)
            assert not mc.same_root(read, part)
        assert copy.deepcopy(part) is part


def test_groups_of_somebody_else_are_no_other_root():
    with fake_world(8, 1):
        data = mc.mesh_to_dict(part_of(by_torch()))
    with fake_world(8, 0):
        for ranks in ([0, 4], [0, 2]):
            dist.new_group(ranks)
        part = part_of(by_torch())
        mc.unflatten(mc.flatten(mc.get_root_mesh(part), "all"), 0, (2, 2, 2), NAMES)
        other = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("pp", "dp"))
        assert mc.mesh_from_dict(data) is part
        assert mc.is_member(other)


def test_a_root_that_all_made_is_not_taken_for_one_that_torch_made():
    with fake_world(8, 1):
        data = mc.mesh_to_dict(by_torch())
    with fake_world(8, 0):
        unseen, seen = by_torch(), ours()
        with pytest.raises(mc.MeshLayoutError, match="cannot be told"):
            mc.mesh_from_dict(data)
        assert not mc.same_root(unseen, seen)


def test_a_root_that_torch_made_is_found_where_it_is_the_only_one():
    with fake_world(8, 1):
        data = mc.mesh_to_dict(mc.get_submesh(by_torch(), "tp"))
    with fake_world(8, 0):
        root = look()
        assert mc.mesh_from_dict(data) is mc.get_submesh(root, "tp")


def test_in_its_own_process_a_copy_finds_the_root_that_torch_made():
    with fake_world(8, RANK):
        roots = look(), ours(), look()
        for root in roots:
            part = mc.get_submesh(root, ("tp", "pp"))
            assert copy.deepcopy(part) is part
            assert pickle.loads(pickle.dumps(part)) is part  # noqa: S301  (our own bytes)
