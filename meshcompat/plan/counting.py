"""How many process groups a rank holds for meshes on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from meshcompat import _layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcompat._layout import Axes
    from meshcompat.plan.paper import PaperMesh


class Count(NamedTuple):
    """Groups that a rank holds for its meshes; the default group counts where a mesh dim has it."""

    groups: int
    communicators: int
    """Those of more than one rank."""


class Counts(NamedTuple):
    """The same meshes, made in three ways."""

    torch: Count
    """By torch's own calls, as torch 2.10 and later make them."""
    meshcompat: Count
    floor: Count
    """One group for each distinct set of ranks: the fewest that serve."""


def counts_of(meshes: Sequence[PaperMesh], world_size: int) -> Counts:
    """Return how many groups each way needs."""
    return Counts(_by_torch(meshes, world_size), _by_meshcompat(meshes, world_size), _floor(meshes))


def _by_torch(meshes: Sequence[PaperMesh], world_size: int) -> Count:
    """Every mesh dim has a group of its own, but those that span the world have the default one."""
    sizes = [dim.size for mesh in meshes for dim in mesh.dims]
    sizes += [size for mesh in meshes for size in mesh.stepping_stones]
    own = [size for size in sizes if size != world_size]
    spans = len(own) < len(sizes)
    return Count(len(own) + spans, sum(size > 1 for size in own) + (spans and world_size > 1))


def _by_meshcompat(meshes: Sequence[PaperMesh], world_size: int) -> Count:
    """Distinct partitions have a group each; those of a second factorisation share none."""
    shared: set[Axes] = set()
    own = 0
    for mesh in meshes:
        for dim in mesh.dims:
            partition = _layout.outermost_first(dim.axes)
            if mesh.shares_groups or dim.size in {1, world_size}:
                shared.add(partition)
            else:
                own += 1
    return Count(len(shared) + own, len(shared - {()}) + own)


def _floor(meshes: Sequence[PaperMesh]) -> Count:
    distinct = {_layout.outermost_first(dim.axes) for mesh in meshes for dim in mesh.dims}
    return Count(len(distinct), len(distinct - {()}))
