"""Groups that are counted and groups that torch makes, mixed on real ranks: every sum is right."""

from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import init_device_mesh

import meshcompat as mc

pytestmark = pytest.mark.multiprocess


def is_right(group):
    """Return whether an all-reduce over *group* gives the sum of the ranks that are in it."""
    total = torch.tensor([dist.get_rank()])
    dist.all_reduce(total, group=group)
    return total.item() == sum(dist.get_process_group_ranks(group))


def mixed():
    """Make groups of all kinds in one program, and return the sums and torch's counter."""
    own = []
    theirs = init_device_mesh("cpu", (4, 2), mesh_dim_names=("a", "b"))
    ours = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"), timeout=60)
    pair = dist.new_group([1, 6], timeout=timedelta(seconds=60))
    mc.flatten(mc.get_submesh(ours, ("pp", "tp")), "pp_tp")
    part = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("x", "y"), ranks=[1, 2, 4, 7])
    other = init_device_mesh("cpu", (2, 4), mesh_dim_names=("c", "d"))
    stage = mc.flatten(mc.get_submesh(ours, ("dp", "tp")), "stage")
    experts = mc.unflatten(stage, 0, (2, 2), ("ep_shard", "ep"))
    if hasattr(other, "_flatten"):
        own.append(other._flatten("all").get_group())  # noqa: SLF001
    last = dist.new_group([0, 3, 5])
    own += [theirs.get_group(name) for name in ("a", "b")]
    own += [other.get_group(name) for name in ("c", "d")]
    own += [mc.get_group(ours, name) for name in ("pp", "dp", "tp", "pp_tp", "stage")]
    own += [mc.get_group(experts, name) for name in ("ep_shard", "ep")]
    if mc.is_member(part):
        own += [mc.get_group(part, name) for name in ("x", "y")]
    own += [group for group in (pair, last) if group != dist.GroupMember.NON_GROUP_MEMBER]
    return [is_right(group) for group in own], distributed_c10d._world.group_count  # noqa: SLF001


def test_sums_are_right_between_groups_of_torchs_own(pool):
    answers = pool.run(mixed)
    assert all(all(sums) for sums, _ in answers)
    assert len({count for _, count in answers}) == 1
