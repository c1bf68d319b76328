"""DTensor's redistribute of uneven shards on a mesh whose dims were flattened.

From 2.11 torch takes a short cut through a flattened mesh that its own registry has, and gives
wrong values: https://github.com/pytorch/pytorch/pull/194457. `meshcompat.flatten` keeps its
meshes out of that registry.
"""

from __future__ import annotations

import pytest
import torch

import meshcompat as mc
from tests.collectives.dtensors import dtensor_api

pytestmark = pytest.mark.multiprocess

CASES = {
    "2x2 of four ranks": ((2, 2), (0, 3, 4, 6), (5, 3)),
    "4x2": ((4, 2), tuple(range(8)), (14, 2)),
}


def flatten_by_us(mesh):
    return mc.flatten(mesh, "ab")


def flatten_by_torch(mesh):
    return mesh._flatten("ab")  # noqa: SLF001  (the fault that is shown is torch's own)


def replicated(flatten, mesh_shape, ranks, tensor_shape):
    """Shard rows over both mesh dims, then replicate; None on ranks outside."""
    mesh = mc.init_device_mesh("cpu", mesh_shape, mesh_dim_names=("a", "b"), ranks=ranks)
    flatten(mesh)
    if not mc.is_member(mesh):
        return None
    api = dtensor_api()
    tensor = torch.arange(tensor_shape[0] * tensor_shape[1]).reshape(tensor_shape)
    sharded = api.distribute_tensor(tensor, mesh, [api.Shard(0), api.Shard(0)])
    return sharded.redistribute(mesh, [api.Replicate(), api.Replicate()]).to_local().tolist()


def whole(_, ranks, tensor_shape):
    rows, columns = tensor_shape
    tensor = [[row * columns + column for column in range(columns)] for row in range(rows)]
    return [tensor if rank in ranks else None for rank in range(8)]


@pytest.mark.parametrize("case", CASES)
def test_uneven_shards_replicate_to_the_whole_tensor_after_flatten(pool, case):
    assert pool.run(replicated, flatten_by_us, *CASES[case]) == whole(*CASES[case])


def test_uneven_shards_replicate_to_the_whole_tensor_after_torch_flattened(pool):
    """The control: where torch has the fault, this is what `flatten` keeps out of."""
    case = CASES["4x2"]
    assert pool.run(replicated, flatten_by_torch, *case) == whole(*case)
