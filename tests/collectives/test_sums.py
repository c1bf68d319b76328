"""All-reduce and all-gather on every group of every kind of mesh, on 8 gloo ranks."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.device_mesh import init_device_mesh as init_torch_mesh

import meshcompat as mc
from tests.collectives.kinds import CP, KINDS, NAMES, PP, SHARD
from tests.collectives.sums import bits, cosets, exchange, expected, seen

pytestmark = pytest.mark.multiprocess

WORLD = np.arange(8)


def seen_of_kind(shape, kind):
    return seen(KINDS[kind].make(mc.init_device_mesh("cpu", shape, mesh_dim_names=NAMES)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_group_of_a_mesh_sums_over_the_ranks_of_its_dim(pool, kind):
    ranks = WORLD.reshape(2, 2, 2, 1)
    assert pool.run(seen_of_kind, ranks.shape, kind) == expected(KINDS[kind].meshes(ranks))


def our_root(ranks):
    order = None if ranks.size == dist.get_world_size() else ranks.flatten().tolist()
    return mc.init_device_mesh("cpu", ranks.shape, mesh_dim_names=NAMES, ranks=order)


def torch_root(ranks):
    return init_torch_mesh("cpu", ranks.shape, mesh_dim_names=NAMES)


def torch_subset_root(ranks):
    return DeviceMesh("cpu", ranks.tolist(), mesh_dim_names=NAMES)


def root_of_groups(ranks):
    groups = [torch_group(line) for dim in range(ranks.ndim) for line in cosets(ranks, (dim,))]
    mine = [group for group in groups if group != dist.GroupMember.NON_GROUP_MEMBER]
    return mc.from_group(mine, "cpu", ranks, mesh_dim_names=NAMES)


def torch_group(ranks):
    return dist.new_group(ranks.tolist())


ROOTS = {
    "stages of one": (our_root, WORLD.reshape(1, 2, 2, 2)),
    "shards of one": (our_root, WORLD.reshape(2, 2, 1, 2)),
    "no replicas": (our_root, WORLD.reshape(2, 1, 2, 2)),
    "one dim has all": (our_root, WORLD.reshape(1, 8, 1, 1)),
    "one rank": (our_root, np.full((1, 1, 1, 1), 5)),
    "four scattered ranks": (our_root, np.array([1, 2, 5, 7]).reshape(2, 1, 2, 1)),
    "six ranks": (our_root, np.arange(1, 7).reshape(1, 2, 3, 1)),
    "made by torch": (torch_root, WORLD.reshape(2, 2, 2, 1)),
    "made by torch of four ranks": (torch_subset_root, np.array([0, 3, 4, 6]).reshape(1, 2, 2, 1)),
    "made of groups": (root_of_groups, WORLD.reshape(2, 2, 1, 2)),
}


def seen_of_all_kinds(make_root, ranks):
    root = make_root(ranks)
    return {name: seen(kind.make(root)) for name, kind in KINDS.items()}


@pytest.mark.parametrize("root", ROOTS)
def test_all_meshes_of_one_root_sum_right_side_by_side(pool, root):
    make_root, ranks = ROOTS[root]
    seen_by_ranks = pool.run(seen_of_all_kinds, make_root, ranks)
    for name, kind in KINDS.items():
        assert [seen[name] for seen in seen_by_ranks] == expected(kind.meshes(ranks)), name


def seen_of_roots(shapes):
    return [seen(mc.init_device_mesh("cpu", shape)) for shape in shapes]


def test_roots_of_any_shape_sum_right_side_by_side(pool):
    shapes = [(8,), (2, 4), (4, 2), (1, 8), (8, 1), (2, 1, 4), (1, 1, 2, 2, 2), (2, 1, 2, 1, 2)]
    roots = [WORLD.reshape(shape) for shape in shapes]
    should_see = [expected(cosets(root, *((dim,) for dim in range(root.ndim)))) for root in roots]
    seen_by_ranks = pool.run(seen_of_roots, shapes)
    assert seen_by_ranks == [list(by_root) for by_root in zip(*should_see, strict=True)]


def seen_of_halves(first, second):
    roots = [
        mc.init_device_mesh("cpu", half.shape, mesh_dim_names=("dp", "tp"), ranks=half.flatten())
        for half in (first, second)
    ]
    flattened = [mc.flatten(root, "dp_tp") for root in roots]
    return [seen(mesh) for mesh in (*roots, *flattened)]


def test_two_roots_that_share_no_rank_sum_right_side_by_side(pool):
    first, second = np.array([[0, 2], [3, 7]]), np.array([[1, 4], [5, 6]])
    seen_by_ranks = pool.run(seen_of_halves, first, second)
    should_see = [
        expected([first]),
        expected([second]),
        expected([first.flatten()]),
        expected([second.flatten()]),
    ]
    assert seen_by_ranks == [list(by_root) for by_root in zip(*should_see, strict=True)]


def seen_of_permuted_root(ranks):
    root = mc.init_device_mesh(
        "cpu", ranks.shape, mesh_dim_names=("pp", "dp", "tp"), ranks=ranks.flatten()
    )
    flattened = mc.flatten(mc.get_submesh(root, ("dp", "tp")), "dp_tp")
    return [
        seen(mesh)
        for mesh in (
            root,
            mc.get_submesh(root, ("tp", "pp")),
            flattened,
            mc.get_submesh(root, ("dp_tp", "pp")),
            mc.unflatten(flattened, 0, (2, 2), ("ep_shard", "ep")),
        )
    ]


def assert_permuted_root_is_right(pool, ranks):
    should_see = [
        expected(meshes)
        for meshes in (
            [ranks],
            cosets(ranks, (2,), (0,)),
            cosets(ranks, (1, 2)),
            cosets(ranks, (1, 2), (0,)),
            cosets(ranks, (1,), (2,)),
        )
    ]
    seen_by_ranks = pool.run(seen_of_permuted_root, ranks)
    assert seen_by_ranks == [list(by_mesh) for by_mesh in zip(*should_see, strict=True)]


def test_permuted_ranks_that_ascend_along_every_dim_keep_their_places(pool):
    ranks = np.array([[[0, 2], [4, 6]], [[1, 3], [5, 7]]])
    assert_permuted_root_is_right(pool, ranks)


@pytest.mark.skipif(
    "preserve_rank_order" not in inspect.signature(DeviceMesh.__init__).parameters,
    reason="this torch sorts the ranks of every process group",
)
@pytest.mark.parametrize(
    "ranks",
    [
        pytest.param(WORLD[::-1].reshape(2, 2, 2), id="all reversed"),
        pytest.param(np.array([3, 0, 1, 2, 7, 4, 5, 6]).reshape(2, 2, 2), id="rotated"),
        pytest.param(np.array([6, 1, 3, 2]).reshape(1, 2, 2), id="four ranks"),
    ],
)
def test_ranks_that_descend_are_in_their_groups_where_the_mesh_has_them(pool, ranks):
    assert_permuted_root_is_right(pool, ranks)


def group_over_dims(shape, names):
    root = mc.init_device_mesh("cpu", shape, mesh_dim_names=NAMES)
    group = mc.get_group(root, names)
    sums, orders = exchange([group])
    return sums, orders, mc.get_ranks(root, names)


@pytest.mark.parametrize(
    ("names", "dims"),
    [
        ("dp_shard", (SHARD,)),
        (("pp", "cp"), (PP, CP)),
        (("cp", "pp"), (PP, CP)),
        (("dp_shard", "cp"), (SHARD, CP)),
    ],
)
def test_the_group_over_dims_sums_over_their_ranks(pool, names, dims):
    ranks = WORLD.reshape(2, 1, 2, 2)
    own = [next(g for g in cosets(ranks, dims) if rank in g).tolist() for rank in range(8)]
    seen_by_ranks = pool.run(group_over_dims, ranks.shape, names)
    assert seen_by_ranks == [([bits(group)], [group], group) for group in own]
