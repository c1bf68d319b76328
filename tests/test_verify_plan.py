import math

import numpy as np
import pytest

from meshcompat.verify.plan import STANDARD_NAMES, Plan, derive_shape

WORLD_SIZES = (1, 2, 3, 4, 6, 7, 8, 12, 16, 30, 64, 97, 128)


@pytest.mark.parametrize("world_size", WORLD_SIZES)
@pytest.mark.parametrize("names", [STANDARD_NAMES, ("tp", "pp", "dp_shard"), ("x",), ("b", "a")])
def test_derived_shape_has_as_many_ranks_as_the_world(world_size, names):
    shape = derive_shape(world_size, names)
    assert len(shape) == len(names)
    assert math.prod(shape) == world_size


def _groups(plan, row):
    """Return the groups of a mesh dim, by reshaping an array."""
    ranks = np.arange(plan.world_size).reshape(plan.shape)
    others = [axis for axis in range(ranks.ndim) if axis not in row.over]
    ranks = ranks.transpose(*others, *row.over).reshape(
        math.prod(plan.shape[a] for a in others), -1
    )
    if row.part is None:
        return ranks.tolist()
    size, stride = row.part
    return ranks.reshape(-1, size, stride).transpose(0, 2, 1).reshape(-1, size).tolist()


@pytest.mark.parametrize("world_size", WORLD_SIZES)
@pytest.mark.parametrize(
    "names",
    [
        STANDARD_NAMES,
        ("tp", "pp", "dp_shard"),
        ("dp_shard", "cp", "pp", "dp_replicate"),
        ("x", "y"),
        ("ep", "dp_shard"),
    ],
)
def test_groups_are_those_of_a_reshaped_array(world_size, names):
    plan = Plan(derive_shape(world_size, names), names)
    for row in plan.rows:
        groups = _groups(plan, row)
        assert plan.group_count(row) == len(groups)
        for group in groups:
            for rank in group:
                assert list(plan.group_of(row, rank)) == group


def test_standard_names_give_every_mesh():
    plan = Plan((2, 2, 2, 2, 2), STANDARD_NAMES)
    assert [str(row) for row in plan.rows] == [
        *(f"fsdp2/{name}" for name in STANDARD_NAMES),
        "flattened/dp",
        "flattened/dp_shard_cp",
        "flattened/dp_cp",
        "flattened/non_pp",
        "expert/ep_shard",
        "expert/ep",
        "hsdp/dp_replicate",
        "hsdp/dp_shard_cp",
    ]
    assert plan.expert_sizes == (4, 4)


def test_other_names_give_what_their_dims_allow():
    assert [str(row) for row in Plan((2, 3), ("a", "b")).rows] == ["root/a", "root/b"]
    taken = Plan((2, 2, 2), ("dp", "dp_replicate", "dp_shard"))
    assert list(taken.flattened) == ["non_pp"]


def test_expert_sizes_cut_dims_apart_only_where_they_can():
    # Six tensor-parallel ranks lie between two far ones: 12 = 3 * 4 would cut across.
    assert Plan((2, 3, 6), ("dp_shard", "pp", "tp")).expert_sizes == (2, 6)
    assert Plan((2, 6, 1), ("dp_shard", "tp", "pp")).expert_sizes == (3, 4)
