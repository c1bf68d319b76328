"""A plan in words and as data."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from meshcompat._drawing.picture import MeshDim, Picture, boxes_of
from meshcompat._drawing.words import count_text
from meshcompat._rank_text import ranks_text
from meshcompat.plan.cautions import Caution, cautions_of
from meshcompat.plan.counting import Counts, counts_of
from meshcompat.plan.nodes import nodes_of, ranks_of
from meshcompat.plan.paper import PaperDim, PaperMesh, meshes_of
from meshcompat.plan.table import Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.plan.request import Request

COMM_SOURCE = "https://github.com/NVIDIA/nccl/issues/964"
"""544 MB for two ranks and 688 MB for more, after an all-reduce of 4 MB."""
HEADINGS = ("mesh dim", "size", "groups", "nodes", "(size, stride)")
NARROWEST = 60


class Plan(NamedTuple):
    """Meshes that fit, and what follows from them."""

    request: Request
    meshes: list[PaperMesh]
    counts: Counts
    cautions: list[Caution]


class Line(NamedTuple):
    """One line of the report, and how it is meant: ``head``, ``quiet``, ``warning`` or plain."""

    text: str
    kind: str = ""


def plan_of(request: Request) -> Plan:
    """Return the plan of a request.

    Raises:
        MeshLayoutError: It does not fit.
        MeshDimError: A mesh dim to split is unknown.
    """
    meshes = meshes_of(request)
    counts = counts_of(meshes, request.world_size)
    return Plan(request, meshes, counts, cautions_of(request, meshes))


def document_of(plan: Plan) -> dict[str, Any]:
    """Return the plan as plain data; docs/plan.md has its schema."""
    return {
        **_asked(plan.request),
        "meshes": [_mesh_document(mesh, plan.request) for mesh in plan.meshes],
        "groups_per_rank": {
            "torch": plan.counts.torch.groups,
            "meshcompat": plan.counts.meshcompat.groups,
            "floor": plan.counts.floor.groups,
        },
        "warnings": [caution._asdict() for caution in plan.cautions],
    }


def refusal_document(request: Request, refusal: str, changes: list[str]) -> dict[str, Any]:
    """Return what does not fit in the form of a plan: no meshes, and why."""
    warnings = [Caution("does-not-fit", refusal), *(Caution("fits", text) for text in changes)]
    return {
        **_asked(request),
        "meshes": [],
        "groups_per_rank": None,
        "warnings": [caution._asdict() for caution in warnings],
    }


def picture_of(plan: Plan) -> Picture:
    """Return the picture of all meshes of a plan."""
    request = plan.request
    everyone = range(request.world_size)
    dims = [MeshDim(mesh.name, *dim) for mesh in plan.meshes for dim in mesh.dims]
    root = [MeshDim("", *dim) for dim in (plan.meshes[0].dims if plan.meshes else ())]
    return Picture(
        title=_title(request),
        ranks=everyone,
        root=tuple(root),
        dims=tuple(dims),
        boxes=boxes_of(everyone, request.gpus_per_node),
        rank=request.rank,
        notes=tuple(f"{code}: {message}" for code, message in plan.cautions),
    )


def lines_of(plan: Plan, width: int) -> Iterator[Line]:
    """Yield the lines of the report, of at most *width* columns but for words that are longer."""
    width = max(width, NARROWEST)
    yield Line(_title(plan.request), "head")
    if not plan.meshes:
        yield Line("DDP has no mesh: its ranks talk over the default process group.")
    yield from _tables(plan, width)
    if plan.meshes:
        yield from _sums(plan, width)
    if plan.cautions:
        yield Line("")
    for caution in plan.cautions:
        told = textwrap.wrap(
            f"warning: {caution.code}: {caution.message}", width, subsequent_indent="  "
        )
        yield from (Line(text, "warning") for text in told)


def _asked(request: Request) -> dict[str, Any]:
    return {
        "world_size": request.world_size,
        "gpus_per_node": request.gpus_per_node,
        "strategy": request.strategy,
        "rank": request.rank,
    }


def _mesh_document(mesh: PaperMesh, request: Request) -> dict[str, Any]:
    return {
        "name": mesh.name,
        "mesh_dim_names": [dim.name for dim in mesh.dims],
        "shape": [dim.size for dim in mesh.dims],
        "dims": [_dim_document(dim, request) for dim in mesh.dims],
    }


def _dim_document(dim: PaperDim, request: Request) -> dict[str, Any]:
    ranks = ranks_of(dim.axes, request.rank)
    return {
        "name": dim.name,
        "size": dim.size,
        "axes": [list(axis) for axis in dim.axes],
        "ranks": ranks,
        "groups": request.world_size // dim.size,
        "nodes": nodes_of(ranks, request.gpus_per_node),
    }


def _title(request: Request) -> str:
    nodes = (
        f"{count_text(request.node_count, 'node')} of {count_text(request.gpus_per_node, 'GPU')}"
    )
    strategy = f", {request.strategy}" if request.strategy is not None else ""
    return f"{count_text(request.world_size, 'rank')} on {nodes}{strategy}"


def _tables(plan: Plan, width: int) -> Iterator[Line]:
    heading = Row(*HEADINGS, f"ranks of rank {plan.request.rank}'s group")
    blocks = [[_row(dim, plan.request) for dim in mesh.dims] for mesh in plan.meshes]
    table = Table(heading, blocks, width)
    before = ""
    for index, (mesh, rows) in enumerate(zip(plan.meshes, blocks, strict=True)):
        title = _mesh_title(mesh)
        if title != before:
            yield Line("")
            yield from (
                Line(text, "head") for text in textwrap.wrap(title, width, subsequent_indent="  ")
            )
        before = title
        if index == 0:
            yield from (Line(text, "quiet") for text in table.lines(heading))
        for row in rows:
            yield from (Line(text) for text in table.lines(row))


def _mesh_title(mesh: PaperMesh) -> str:
    """Write what a mesh is; those of one mesh dim, which is its name, are told together."""
    if [dim.name for dim in mesh.dims] == [mesh.name]:
        return "flattened"
    return f"{mesh.name} ({', '.join(f'{dim.name}={dim.size}' for dim in mesh.dims)})"


def _row(dim: PaperDim, request: Request) -> Row:
    ranks = ranks_of(dim.axes, request.rank)
    return Row(
        dim.name,
        str(dim.size),
        str(request.world_size // dim.size),
        str(nodes_of(ranks, request.gpus_per_node)),
        " ".join(f"({size}, {stride})" for size, stride in dim.axes) or "-",
        ranks_text(ranks),
    )


def _sums(plan: Plan, width: int) -> Iterator[Line]:
    yield Line("")
    yield Line(f"{'a rank holds':<20}  groups  communicators  GPU memory", "head")
    ways = ("with torch's calls", "with meshcompat", "the fewest that serve")
    for way, count in zip(ways, plan.counts, strict=True):
        memory = _amount(count.communicators * plan.request.comm_mb)
        yield Line(f"{way:<21}  {count.groups:>5}  {count.communicators:>13}  {memory:>10}")
    told = (
        f"A communicator is a group of more than one rank that is in use, here of "
        f"{plan.request.comm_mb:g} MB (--comm-mb); NCCL took 544 to 688 MB on A100s: {COMM_SOURCE}"
    )
    yield from (Line(text, "quiet") for text in textwrap.wrap(told, width))


def _amount(megabytes: float) -> str:
    return f"{megabytes:g} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"
