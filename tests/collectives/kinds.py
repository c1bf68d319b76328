"""Every kind of mesh that can be made of a root, and by enumeration the ranks that it holds.

The root has mesh dims `NAMES` in any sizes: the same kinds serve 8 ranks on gloo and one rank
on each GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import meshcompat as mc
from tests.collectives.sums import cosets

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from torch.distributed.device_mesh import DeviceMesh

NAMES = ("pp", "dp_replicate", "dp_shard", "cp")
PP, REPLICATE, SHARD, CP = range(4)


class Kind(NamedTuple):
    """How to make a mesh of a root, and which meshes that gives over all ranks of the root."""

    make: Callable[[DeviceMesh], DeviceMesh]
    meshes: Callable[[np.ndarray], list[np.ndarray]]


def pick(*dims):
    """Return the meshes over *dims* of the root, each one index or a tuple of joined ones."""
    axes = [dim if isinstance(dim, tuple) else (dim,) for dim in dims]
    return lambda ranks: cosets(ranks, *axes)


def by_expert(ranks):
    """Return the root's ranks with dims ``(pp, ep_shard, ep)``."""
    pp, replicate, shard, cp = ranks.shape
    return ranks.reshape(pp, shard * cp, replicate)


def for_fsdp(ranks):
    """Return the meshes to shard over, and to replicate over where there is something to."""
    _, replicate, _, cp = ranks.shape
    sharded = (SHARD, CP) if cp > 1 else SHARD
    return (pick(REPLICATE, sharded) if replicate > 1 else pick(sharded))(ranks)


def flat(root, *names):
    """Flatten these dims of the root under the default name."""
    return mc.flatten(mc.get_submesh(root, names))


def flat_among(root, names, *wanted):
    """Flatten the dims *names*, then take the submesh *wanted*, which may name the result."""
    flat(root, *names)
    return mc.get_submesh(root, wanted)


def with_experts(root, **options):
    """Factor the root's dims behind pp a second time, in other sizes."""
    dp_cp = mc.flatten(mc.get_submesh(root, NAMES[1:]), "dp_cp")
    replicate, shard, cp = (mc.get_axis_size(root, name) for name in NAMES[1:])
    sizes = (shard * cp, replicate)
    mesh = mc.get_submesh(root, ("pp", dp_cp.mesh_dim_names[0]))
    return mc.unflatten(mesh, "dp_cp", sizes, ("ep_shard", "ep"), **options)


def of_stages_and_shards(root):
    """Split a flattened dim of dims that do not lie side by side."""
    sizes = [mc.get_axis_size(root, name) for name in ("pp", "dp_shard")]
    return mc.unflatten(flat(root, "pp", "dp_shard"), 0, sizes, ("stage", "shard"))


KINDS = {
    "root": Kind(lambda root: root, pick(PP, REPLICATE, SHARD, CP)),
    "one dim": Kind(lambda root: mc.get_submesh(root, "dp_shard"), pick(SHARD)),
    "outermost dim": Kind(lambda root: mc.get_flat_mesh(root, "pp"), pick(PP)),
    "dims in order": Kind(lambda root: mc.get_submesh(root, ("pp", "dp_shard")), pick(PP, SHARD)),
    "dims reversed": Kind(
        lambda root: mc.get_submesh(root, NAMES[::-1]), pick(CP, SHARD, REPLICATE, PP)
    ),
    "dims in any order": Kind(
        lambda root: mc.get_submesh(root, ("dp_shard", "pp", "cp")), pick(SHARD, PP, CP)
    ),
    "submesh of a submesh": Kind(
        lambda root: mc.get_submesh(mc.get_submesh(root, NAMES[1:]), ("cp", "dp_replicate")),
        pick(CP, REPLICATE),
    ),
    "flattened neighbours": Kind(lambda root: flat(root, "dp_shard", "cp"), pick((SHARD, CP))),
    "flattened, not neighbours": Kind(lambda root: flat(root, "pp", "dp_shard"), pick((PP, SHARD))),
    "flattened root": Kind(lambda root: mc.flatten(root, "all"), pick((PP, REPLICATE, SHARD, CP))),
    "flattened, with a group of its own": Kind(
        lambda root: mc.flatten(
            mc.get_submesh(root, ("pp", "dp_shard")), "own", share_groups=False
        ),
        pick((PP, SHARD)),
    ),
    "flattened twice": Kind(
        lambda root: mc.flatten(
            flat_among(root, ("dp_shard", "cp"), "dp_replicate", "dp_shard_cp"), "dp_cp"
        ),
        pick((REPLICATE, SHARD, CP)),
    ),
    "flattened, looked up": Kind(
        lambda root: flat_among(root, ("pp", "dp_shard"), "pp_dp_shard"), pick((PP, SHARD))
    ),
    "composed": Kind(
        lambda root: flat_among(root, ("dp_shard", "cp"), "dp_replicate", "dp_shard_cp"),
        pick(REPLICATE, (SHARD, CP)),
    ),
    "composed, not neighbours": Kind(
        lambda root: flat_among(root, ("pp", "dp_shard"), "dp_replicate", "pp_dp_shard"),
        pick(REPLICATE, (PP, SHARD)),
    ),
    "composed, reversed": Kind(
        lambda root: flat_among(root, ("pp", "dp_shard"), "pp_dp_shard", "cp", "dp_replicate"),
        pick((PP, SHARD), CP, REPLICATE),
    ),
    "dim of a composed mesh": Kind(
        lambda root: mc.get_submesh(
            flat_among(root, ("dp_shard", "cp"), "dp_shard_cp", "dp_replicate"), "dp_replicate"
        ),
        pick(REPLICATE),
    ),
    "FSDP2 mesh": Kind(
        lambda root: (flat(root, "dp_shard", "cp"), mc.get_fsdp_dp_mesh(root))[1], for_fsdp
    ),
    "concatenated": Kind(
        lambda root: mc.concatenate([mc.get_submesh(root, name) for name in ("dp_shard", "pp")]),
        pick(SHARD, PP),
    ),
    "concatenated with a flattened dim": Kind(
        lambda root: mc.concatenate(
            [mc.get_submesh(root, ("pp",)), flat(root, "dp_replicate", "dp_shard")]
        ),
        pick(PP, (REPLICATE, SHARD)),
    ),
    "unflattened": Kind(with_experts, lambda ranks: cosets(by_expert(ranks), (0,), (1,), (2,))),
    "unflattened, sharing groups": Kind(
        lambda root: with_experts(root, share_groups=True),
        lambda ranks: cosets(by_expert(ranks), (0,), (1,), (2,)),
    ),
    "dim of an unflattened mesh": Kind(
        lambda root: mc.get_submesh(with_experts(root), "ep"),
        lambda ranks: cosets(by_expert(ranks), (2,)),
    ),
    "dims of an unflattened mesh, reversed": Kind(
        lambda root: mc.get_submesh(with_experts(root), ("ep", "ep_shard")),
        lambda ranks: cosets(by_expert(ranks), (2,), (1,)),
    ),
    "dims of an unflattened mesh, flattened": Kind(
        lambda root: flat(with_experts(root), "pp", "ep"),
        lambda ranks: cosets(by_expert(ranks), (0, 2)),
    ),
    "unflattened, not neighbours": Kind(of_stages_and_shards, pick(PP, SHARD)),
}
