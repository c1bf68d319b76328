"""Meshes from parallelism sizes on eight real ranks: what every group sums up."""

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from tests.support.builder_cases import Sizes, combinations, expected, groups_of, seen

pytestmark = pytest.mark.multiprocess

WORLD_SIZE = 8
CASES = combinations(WORLD_SIZE, 24)
HALVES = ([0, 1, 2, 3], [4, 5, 6, 7])
INTERLEAVED = ([0, 2, 4, 6], [1, 3, 5, 7])


def sums(groups):
    """Return what an all-reduce of the global ranks gives on every group, by name."""
    found = {}
    for name, group in groups.items():
        total = torch.tensor([dist.get_rank()])
        dist.all_reduce(total, group=group)
        found[name] = total.item()
    return found


def built(sizes):
    meshes = mc.create_fsdp2_device_mesh(
        sizes.parallelism, world_size=WORLD_SIZE, timeout_minutes=0.5
    )
    return seen(*meshes), sums(groups_of(*meshes))


def expected_sums(sizes, rank, ranks=None):
    lines = expected(sizes, rank, ranks)
    return {name: sum(line) for name, line in lines.items() if name not in {"root", "experts"}}


@pytest.mark.parametrize("sizes", CASES, ids=str)
def test_every_group_sums_its_ranks(pool, sizes):
    for rank, (ranks, totals) in enumerate(pool.run(built, sizes)):
        assert ranks == expected(sizes, rank)
        assert totals == expected_sums(sizes, rank)


def side_by_side(sizes, parts):
    """Make a model's meshes on each part, then let only its members talk, all at once."""
    models = [
        mc.create_fsdp2_device_mesh(sizes.parallelism, world_size=len(ranks), ranks=ranks)
        for ranks in parts
    ]
    members = [mc.is_member(mesh) for mesh, _ in models]
    own = models[members.index(True)]
    return [seen(*model) for model in models], members, sums(groups_of(*own))


@pytest.mark.parametrize("parts", [HALVES, INTERLEAVED], ids=["halves", "interleaved"])
def test_two_models_on_disjoint_ranks_do_not_hear_each_other(pool, parts):
    sizes = Sizes(pp=1, replicate=1, shard=2, cp=1, tp=2, ep=2, leaves_dp_out=False)
    for rank, (models, members, totals) in enumerate(pool.run(side_by_side, sizes, parts)):
        assert members == [rank in ranks for ranks in parts]
        assert models == [expected(sizes, rank, ranks) for ranks in parts]
        assert totals == expected_sums(sizes, rank, parts[members.index(True)])


def different_models(parts):
    """One model of two pipeline stages, and a smaller one of Megatron-FSDP; one rank idles."""
    large, small = parts
    fsdp2, experts = mc.create_device_meshes(
        mc.FSDP2Config(), mc.ParallelismSizes(pp_size=2, ep_size=2), world_size=4, ranks=large
    )
    megatron, _ = mc.create_device_meshes(
        mc.MegatronFSDPConfig(), mc.ParallelismSizes(cp_size=3), world_size=8, ranks=small
    )
    if mc.is_member(fsdp2):
        return sums({"pp": mc.get_group(fsdp2, "pp"), "ep": mc.get_group(experts, "ep")})
    if mc.is_member(megatron):
        return sums({name: mc.get_group(megatron, name) for name in ("cp", "dp_cp")})
    return {}


def test_models_of_different_strategies_share_a_world_with_a_rank_that_idles(pool):
    totals = pool.run(different_models, ([0, 1, 2, 3], [4, 5, 6]))
    assert totals[:4] == [
        {"pp": 2, "ep": 1},
        {"pp": 4, "ep": 1},
        {"pp": 2, "ep": 5},
        {"pp": 4, "ep": 5},
    ]
    assert totals[4:] == [{"cp": 15, "dp_cp": 15}] * 3 + [{}]


def refused(sizes):
    """Ask for what cannot be, then for what can: no rank waits for another in between."""
    for wrong in (mc.ParallelismSizes(tp_size=3), mc.ParallelismSizes(ep_size=3)):
        with pytest.raises(mc.MeshLayoutError):
            mc.create_fsdp2_device_mesh(wrong, world_size=WORLD_SIZE)
    return built(sizes)


def test_a_refusal_leaves_the_world_ready_for_the_next_call(pool):
    sizes = CASES[-1]
    for rank, (_, totals) in enumerate(pool.run(refused, sizes)):
        assert totals == expected_sums(sizes, rank)
