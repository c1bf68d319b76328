"""What to look out for in meshes that fit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from meshcompat import _layout
from meshcompat._rank_text import ranks_text
from meshcompat.plan.nearest import divisors_of, nearest
from meshcompat.plan.nodes import leaves_node, nodes_of, ranks_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshcompat.plan.paper import PaperDim, PaperMesh
    from meshcompat.plan.request import Request

_TALKATIVE = ("tp", "cp", "ep")
"""Mesh dims whose collectives stand between the layers of a model, so that they want fast links."""


class Caution(NamedTuple):
    """One thing to look out for."""

    code: str
    message: str


def cautions_of(request: Request, meshes: Sequence[PaperMesh]) -> list[Caution]:
    """Return what to look out for, in the order of the meshes."""
    found = list(_partial_node(request))
    if not meshes:
        return found
    root = meshes[0]
    for mesh in meshes:
        for dim in mesh.dims:
            if dim.name in _TALKATIVE and dim.size > 1:
                found += _across_nodes(request, dim)
    found += _across_stages(request, meshes)
    found += _across_replicas(request, root)
    found += _size_one(request, root)
    return found


def _partial_node(request: Request) -> Iterator[Caution]:
    size, per_node = request.world_size, request.gpus_per_node
    if size > per_node and size % per_node:
        whole = size // per_node * per_node
        yield Caution(
            "partial-node",
            f"{size} ranks do not fill nodes of {per_node} GPUs: the last node has "
            f"{size % per_node}; {whole} and {whole + per_node} fill them",
        )


def _across_nodes(request: Request, dim: PaperDim) -> Iterator[Caution]:
    per_node = request.gpus_per_node
    if not leaves_node(dim.axes, request.world_size, per_node):
        return
    ranks = ranks_of(dim.axes, request.rank)
    count = nodes_of(ranks, per_node)
    where = f"on {count} nodes" if count > 1 else "on one node, but others are on more"
    stride = dim.axes[-1][1]
    room = math.gcd(per_node, request.world_size)
    inside = nearest(
        dim.size, divisors_of(room), lambda size: size > 1 and room % (size * stride) == 0
    )
    advice = f"; {dim.name} {' or '.join(map(str, inside))} stays inside a node" if inside else ""
    yield Caution(
        f"{dim.name}-across-nodes",
        f"groups of {dim.name} leave a node of {per_node} GPUs: rank {request.rank}'s group "
        f"({ranks_text(ranks)}) is {where}{advice}",
    )


def _across_stages(request: Request, meshes: Sequence[PaperMesh]) -> Iterator[Caution]:
    stages = next((dim for dim in meshes[0].dims if dim.name == "pp" and dim.size > 1), None)
    if stages is None:
        return
    for mesh in meshes[1:]:
        for dim in mesh.dims:
            offsets = _layout.offsets(dim.axes)
            is_across = any(_layout.coordinate(stages.axes, step) for step in offsets)
            if dim.name in {"ep", "ep_shard"} and is_across:
                yield Caution(
                    "ep-across-stages",
                    f"groups of {dim.name} are not inside a pipeline stage: rank {request.rank}'s "
                    f"group ({ranks_text(ranks_of(dim.axes, request.rank))}) has ranks of several "
                    f"stages, which hold different layers; split mesh dims without pp",
                )


def _across_replicas(request: Request, root: PaperMesh) -> Iterator[Caution]:
    dims = {dim.name: dim for dim in root.dims}
    dim = dims.get("dp_replicate")
    if dim is None or dim.size == 1 or request.node_count == 1:
        return
    stride = dim.axes[-1][1]
    if stride % request.gpus_per_node:
        whole = stride * dim.size
        replicas = dim.size * dims["dp_shard"].size if "dp_shard" in dims else 1
        fitting = nearest(
            dim.size,
            divisors_of(replicas)[1:-1],
            lambda size: whole // size % request.gpus_per_node == 0,
        )
        advice = f"; dp_replicate {' or '.join(map(str, fitting))} keeps them whole"
        yield Caution(
            "node-across-replicas",
            f"ranks of one node are in several replicas: a replica has runs of {stride} ranks, a "
            f"node has {request.gpus_per_node}{advice if fitting else ''}",
        )


def _size_one(request: Request, root: PaperMesh) -> Iterator[Caution]:
    """Tell mesh dims of size 1 that were asked for, or that leave nothing to shard."""
    if request.world_size == 1:
        return
    asked = {name for name, _ in request.mesh} | request.sizes.keys()
    sharded = {"fsdp2": "dp_shard", "megatron-fsdp": "dp"}.get(request.strategy or "")
    for dim in root.dims:
        if dim.size == 1 and dim.name == sharded:
            yield Caution("size-1", f"{dim.name} has size 1: no parameter is sharded")
        elif dim.size == 1 and dim.name in asked:
            yield Caution(
                "size-1",
                f"{dim.name} has size 1: every rank is alone in it, and all such mesh dims share "
                f"one group",
            )
