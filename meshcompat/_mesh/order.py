"""In which order a process group can have its ranks: torch sorts them, but from 2.15 on it need not."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch

from meshcompat import _eras, _layout
from meshcompat._errors import MeshLayoutError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshcompat._layout import Axes
    from meshcompat._mesh.memory import Root


def ascends(ranks: Sequence[int]) -> bool:
    """Return whether every rank is larger than the one before it."""
    if isinstance(ranks, range):
        return ranks.step > 0
    return all(a < b for a, b in itertools.pairwise(ranks))


def asks_for_order(ranks: Sequence[int]) -> bool:
    """Return whether a root over *ranks* must ask torch to keep their order, and this torch can."""
    return _eras.primitives().orders_groups() and not ascends(ranks)


def keeps_order(root: Root, axes: Axes) -> bool:
    """Return whether a process group has the ranks of *axes* in their order."""
    if root.keeps_order:
        return axes == _layout.outermost_first(axes)
    return not root.descends(axes)


def refuse_descending(ranks: Sequence[int], dims: Mapping[str, Axes]) -> None:
    """Refuse mesh dims along which ranks descend, where torch sorts the ranks of a group.

    Raises:
        MeshLayoutError: There is one, and this torch cannot keep its order.
    """
    if _eras.primitives().orders_groups() or ascends(ranks):
        return
    for name, axes in dims.items():
        for positions in _layout.cosets(axes, len(ranks)):
            group = [ranks[position] for position in positions]
            if not ascends(group):
                raise MeshLayoutError(
                    f"ranks {list(ranks)} descend along mesh dim {name!r}, and torch "
                    f"{torch.__version__} sorts the ranks of a group, so mesh and group would "
                    f"disagree; give ranks that ascend along every mesh dim, or use torch 2.15"
                )
