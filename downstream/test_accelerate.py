"""accelerate: the ranks of its meshes, and a training step of its Accelerator on ours."""

import copy
import warnings

import pytest
import torch
import torch.distributed as dist
from torch import nn

import meshcompat as mc
from downstream.lines import line, lines_of, sizes_of
from tests.support.builder_cases import FLATTENED, NATIVE, expected

PRELOAD = ("accelerate", "accelerate.utils.fsdp_utils")
CASES = [
    sizes_of(shard=8),
    sizes_of(replicate=2, shard=4),
    sizes_of(shard=4, tp=2),
    sizes_of(replicate=2, shard=2, tp=2),
]
CONTEXT_PARALLEL = [
    sizes_of(shard=2, cp=4),
    sizes_of(replicate=2, shard=2, cp=2),
    sizes_of(shard=2, cp=2, tp=2),
]


def parallelism_config(sizes):
    from accelerate.parallelism_config import ParallelismConfig

    return ParallelismConfig(
        dp_replicate_size=sizes.replicate,
        dp_shard_size=sizes.shard,
        cp_size=sizes.cp,
        tp_size=sizes.tp,
    )


def both(sizes):
    """Return the lines of every dim that accelerate makes: its mesh, and ours."""
    theirs = parallelism_config(sizes).build_device_mesh("cpu")
    ours, _ = mc.create_fsdp2_device_mesh(sizes.parallelism, world_size=8)
    names = (*theirs.mesh_dim_names, *FLATTENED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from 2.10 on, torch warns of slicing by a flattened name
        sliced = {name: theirs[name] for name in names}
    return (
        lines_of(sliced),
        lines_of({name: mc.get_flat_mesh(ours, name) for name in names}),
        lines_of({name: mc.get_flat_mesh(theirs, name) for name in names}),
    )


def check_meshes(pool, sizes):
    for rank, (theirs, ours, found) in enumerate(pool.run(both, sizes)):
        right = {name: line(expected(sizes, rank)[name]) for name in ours}
        assert set(right) >= {n for n, size in zip(NATIVE, sizes, strict=False) if size > 1}
        assert theirs == ours == found == right


@pytest.mark.parametrize("sizes", CASES, ids=str)
def test_its_mesh_has_the_ranks_of_ours(pool, sizes):
    check_meshes(pool, sizes)


@pytest.mark.parametrize("sizes", CONTEXT_PARALLEL, ids=str)
def test_its_mesh_with_context_parallelism_has_the_ranks_of_ours(pool, sizes):
    check_meshes(pool, sizes)


def hsdp_mesh():
    """Return a mesh that accelerate takes for one of its own: it slices by flattened names."""
    mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp_replicate", "dp_shard"))
    joined = {name: [dim for dim in dims if dim != "cp"] for name, dims in FLATTENED.items()}
    mc.register_flattened_axes(mesh, joined, publish=True)
    return mesh


def plugin():
    from accelerate import FullyShardedDataParallelPlugin

    return FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="size_based_wrap",
        min_num_params=1,
        cpu_ram_efficient_loading=False,
    )


def refusal():
    from accelerate import Accelerator

    config = parallelism_config(sizes_of(replicate=2, shard=4))
    config.device_mesh = hsdp_mesh()
    with pytest.raises(ValueError) as caught:
        Accelerator(cpu=True, parallelism_config=config, fsdp_plugin=plugin())
    return str(caught.value)


def test_an_accelerator_on_cpu_refuses_a_mesh_so_that_the_step_hands_it_one(pool):
    for text in pool.run(refusal):
        assert "got DistributedType.MULTI_CPU" in text
    pool.restart()


def trained():
    """Return how far a step on our HSDP mesh is from that of one process, and its mesh."""
    from accelerate import Accelerator
    from accelerate.utils import DistributedType

    accelerator = Accelerator(cpu=True)
    config = parallelism_config(sizes_of(replicate=2, shard=4))
    config.device_mesh = hsdp_mesh()
    # What the state of an Accelerator says on a machine with devices.
    accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = plugin()
    accelerator.state.parallelism_config = config
    accelerator.state.device_mesh = config.get_device_mesh("cpu")

    torch.manual_seed(0)
    alone = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).double()
    inputs, targets = torch.randn(8, 8).double(), torch.randn(8, 4).double()
    model = copy.deepcopy(alone)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1))
    mine = slice(dist.get_rank(), dist.get_rank() + 1)
    accelerator.backward((model(inputs[mine]) - targets[mine]).square().mean())
    optimizer.step()

    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    before = copy.deepcopy(list(alone.parameters()))
    (alone(inputs) - targets).square().mean().backward()
    optimizer.step()
    pairs = list(zip(model.parameters(), alone.parameters(), strict=True))
    error = max((ours.full_tensor() - other).abs().max().item() for ours, other in pairs)
    moved = max(
        (now - old).abs().max().item() for now, old in zip(alone.parameters(), before, strict=True)
    )
    return error, moved, pairs[0][0].device_mesh.mesh.tolist()


def test_a_training_step_on_our_hsdp_mesh_is_that_of_one_process(pool):
    for error, moved, ranks in pool.run(trained):
        assert error < 1e-9
        assert moved > 1e-3
        assert ranks == [[0, 1, 2, 3], [4, 5, 6, 7]]
