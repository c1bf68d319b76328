"""Meshes of real frameworks, and which sets of ranks talk to each other in them.

Plain data and plain enumeration: nothing but `build_ours` asks the code under test. Sizes are
chosen small; shapes, names and joined dims are those of each project's own code.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import meshcompat as mc
from meshcompat import _layout
from meshcompat._mesh.lookup import view_of
from meshcompat._mesh.memory import Dim
from meshcompat._mesh.objects import mesh_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch.distributed.device_mesh import DeviceMesh

Names = tuple[str, ...]


class SecondView(NamedTuple):
    """Some dims of the root as one list of ranks, in another factorisation."""

    joined: Names
    sizes: tuple[int, ...]
    names: Names
    flattened: Mapping[str, Names] = {}
    """Dims of this view that are joined under a name."""


class Layout(NamedTuple):
    """What one project makes of one world."""

    project: str
    source: str
    """The file of the project that makes these meshes."""
    shape: tuple[int, ...]
    names: Names
    flattened: Mapping[str, Names] = {}
    views: tuple[SecondView, ...] = ()

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.project} {'x'.join(map(str, self.shape))}"


class Ours(NamedTuple):
    """The meshes of a layout."""

    root: DeviceMesh
    flat: dict[str, DeviceMesh]
    """Flattened meshes of the root, by name."""
    views: list[DeviceMesh]
    flat_in_views: list[DeviceMesh]
    """Flattened meshes of the views' dims, in their order."""

    def dims(self) -> Iterator[tuple[DeviceMesh, int]]:
        """Yield every mesh dim of the root and its flattened meshes, then of the views."""
        yield from self.dims_of_root()
        for mesh in (*self.views, *self.flat_in_views):
            yield from ((mesh, dim) for dim in range(mesh.ndim))

    def dims_of_root(self) -> Iterator[tuple[DeviceMesh, int]]:
        """Yield every mesh dim of the root, then its flattened ones."""
        for mesh in (self.root, *self.flat.values()):
            yield from ((mesh, dim) for dim in range(mesh.ndim))


PP_DP_CP_TP = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
DP_NAMES = {
    "dp": ("dp_replicate", "dp_shard"),
    "dp_shard_cp": ("dp_shard", "cp"),
    "dp_cp": ("dp_replicate", "dp_shard", "cp"),
}
EXPERTS = ("ep_shard", "ep")

LAYOUTS = (
    Layout(
        "accelerate, FSDP with TP and CP",
        "huggingface/accelerate: src/accelerate/parallelism_config.py",
        (4, 2, 2),
        ("dp_shard", "cp", "tp"),
        {"dp": ("dp_shard",), "dp_shard_cp": ("dp_shard", "cp"), "dp_cp": ("dp_shard", "cp")},
    ),
    Layout(
        "accelerate, HSDP with TP and CP",
        "huggingface/accelerate: src/accelerate/parallelism_config.py",
        (2, 2, 2, 2),
        ("dp_replicate", "dp_shard", "cp", "tp"),
        DP_NAMES,
    ),
    Layout(
        "torchtitan, views of one world",
        "pytorch/torchtitan: torchtitan/distributed/parallel_dims.py",
        (16,),
        ("world",),
        views=(
            SecondView(
                ("world",),
                (2, 4, 1, 2),
                ("pp", "batch", "cp", "tp"),
                {"loss_mesh": ("batch", "cp")},
            ),
            SecondView(("world",), (2, 2, 2, 2), ("pp", "dp_replicate", "fsdp", "tp")),
            SecondView(("world",), (2, 2, 1, 4, 1), ("pp", "dp_replicate", "efsdp", "ep", "etp")),
        ),
    ),
    Layout(
        "torchtitan 2025, experts inside dp_shard",
        "pytorch/torchtitan: torchtitan/distributed/parallel_dims.py",
        (2, 2, 2, 2),
        ("pp", "dp_shard_mod_ep", "dp_shard_in_ep", "cp"),
        {
            "dp": ("dp_shard_mod_ep", "dp_shard_in_ep"),
            "dp_shard_cp": ("dp_shard_mod_ep", "dp_shard_in_ep", "cp"),
            "dp_cp": ("dp_shard_mod_ep", "dp_shard_in_ep", "cp"),
            "ep": ("dp_shard_in_ep", "cp"),
        },
    ),
    Layout(
        "NeMo Automodel, FSDP2",
        "NVIDIA-NeMo/Automodel: nemo_automodel/components/distributed/mesh_utils.py",
        (1, 1, 8, 1, 2),
        PP_DP_CP_TP,
        DP_NAMES,
    ),
    Layout(
        "NeMo Automodel, HSDP, pipeline and experts",
        "NVIDIA-NeMo/Automodel: nemo_automodel/components/distributed/mesh_utils.py",
        (2, 2, 2, 2, 1),
        PP_DP_CP_TP,
        DP_NAMES,
        (SecondView(("dp_replicate", "dp_shard", "cp", "tp"), (2, 4), EXPERTS),),
    ),
    Layout(
        "NeMo Automodel, ring and Ulysses",
        "NVIDIA-NeMo/Automodel: nemo_automodel/components/distributed/mesh_utils.py",
        (1, 1, 2, 8, 1),
        PP_DP_CP_TP,
        DP_NAMES,
        (SecondView(("cp",), (2, 4), ("ring", "ulysses")),),
    ),
    Layout(
        "Megatron-FSDP, HSDP with CP and TP",
        "NVIDIA/Megatron-LM: megatron/core/distributed/fsdp/src/README.md",
        (2, 2, 2, 2),
        ("dp_outer", "dp_shard", "cp", "tp"),
        {
            "dp": ("dp_outer", "dp_shard"),
            "dp_shard_cp": ("dp_shard", "cp"),
            "hsdp": ("dp_outer", "dp_shard", "cp"),
        },
    ),
    Layout(
        "AReaL",
        "inclusionAI/AReaL: areal/engine/core/topology.py",
        (1, 4, 2, 2),
        ("pp", "dp_shard", "cp", "tp"),
        {
            "dp": ("dp_shard",),
            "dp_cp": ("dp_shard", "cp"),
            "cp_tp": ("cp", "tp"),
            "pp_cp_tp": ("pp", "cp", "tp"),
        },
    ),
    Layout(
        "AReaL, experts",
        "inclusionAI/AReaL: areal/engine/core/topology.py",
        (1, 2, 2, 2, 2),
        ("pp", "dp_mod_ep", "dp_in_ep", "cp", "tp"),
        {
            "dp": ("dp_mod_ep", "dp_in_ep"),
            "dp_cp": ("dp_mod_ep", "dp_in_ep", "cp"),
            "cp_tp": ("cp", "tp"),
            "pp_cp_tp": ("pp", "cp", "tp"),
            "ep": ("dp_in_ep", "cp", "tp"),
        },
    ),
    Layout(
        "OLMo-core, HSDP and experts",
        "allenai/OLMo-core: src/olmo_core/distributed/parallel/__init__.py",
        (2, 2, 2, 2),
        ("pp", "dp_replicate", "dp_shard", "tp"),
        {"dp": ("dp_replicate", "dp_shard")},
        (
            SecondView(
                ("pp", "dp_replicate", "dp_shard", "tp"), (4, 4), ("ep_replicate", "ep_shard")
            ),
        ),
    ),
    Layout(
        "cosmos-rl",
        "nvidia-cosmos/cosmos-rl: cosmos_rl/utils/parallelism.py",
        (2, 2, 2, 2),
        ("pp", "dp_shard", "cp", "tp"),
        {
            "dp": ("dp_shard",),
            "dp_shard_cp": ("dp_shard", "cp"),
            "dp_cp_tp": ("dp_shard", "cp", "tp"),
            "dp_cp": ("dp_shard", "cp"),
        },
    ),
    Layout(
        "cosmos-rl, experts",
        "nvidia-cosmos/cosmos-rl: cosmos_rl/utils/parallelism.py",
        (2, 4, 2),
        ("dp_replicate", "dp_shard", "cp"),
        {**DP_NAMES, "dp_cp_tp": ("dp_replicate", "dp_shard", "cp")},
        (SecondView(("dp_replicate", "dp_shard", "cp"), (4, 4), ("dp_shard_with_ep", "ep")),),
    ),
    Layout(
        "prime-rl, HSDP and experts",
        "PrimeIntellect-ai/prime-rl: src/prime_rl/trainer/parallel_dims.py",
        (2, 2, 2, 2),
        ("dp_replicate", "dp_shard_mod_ep", "dp_shard_in_ep", "cp"),
        {
            "dp": ("dp_replicate", "dp_shard_mod_ep", "dp_shard_in_ep"),
            "dp_shard_cp": ("dp_shard_mod_ep", "dp_shard_in_ep", "cp"),
            "dp_cp": ("dp_replicate", "dp_shard_mod_ep", "dp_shard_in_ep", "cp"),
            "ep": ("dp_shard_in_ep", "cp"),
        },
    ),
    Layout(
        "VeOmni, Ulysses and experts",
        "ByteDance-Seed/VeOmni: veomni/distributed/parallel_state.py",
        (2, 4, 2),
        ("dp_replicate", "dp_shard", "ulysses"),
        {
            "dp": ("dp_replicate", "dp_shard"),
            "dp_shard_sp": ("dp_shard", "ulysses"),
            "dp_sp": ("dp_replicate", "dp_shard", "ulysses"),
            "sp": ("ulysses",),
        },
        (SecondView(("dp_replicate", "dp_shard", "ulysses"), (4, 4), ("ep_fsdp", "ep")),),
    ),
    Layout(
        "verl, HSDP and Ulysses",
        "verl-project/verl: verl/workers/fsdp_workers.py",
        (2, 8),
        ("ddp", "fsdp"),
        views=(SecondView(("ddp", "fsdp"), (4, 4), ("dp", "sp")),),
    ),
    Layout(
        "diffusers, context parallel",
        "huggingface/diffusers: src/diffusers/models/_modeling_parallel.py",
        (2, 8),
        ("ring", "ulysses"),
        {"ring_ulysses": ("ring", "ulysses")},
    ),
    Layout(
        "torchtune",
        "pytorch/torchtune: torchtune/training/_distributed.py",
        (2, 4, 2),
        ("dp_replicate", "dp_shard", "tp"),
        {"dp": ("dp_replicate", "dp_shard")},
    ),
    Layout(
        "NeMo-RL",
        "NVIDIA-NeMo/RL: nemo_rl/models/policy/dtensor_policy_worker.py",
        (4, 2, 2),
        ("dp", "cp", "tp"),
        {"dp_cp": ("dp", "cp"), "cp_tp": ("cp", "tp")},
    ),
)


def build_ours(layout: Layout, device: str = "cpu", **options: Any) -> Ours:
    """Make the meshes of *layout*; *options* are for every `flatten` and `unflatten`."""
    root = mc.init_device_mesh(device, layout.shape, mesh_dim_names=layout.names)
    flat = {
        name: mc.flatten(mc.get_submesh(root, joined), name, **options)
        for name, joined in layout.flattened.items()
    }
    views, flat_in_views = [], []
    for view in layout.views:
        line = _joined_without_group(mc.get_submesh(root, view.joined))
        views.append(mc.unflatten(line, 0, view.sizes, view.names, **options))
        flat_in_views += [
            mc.flatten(mc.get_submesh(views[-1], joined), name, **options)
            for name, joined in view.flattened.items()
        ]
    return Ours(root, flat, views, flat_in_views)


def _joined_without_group(mesh: DeviceMesh) -> DeviceMesh:
    """Return all dims of *mesh* as one, as `create_moe_mesh` does: nobody talks over it."""
    view = view_of(mesh)
    return mesh_of(view, (Dim(None, _layout.join(view.layouts), None),))


def ranks_of_root(layout: Layout, rank: int) -> list[frozenset[int]]:
    """Return the ranks that *rank* talks to along each mesh dim of the root, then flattened."""
    grid = np.arange(layout.world_size).reshape(layout.shape)
    joined = [(name,) for name in layout.names] + list(layout.flattened.values())
    return [_line(grid, layout.names, each, rank) for each in joined]


def ranks_of_views(layout: Layout, rank: int) -> list[frozenset[int]]:
    """Return the ranks that *rank* talks to along each mesh dim of the views, then flattened."""
    grid = np.arange(layout.world_size).reshape(layout.shape)
    own, flat = [], []
    for view in layout.views:
        line = sorted(_line(grid, layout.names, view.joined, rank))
        part = np.array(line).reshape(view.sizes)
        own += [_line(part, view.names, (name,), rank) for name in view.names]
        flat += [_line(part, view.names, joined, rank) for joined in view.flattened.values()]
    return own + flat


def fewest_groups(sets: Sequence[frozenset[int]]) -> int:
    """Return how many communicators a rank needs at least to talk to each of these sets.

    One for each distinct set of more than one rank, the whole world among them, whose
    communicator is the default group; and one for all mesh dims of size 1 together, since
    torch wants a group there too.
    """
    return len({ranks for ranks in sets if len(ranks) > 1}) + any(len(ranks) == 1 for ranks in sets)


def _line(grid: np.ndarray, names: Names, joined: Sequence[str], rank: int) -> frozenset[int]:
    """Return the ranks that differ from *rank* in the joined dims only."""
    (here,) = np.argwhere(grid == rank)
    cut = tuple(
        slice(None) if name in joined else place for name, place in zip(names, here, strict=True)
    )
    return frozenset(grid[cut].flatten().tolist())
