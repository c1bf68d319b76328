"""Pictures of meshes: what is known of a mesh, brought into plain data to draw."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _layout
from meshcompat._drawing.drawing import Drawing
from meshcompat._drawing.picture import MeshDim, Picture, boxes_of
from meshcompat._drawing.words import count_text
from meshcompat._errors import MeshDimError, MeshLayoutError
from meshcompat._layout import MeshLayout
from meshcompat._mesh.lookup import get_dim, view_of
from meshcompat._plain_arguments import is_int

if TYPE_CHECKING:
    from meshcompat._mesh.memory import Dim


def show(
    mesh: DeviceMesh | MeshLayout,
    *,
    dim: int | str | None = None,
    nodes: int | Sequence[str] | None = None,
    rank: int | None = None,
) -> Drawing:
    """Return a drawing of *mesh*: every rank of its root, and its group along each mesh dim.

    Print it, look at it in a notebook, or ``save("mesh.svg")`` it. Each rank stands with the
    letters of its group, so that the picture is readable without colours. A large world is
    folded: boxes are left out, and counted.

    Args:
        mesh: Any mesh, or its layout.
        dim: The mesh dim to draw, by name, native or flattened, or by index; by default each
            of *mesh* in turn.
        nodes: How many nodes the ranks are on, the same number on each; or the host name of
            every rank of the world. By default the nodes that torchrun tells of; else rows of
            eight ranks.
        rank: The global rank to point out; by default this process's own.

    Returns:
        A drawing with ``text()``, ``svg()``, ``html()`` and ``save()``.

    Raises:
        MeshDimError: The mesh dim is unknown.
        MeshLayoutError: *nodes* do not fit the ranks, *rank* is not one of them, or a layout
            is that of no mesh.

    Collective:
        No.

    Example:
        >>> from meshcompat import init_device_mesh, show
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> print(show(mesh, dim="tp", nodes=2).text(60))
        mesh (dp=2, tp=4), 8 ranks
        <BLANKLINE>
        tp: 2 groups of 4 ranks; rank 0 is in A: 0-3
        ┌ node 0 ──────────────┐ ┌ node 1 ──────────────┐
        │ [0 A] 1 A  2 A  3 A  │ │  4 B  5 B  6 B  7 B  │
        └──────────────────────┘ └──────────────────────┘
        <BLANKLINE>
        [ ] is rank 0; equal letters are one group
    """
    facts = _of_layout(mesh, dim) if isinstance(mesh, MeshLayout) else _of_mesh(mesh, dim)
    ranks = facts.ranks
    if rank is not None and not (is_int(rank) and rank in ranks):
        raise MeshLayoutError(
            f"rank {rank!r} is not in this mesh; give one of its {len(ranks)} global ranks, such "
            f"as {ranks[0]}"
        )
    homes = _homes(nodes, facts.world_size)
    return Drawing(
        Picture(
            title=facts.title,
            ranks=ranks,
            root=facts.root,
            dims=facts.dims,
            boxes=boxes_of(ranks, homes),
            box_word="row" if homes is None else "node",
            rank=facts.own if rank is None else int(rank),
        )
    )


class _Facts(NamedTuple):
    title: str
    ranks: Sequence[int]
    root: tuple[MeshDim, ...]
    dims: tuple[MeshDim, ...]
    own: int | None
    world_size: int


def _of_layout(layout: MeshLayout, dim: int | str | None) -> _Facts:
    count = math.prod(layout.root_shape)
    names = layout.names or _numbered(layout.dims)
    if len(names) != len(layout.dims) or any(
        _layout.complement(axes, count) is None for axes in layout.dims
    ):
        raise MeshLayoutError(
            f"{layout!r} is the layout of no mesh: give each mesh dim one name, and axes that "
            f"divide {count} ranks into groups, as meshcompat.layout_of does"
        )
    dims = tuple(MeshDim("", name, axes) for name, axes in zip(names, layout.dims, strict=True))
    wanted = dims
    if dim is not None:
        index = _index(dim, names)
        if index is None:
            raise MeshDimError(
                f"unknown mesh dim {dim!r}: the layout has {names}; give one of these names, or an "
                f"index below {len(names)}"
            )
        wanted = (dims[index],)
    return _Facts(_title(dims, dims, count), range(count), dims, wanted, None, count)


def _of_mesh(mesh: DeviceMesh, dim: int | str | None) -> _Facts:
    view = view_of(mesh)
    dims, root = (_named(dims) for dims in (view.dims, view.root.dims))
    wanted = dims
    if dim is not None:
        index = _index(dim, [each.name for each in dims])
        wanted = _named([get_dim(view, dim)]) if index is None else (dims[index],)
    ranks: Sequence[int] = range(view.root.size)
    if not view.root.is_range:
        ranks = view.root.ranks_at(ranks)
    own = view.root.rank
    world_size = max(ranks) + 1 if view.root.is_detached else dist.get_world_size()
    return _Facts(
        _title(dims, root, len(ranks)),
        ranks,
        root,
        wanted,
        own if own in ranks else None,
        world_size,
    )


def _named(dims: Sequence[Dim]) -> tuple[MeshDim, ...]:
    names = [dim.name or name for dim, name in zip(dims, _numbered(dims), strict=True)]
    return tuple(MeshDim("", name, dim.axes) for name, dim in zip(names, dims, strict=True))


def _numbered(dims: Sequence[object]) -> tuple[str, ...]:
    return tuple(f"dim_{index}" for index in range(len(dims)))


def _index(dim: int | str, names: Sequence[str]) -> int | None:
    """Return the index of a mesh dim that was given by name or index, or None."""
    if is_int(dim) and -len(names) <= dim < len(names):
        return int(dim) % len(names)
    return names.index(dim) if isinstance(dim, str) and dim in names else None


def _title(dims: tuple[MeshDim, ...], root: tuple[MeshDim, ...], count: int) -> str:
    of_root = "" if dims == root else f" of the root {_shape_text(root)}"
    return f"mesh {_shape_text(dims)}{of_root}, {count_text(count, 'rank')}"


def _shape_text(dims: tuple[MeshDim, ...]) -> str:
    return f"({', '.join(f'{dim.name}={_layout.size_of(dim.axes)}' for dim in dims)})"


def _homes(nodes: object, world_size: int) -> int | Sequence[str] | None:
    """Return the ranks per node, or the host of every rank, or None where nodes are unknown."""
    if nodes is None:
        told = os.environ.get("LOCAL_WORLD_SIZE", "")
        return int(told) if told.isdecimal() and _divides(int(told), world_size) else None
    if is_int(nodes) and _divides(nodes, world_size):
        return world_size // int(nodes)
    if isinstance(nodes, Sequence) and not isinstance(nodes, str) and len(nodes) == world_size:
        return [str(host) for host in nodes]
    raise MeshLayoutError(
        f"nodes {nodes!r} do not fit a world of {world_size} ranks; give a number of nodes that "
        f"divides it, or the host name of each rank"
    )


def _divides(number: int, world_size: int) -> bool:
    return number > 0 and world_size % number == 0
