"""The suite of the example: every rank in one process where ranks suffice, real ranks for sums."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from meshsum import data_parallel_mesh, mean_over_data_parallel

import meshcompat as mc
from meshcompat.testing import assert_mesh, each_rank, recorded_groups

NAMES = ("pp", "dp_replicate", "dp_shard", "tp")


def training_mesh():
    return mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)


@pytest.mark.mesh_world(16, rank=9)
def test_both_dims_are_one_mesh(mesh_world):
    assert mesh_world.rank == 9
    data_parallel = data_parallel_mesh(training_mesh())
    assert_mesh(data_parallel, ranks=[9, 11, 13, 15], coordinate=[0])


@pytest.mark.mesh_world(4, rank=range(4))
def test_one_dim_is_enough(mesh_world):
    mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp_shard", "tp"))
    tp_rank = mesh_world.rank % 2
    assert_mesh(data_parallel_mesh(mesh), ranks=[tp_rank, tp_rank + 2])


@pytest.mark.mesh_world(2)
@pytest.mark.usefixtures("mesh_world")
def test_a_mesh_without_data_parallel_dims_is_refused():
    mesh = mc.init_device_mesh("cpu", (2,), mesh_dim_names=("tp",))
    with pytest.raises(ValueError, match="this one has tp"):
        data_parallel_mesh(mesh)


def test_all_ranks_ask_for_the_same_groups_in_the_same_order():
    asked = set()
    for _ in each_rank(16):
        mesh = training_mesh()
        with recorded_groups() as groups:
            data_parallel_mesh(mesh)
            data_parallel_mesh(mesh)  # The second time nothing is made.
        asked.add(tuple(groups))
    assert len(asked) == 1


def mean_of_ranks():
    """Run on every rank of the pool."""
    mesh = mc.init_device_mesh("cpu", (2, 1, 2), mesh_dim_names=("dp_replicate", "dp_shard", "tp"))
    return mean_over_data_parallel(torch.tensor(float(dist.get_rank())), mesh).item()


@pytest.mark.gloo_ranks(4)
def test_the_mean_is_over_data_parallel_ranks_only(gloo_ranks):
    assert gloo_ranks.run(mean_of_ranks) == [1.0, 2.0, 1.0, 2.0]
