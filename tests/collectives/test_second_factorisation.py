"""`unflatten` beside pipeline stages, where a mesh rebuilt from local ranks hangs or pairs the wrong ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from tests.collectives.sums import bit, bits, cosets, expected, seen

pytestmark = pytest.mark.multiprocess

NAMES = ("pp", "dp", "tp")
SHAPE = (2, 2, 2)
WORLD = np.arange(8)


def make_non_pipeline_mesh():
    root = mc.init_device_mesh("cpu", SHAPE, mesh_dim_names=NAMES)
    return root, mc.flatten(mc.get_submesh(root, ("dp", "tp")), "dp_tp")


def seen_again_and_again(sizes, share_groups, times):
    found = []
    for _ in range(times):
        _, flat = make_non_pipeline_mesh()
        experts = mc.unflatten(flat, 0, sizes, ("ep_shard", "ep"), share_groups=share_groups)
        again = mc.unflatten(flat, 0, sizes, ("ep_shard", "ep"), share_groups=share_groups)
        found.append((seen(flat), seen(experts), seen(mc.get_submesh(experts, "ep"))))
        assert again is experts
    return found


@pytest.mark.parametrize("share_groups", [False, True], ids=["own groups", "shared groups"])
@pytest.mark.parametrize("sizes", [(2, 2), (4, 1), (1, 4)], ids=["2x2", "4x1", "1x4"])
def test_unflatten_of_a_flattened_non_pipeline_mesh_sums_right_in_both_stages(
    pool, sizes, share_groups
):
    stages = WORLD.reshape(2, *sizes)
    should_see = zip(
        expected(cosets(stages, (1, 2))),
        expected(cosets(stages, (1,), (2,))),
        expected(cosets(stages, (2,))),
        strict=True,
    )
    seen_by_ranks = pool.run(seen_again_and_again, sizes, share_groups, 3)
    assert seen_by_ranks == [[once] * 3 for once in should_see]


def sums_of_two_factorisations_in_opposite_orders():
    """Start one collective on each factorisation: even ranks one first, odd ranks the other."""
    root, flat = make_non_pipeline_mesh()
    experts = mc.unflatten(flat, 0, (2, 2), ("ep_shard", "ep"))
    groups = {"tp": root.get_group("tp"), "ep": experts.get_group("ep")}
    totals = {"tp": torch.tensor([bit()]), "ep": torch.tensor([bit() << 8])}
    order = sorted(groups, reverse=bool(dist.get_rank() % 2))
    works = [dist.all_reduce(totals[name], group=groups[name], async_op=True) for name in order]
    for work in works:
        work.wait()
    return totals["tp"].item(), totals["ep"].item()


def test_collectives_of_two_factorisations_overlap_in_any_order(pool):
    pairs = [[rank - rank % 2, rank - rank % 2 + 1] for rank in range(8)]
    seen_by_ranks = pool.run(sums_of_two_factorisations_in_opposite_orders)
    assert seen_by_ranks == [(bits(pair), bits(pair) << 8) for pair in pairs]


def seen_of_many_at_once():
    root, flat = make_non_pipeline_mesh()
    experts = mc.unflatten(flat, 0, (4, 1), ("ep_shard", "ep"))
    stages = mc.unflatten(root, "pp", (1, 2), ("outer", "inner"))
    world = mc.unflatten(mc.flatten(root, "all"), "all", (4, 2), ("far", "near"))
    meshes = [root, flat, experts, stages, world]
    totals = [torch.tensor([bit()]) for mesh in meshes for _ in range(mesh.ndim)]
    groups = [mesh.get_group(dim) for mesh in meshes for dim in range(mesh.ndim)]
    works = [
        dist.all_reduce(total, group=group, async_op=True)
        for total, group in zip(totals, groups, strict=True)
    ]
    for work in works:
        work.wait()
    return [total.item() for total in totals]


def test_collectives_of_many_factorisations_of_one_root_overlap(pool):
    cube = WORLD.reshape(SHAPE)
    meshes = [
        cosets(cube, (0,), (1,), (2,)),
        cosets(cube, (1, 2)),
        cosets(WORLD.reshape(2, 4, 1), (1,), (2,)),
        cosets(WORLD.reshape(1, 2, 2, 2), (0,), (1,), (2,), (3,)),
        cosets(WORLD.reshape(4, 2), (0,), (1,)),
    ]
    by_mesh = [[one.sums for one in expected(tables)] for tables in meshes]
    assert pool.run(seen_of_many_at_once) == [
        [total for sums in by_rank for total in sums] for by_rank in zip(*by_mesh, strict=True)
    ]
