"""Which nodes the groups of a mesh dim are on; ranks fill nodes in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat import _layout

if TYPE_CHECKING:
    from meshcompat._layout import Axes


def ranks_of(axes: Axes, rank: int) -> list[int]:
    """Return the ranks of a rank's group, in the order of the mesh dim."""
    first = _layout.start_of(axes, rank)
    return [first + step for step in _layout.offsets(axes)]


def nodes_of(ranks: list[int], gpus_per_node: int) -> int:
    """Return on how many nodes these ranks are."""
    return len({rank // gpus_per_node for rank in ranks})


def leaves_node(axes: Axes, world_size: int, gpus_per_node: int) -> bool:
    """Return whether any group of a mesh dim is on more than one node."""
    reach = max(_layout.offsets(axes))
    if reach >= gpus_per_node:
        return True
    starts = _layout.offsets(_layout.complement(axes, world_size) or ())
    return any(start % gpus_per_node + reach >= gpus_per_node for start in starts)
