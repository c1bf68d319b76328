"""nemo-automodel: its MeshContext, with our module in the place of its mesh_utils."""

import sys

import pytest

import meshcompat as mc
from downstream.lines import line, lines_of, sizes_of
from meshcompat import mesh_utils
from tests.support.builder_cases import FLATTENED, NATIVE, expected, seen

PRELOAD = ("nemo_automodel.components.distributed.mesh",)
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


def size_found_in_torchs_registry(sizes):
    """Return the size of ``dp`` as the context finds it: beside its mesh_utils it asks torch."""
    return context_of(sizes).dp_size


def test_what_it_looks_up_in_torchs_registry_is_there(pool):
    sizes = sizes_of(replicate=2, shard=2, cp=2)
    assert pool.run(size_found_in_torchs_registry, sizes) == [4] * 8
