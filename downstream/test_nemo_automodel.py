"""nemo-automodel: its MeshContext, with our module in the place of its mesh_utils."""

import sys
import types

import numpy as np
import pytest

import meshcompat as mc
from downstream.lines import line, lines_of, sizes_of
from meshcompat import mesh_utils
from tests.support.builder_cases import FLATTENED, NATIVE, expected, seen

PRELOAD = (
    "downstream.automodel_patches",
    "nemo_automodel.components.distributed.mesh",
    "nemo_automodel.components.moe.parallelizer",
)
PLACE = "nemo_automodel.components.distributed.mesh_utils"
CASES = [
    sizes_of(shard=8),
    sizes_of(replicate=2, shard=2, cp=2),
    sizes_of(replicate=2, shard=4, ep=2),
    sizes_of(pp=2, shard=2, tp=2, ep=4),
    sizes_of(pp=2, replicate=2, shard=2, ep=2),
    sizes_of(shard=2, cp=2, tp=2, ep=8),
]


def context_of(sizes, **others):
    """Build what a recipe of the project builds, by its own code."""
    from nemo_automodel.components.distributed.config import FSDP2Config
    from nemo_automodel.components.distributed.mesh import MeshContext, ParallelismSizes

    own = ParallelismSizes(
        dp_size=sizes.replicate * sizes.shard,
        dp_replicate_size=sizes.replicate,
        tp_size=sizes.tp,
        pp_size=sizes.pp,
        cp_size=sizes.cp,
        ep_size=sizes.ep,
    )
    return MeshContext.build(FSDP2Config(), own, **others)


def built_by_theirs(sizes):
    """Return the lines of its own mesh; that of experts hangs up to 2.9 where there are stages."""
    sys.modules.pop(PLACE, None)
    mesh = context_of(sizes._replace(ep=1)).device_mesh
    theirs = sys.modules[PLACE]
    return lines_of({name: theirs.get_flat_mesh(mesh, name) for name in (*NATIVE, *FLATTENED)})


def built_by_ours(sizes):
    """Return what each rank sees of the meshes, and the sizes that the context reads there."""
    sys.modules[PLACE] = mesh_utils
    context = context_of(sizes, timeout_minutes=2)
    mesh, experts = context.device_mesh, context.moe_mesh
    flat = lines_of({name: mc.get_flat_mesh(mesh, name) for name in (*NATIVE, *FLATTENED)})
    read = [
        context.pp_size,
        context.dp_replicate_size,
        context.dp_shard_size,
        context.cp_size,
        context.tp_size,
        context.ep_size,
    ]
    return flat, seen(mesh, experts), read


@pytest.mark.parametrize("sizes", CASES, ids=str)
def test_its_context_has_the_same_ranks_with_our_module_as_with_its_own(pool, sizes):
    theirs = pool.run(built_by_theirs, sizes)
    ours = pool.run(built_by_ours, sizes)
    for rank, (flat, meshes, read) in enumerate(ours):
        lines = expected(sizes, rank)
        assert meshes == lines
        assert flat == {name: line(lines[name]) for name in (*NATIVE, *FLATTENED)}
        assert theirs[rank] == flat
        assert read == [*sizes.shape, sizes.ep]


def forbidden(sizes, config):
    """Return the error of its own configs and sizes in our module."""
    sys.modules[PLACE] = mesh_utils
    from nemo_automodel.components.distributed import config as configs
    from nemo_automodel.components.distributed.mesh import MeshContext, ParallelismSizes

    with pytest.raises(ValueError) as caught:
        MeshContext.build(getattr(configs, config)(), ParallelismSizes(**sizes), world_size=8)
    return str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "config", "text"),
    [
        ({"tp_size": 3}, "FSDP2Config", "pp_size * cp_size * tp_size = 1 * 1 * 3 = 3"),
        ({"pp_size": 2}, "MegatronFSDPConfig", "MegatronFSDPConfig cannot have pp_size 2"),
        ({"ep_size": 2}, "DDPConfig", "DDPConfig cannot have ep_size 2"),
    ],
)
def test_its_own_strategy_classes_are_told_and_refused(pool, sizes, config, text):
    for error in pool.run(forbidden, sizes, config):
        assert text in error


def sizes_found_beside_our_module(sizes):
    """Return the sizes and names that the context reads in the mesh by itself, and not by ours."""
    sys.modules[PLACE] = mesh_utils
    context = context_of(sizes)
    read = _get_axis_size_of_its(context.device_mesh)
    return (
        context.dp_size,
        tuple(map(str.__str__, context.parallelize_axis_kwargs()["dp_axis_names"])),
        read,
    )


def _get_axis_size_of_its(mesh):
    from nemo_automodel.components.distributed.mesh import _get_axis_size

    return {name: _get_axis_size(mesh, name, None) for name in FLATTENED}


def test_its_other_files_find_what_our_module_flattened(pool):
    sizes = sizes_of(replicate=2, shard=2, cp=2)
    found = (4, ("dp_replicate", "dp_shard_cp"), {"dp": 4, "dp_shard_cp": 4, "dp_cp": 8})
    assert pool.run(sizes_found_beside_our_module, sizes) == [found] * 8


def found_of_its_ranks_mesh(sizes):
    """Return the lines of its mesh over explicit ranks: its own look-up, and that of ours."""
    sys.modules.pop(PLACE, None)
    mesh = context_of(sizes._replace(ep=1), ranks=range(8)).device_mesh
    names = (*NATIVE, *FLATTENED)
    theirs = sys.modules[PLACE]
    return (
        lines_of({name: theirs.get_flat_mesh(mesh, name) for name in names}),
        lines_of({name: mesh_utils.get_flat_mesh(mesh, name) for name in names}),
        mesh_utils.get_submesh(mesh, ("dp_replicate", "dp_shard_cp")).mesh.tolist(),
    )


def test_our_look_ups_find_what_its_module_flattened_over_explicit_ranks(pool):
    sizes = sizes_of(replicate=2, shard=2, cp=2)
    for rank, (theirs, ours, hsdp) in enumerate(pool.run(found_of_its_ranks_mesh, sizes)):
        lines = expected(sizes, rank)
        assert theirs == ours == {name: line(lines[name]) for name in (*NATIVE, *FLATTENED)}
        assert hsdp == [[0, 1, 2, 3], [4, 5, 6, 7]]


WIDTH = 8


def hsdp_model():
    """Return a model of experts, of which its parallelizer finds all that it looks for."""
    import torch
    from nemo_automodel.components.moe.layers import MoE
    from torch import nn

    class Mixture(MoE):
        def __init__(self):
            nn.Module.__init__(self)
            self.experts = nn.Module()
            self.experts.weight = nn.Parameter(torch.randn(4, WIDTH, WIDTH))

        def forward(self, hidden):
            return hidden

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.mlp = Mixture()
            self.proj = nn.Linear(WIDTH, WIDTH, bias=False)

        def forward(self, hidden):
            return torch.tanh(self.proj(hidden))

    class Layers(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([Block()])
            self.moe_config = types.SimpleNamespace(n_routed_experts=4)

        def forward(self, hidden):
            return self.layers[0](hidden)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Layers()

        def forward(self, hidden):
            return self.model(hidden)

    return Model()


def weights_after_a_step(sizes):
    """Return this rank's part of the weights after one step on inputs that no other rank has."""
    import torch
    from nemo_automodel.components.moe.parallelizer import parallelize_model
    from torch.distributed.fsdp import MixedPrecisionPolicy

    sys.modules[PLACE] = mesh_utils
    torch.manual_seed(1234)
    model = hsdp_model()
    before = model.model.layers[0].proj.weight.detach().clone()
    context = context_of(sizes)
    axes = context.parallelize_axis_kwargs()
    parallelize_model(
        model, context.device_mesh, context.moe_mesh, mp_policy=MixedPrecisionPolicy(), **axes
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(9000 + torch.distributed.get_rank())
    model(torch.randn(4, WIDTH, generator=generator)).square().mean().backward()
    optimizer.step()
    weight = model.model.layers[0].proj.weight
    moved = (weight.full_tensor() - before).abs().max().item()
    return weight.to_local().detach().tolist(), moved


def test_a_step_of_its_parallelizer_keeps_the_replicas_of_our_mesh_alike(pool):
    """As its own tests/functional_tests/moe/test_hsdp_replica_sync.py, on eight ranks."""
    found = pool.run(weights_after_a_step, sizes_of(replicate=2, shard=4, ep=2))
    for (first, moved), (second, _) in zip(found[:4], found[4:], strict=True):
        assert np.abs(np.array(first) - np.array(second)).max() <= 1e-8
        assert moved > 1e-3
    pool.restart()
