"""Meshes and groups of ours, of torch and of the user in one world, and in several threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.device_mesh import init_device_mesh as init_torch_mesh

import meshcompat as mc
from tests.collectives.sums import bits, cosets, exchange, expected, seen

pytestmark = pytest.mark.multiprocess

NAMES = ("pp", "dp", "tp")
CUBE = np.arange(8).reshape(2, 2, 2)


def make_root():
    return mc.init_device_mesh("cpu", CUBE.shape, mesh_dim_names=NAMES)


def of_all_ranks(*meshes):
    """Turn what has to be seen of each of several meshes into what each rank has to see."""
    return [list(by_rank) for by_rank in zip(*map(expected, meshes), strict=True)]


def in_thread(call):
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    (result,) = results
    return result


def seen_in_a_second_thread():
    root = make_root()
    flat = mc.flatten(mc.get_submesh(root, ("pp", "tp")), "pp_tp")

    def look_up():
        found = mc.get_flat_mesh(root, "pp_tp")
        return found is flat, seen(found), seen(mc.get_submesh(root, ("dp", "pp_tp")))

    return in_thread(look_up)


def test_a_flattened_mesh_looked_up_in_a_second_thread_sums_right(pool):
    should_see = zip(
        expected(cosets(CUBE, (0, 2))), expected(cosets(CUBE, (1,), (0, 2))), strict=True
    )
    assert pool.run(seen_in_a_second_thread) == [(True, *meshes) for meshes in should_see]


def seen_of_what_a_thread_made():
    root = make_root()

    def make():
        flat = mc.flatten(mc.get_submesh(root, ("dp", "tp")), "dp_tp")
        return mc.unflatten(flat, 0, (1, 4), ("ep_shard", "ep"))

    experts = in_thread(make)
    return [seen(experts), seen(mc.get_submesh(root, ("pp", "dp_tp")))]


def test_meshes_made_in_a_second_thread_sum_right_in_the_first(pool):
    assert pool.run(seen_of_what_a_thread_made) == of_all_ranks(
        cosets(CUBE.reshape(2, 1, 4), (1,), (2,)), cosets(CUBE, (0,), (1, 2))
    )


def seen_beside_groups_of_torch():
    root = make_root()
    before = dist.new_group([0, 3, 5])
    flat = mc.flatten(mc.get_submesh(root, ("pp", "tp")), "pp_tp")
    after = dist.new_group([5, 6])
    unflat = mc.unflatten(flat, 0, (4, 1), ("a", "b"))
    groups = [group for group in (before, after) if group != dist.GroupMember.NON_GROUP_MEMBER]
    return [seen(root), seen(flat), seen(unflat), exchange(groups)[0]]


def test_groups_that_torch_made_in_between_change_no_sum(pool):
    should_see = of_all_ranks(
        [CUBE],
        cosets(CUBE, (0, 2)),
        [mesh.reshape(4, 1) for mesh in cosets(CUBE, (0, 2))],
    )
    for rank, meshes in enumerate(should_see):
        meshes.append([bits(group) for group in ([0, 3, 5], [5, 6]) if rank in group])
    assert pool.run(seen_beside_groups_of_torch) == should_see


def seen_after_a_subset(make_subset):
    subset = make_subset()
    root = make_root()
    flat = mc.flatten(mc.get_submesh(root, ("pp", "dp")), "pp_dp")
    return [seen(subset), seen(root), seen(flat)]


@pytest.mark.parametrize(
    "make_subset",
    [
        pytest.param(lambda: mc.init_device_mesh("cpu", (2,), ranks=[0, 1]), id="ours"),
        pytest.param(lambda: DeviceMesh("cpu", [0, 1]), id="torch's"),
    ],
)
def test_a_mesh_of_all_ranks_sums_right_after_a_mesh_of_some(pool, make_subset):
    assert pool.run(seen_after_a_subset, make_subset) == of_all_ranks(
        [np.array([0, 1])], [CUBE], cosets(CUBE, (0, 1))
    )


def seen_of_two_equal_roots():
    roots = [make_root(), init_torch_mesh("cpu", CUBE.shape, mesh_dim_names=NAMES), make_root()]
    flattened = [mc.flatten(mc.get_submesh(root, ("dp", "tp")), "dp_tp") for root in roots]
    return [seen(mesh) for mesh in (*flattened, *roots)]


def test_equal_roots_of_ours_and_of_torch_sum_right_side_by_side(pool):
    pairs = cosets(CUBE, (1, 2))
    assert pool.run(seen_of_two_equal_roots) == of_all_ranks(*[pairs] * 3, *[[CUBE]] * 3)


def seen_of_torch_submeshes():
    root = init_torch_mesh("cpu", CUBE.shape, mesh_dim_names=NAMES)
    tp = root["tp"]
    pp = mc.get_submesh(root, "pp")
    both = mc.concatenate([tp, pp])
    return [seen(mesh) for mesh in (tp, pp, both, mc.get_submesh(root, ("tp", "dp")))]


def test_submeshes_that_torch_sliced_sum_right_with_ours(pool):
    assert pool.run(seen_of_torch_submeshes) == of_all_ranks(
        cosets(CUBE, (2,)), cosets(CUBE, (0,)), cosets(CUBE, (2,), (0,)), cosets(CUBE, (2,), (1,))
    )


def seen_of_given_groups():
    """Make a root of groups, register a group of two of its dims, and factor one dim again."""

    def own(*dims):
        groups = [dist.new_group(line.flatten().tolist()) for line in cosets(CUBE, *dims)]
        return next(group for group in groups if group != dist.GroupMember.NON_GROUP_MEMBER)

    given = [own((dim,)) for dim in range(3)]
    root = mc.from_group(given, "cpu", CUBE, mesh_dim_names=NAMES)
    group = own((0,), (2,))
    registered = mc.register_axis(root, "pp_tp", group)
    kept = [mc.get_group(root, name) for name in (*NAMES, "pp_tp")]
    meshes = [
        root,
        registered,
        mc.get_submesh(root, ("pp_tp", "dp")),
        mc.unflatten(registered, 0, (1, 4), ("a", "b")),
        mc.from_group(given[1], "cpu", mesh_dim_names=("only",)),
    ]
    is_kept = all(a is b for a, b in zip(kept, (*given, group), strict=True))
    return [is_kept, *map(seen, meshes)]


def test_roots_of_given_groups_keep_them_and_sum_right(pool):
    should_see = of_all_ranks(
        [CUBE],
        cosets(CUBE, (0, 2)),
        cosets(CUBE, (0, 2), (1,)),
        [mesh.reshape(1, 4) for mesh in cosets(CUBE, (0, 2))],
        cosets(CUBE, (1,)),
    )
    assert pool.run(seen_of_given_groups) == [[True, *meshes] for meshes in should_see]
