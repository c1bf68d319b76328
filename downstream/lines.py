"""How a mesh of one dim looks from a rank: in its own words, and over its process group."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.collectives.sums import bits, exchange
from tests.support.builder_cases import Sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.distributed.device_mesh import DeviceMesh


class Line(NamedTuple):
    """The ranks of a mesh of one dim, an all-gather of them, and a sum over them."""

    ranks: list[int]
    gathered: list[int]
    total: int


def lines_of(meshes: Mapping[str, DeviceMesh]) -> dict[str, Line]:
    """Use the group of every mesh, all at once."""
    totals, orders = exchange([mesh.get_group() for mesh in meshes.values()])
    ranks = [mesh.mesh.tolist() for mesh in meshes.values()]
    return dict(zip(meshes, map(Line, ranks, orders, totals), strict=True))


def line(ranks: list[int]) -> Line:
    """Return what *ranks* have to see."""
    return Line(ranks, ranks, bits(ranks))


def sizes_of(
    *, pp: int = 1, replicate: int = 1, shard: int = 1, cp: int = 1, tp: int = 1, ep: int = 1
) -> Sizes:
    """Return sizes that fill the world, by name."""
    return Sizes(pp, replicate, shard, cp, tp, ep, leaves_dp_out=False)
