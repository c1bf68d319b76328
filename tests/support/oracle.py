"""What a mesh must be, by plain numpy reshaping, and what a mesh says of itself.

Nothing here asks the code under test: ranks come from an array, and facts from torch's own
methods. ``assert seen(mesh) == grid.facts(names)`` is the test.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch.distributed as dist

from meshcompat import NotInMeshError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.distributed.device_mesh import DeviceMesh

OUTSIDE = "NotInMeshError"


class Facts(NamedTuple):
    """All that a mesh says of itself on one rank."""

    ranks: list[Any]
    names: tuple[str, ...] | None
    coordinate: tuple[int, ...] | None
    groups: list[Any]
    """Global ranks of the group of each mesh dim, in the order of the group; or `OUTSIDE`."""
    local_ranks: list[Any]
    """Local rank in each mesh dim, or `OUTSIDE`."""


class Grid:
    """A root mesh as an array of ranks, with names for its axes and for axes joined.

    A mesh dim that is to be split later is written as the axes it will have:
    ``Grid((2, 2, 2), ("pp", "a", "b"), dp=("a", "b"))``.
    """

    def __init__(
        self,
        shape: Sequence[int],
        names: Sequence[str],
        *,
        ranks: Sequence[int] | None = None,
        **joined: Sequence[str],
    ) -> None:
        """*joined* names axes together, the last varies fastest."""
        order = range(math.prod(shape)) if ranks is None else ranks
        self.ranks = np.array(order).reshape(shape)
        self.axes: dict[str, tuple[int, ...]] = {name: (index,) for index, name in enumerate(names)}
        for name, parts in joined.items():
            self.axes[name] = tuple(self.axes[part][0] for part in parts)

    def array(self, names: str | Sequence[str]) -> np.ndarray:
        """Return the ranks of the mesh of these dims around this rank; outside, the first."""
        dims = [self.axes[name] for name in ([names] if isinstance(names, str) else names)]
        listed = [axis for dim in dims for axis in dim]
        found = np.argwhere(self.ranks == dist.get_rank())
        here = found[0] if len(found) else [0] * self.ranks.ndim
        part = self.ranks[
            tuple(slice(None) if axis in listed else here[axis] for axis in range(len(here)))
        ]
        ascending = sorted(listed)
        part = part.transpose([ascending.index(axis) for axis in listed])
        return part.reshape([math.prod(self.ranks.shape[axis] for axis in dim) for dim in dims])

    def facts(self, names: str | Sequence[str], called: Sequence[str] | str | None = "") -> Facts:
        """Return what the mesh of these dims must say; *called* where its names differ."""
        own = (names,) if isinstance(names, str) else tuple(names)
        return facts_of(self.array(names), own if called == "" else called)


def facts_of(ranks: np.ndarray, names: Sequence[str] | None) -> Facts:
    """Return what a mesh of these ranks must say on this rank."""
    found = np.argwhere(ranks == dist.get_rank())
    coordinate = tuple(found[0].tolist()) if len(found) else None
    if coordinate is None:
        groups: list[Any] = [OUTSIDE] * ranks.ndim
    else:
        groups = [
            np.moveaxis(ranks, dim, -1)[coordinate[:dim] + coordinate[dim + 1 :]].tolist()
            for dim in range(ranks.ndim)
        ]
    return Facts(
        ranks=ranks.tolist(),
        names=None if names is None else tuple(names),
        coordinate=coordinate,
        groups=groups,
        local_ranks=[OUTSIDE] * ranks.ndim if coordinate is None else list(coordinate),
    )


def seen(mesh: DeviceMesh) -> Facts:
    """Return what *mesh* says of itself, asked by index, and by name where that differs."""
    coordinate = mesh.get_coordinate()
    names = mesh.mesh_dim_names
    by_index = [_asked(mesh, dim) for dim in range(mesh.ndim)]
    by_name = by_index if names is None else [_asked(mesh, name) for name in names]
    alone = [_asked(mesh, None)] if mesh.ndim == 1 else by_index
    assert by_index == by_name == alone
    return Facts(
        ranks=mesh.mesh.tolist(),
        names=names,
        coordinate=None if coordinate is None else tuple(coordinate),
        groups=[group for group, _ in by_index],
        local_ranks=[local_rank for _, local_rank in by_index],
    )


def _asked(mesh: DeviceMesh, dim: int | str | None) -> tuple[Any, Any]:
    """Return group and local rank of one mesh dim by torch's own methods."""
    group: Any
    try:
        group = list(dist.get_process_group_ranks(mesh.get_group(dim)))
    except NotInMeshError:
        group = OUTSIDE
    try:
        return group, mesh.get_local_rank(dim)
    except NotInMeshError:
        return group, OUTSIDE
