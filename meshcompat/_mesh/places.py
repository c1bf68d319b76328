"""Where mesh dims stand in their root, whatever their sizes: one of size 1 has no stride that tells it.

Names that are made of several dims follow these places, so that they do not depend on sizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from meshcompat._mesh.memory import Dim, Root

Place = tuple[int, ...]
"""The index of a dim of the root; then, for what that was split into, the index of the part."""


def place_of(root: Root, dim: Dim) -> Place:
    """Return the place of *dim*: as it was made, else that of the root's dim with its largest stride."""
    known = root.places.get((dim.name, dim.axes))
    if known is not None:
        return known
    reach = dim.axes[0][0] * dim.axes[0][1] if dim.axes else 0
    strides = [own.axes[0][1] if own.axes else reach for own in root.dims]
    return (next((index for index, stride in enumerate(strides) if stride < reach), len(strides)),)


def keep_joined(root: Root, dim: Dim, joined: Iterable[Dim]) -> None:
    """Remember that *dim* stands where the first of the dims stands that it was joined of."""
    places = [place_of(root, part) for part in joined]
    if places:
        root.places.setdefault((dim.name, dim.axes), min(places))


def keep_parts(root: Root, whole: Dim, parts: Sequence[Dim]) -> None:
    """Remember that *parts* stand where *whole* stands, one after the other."""
    place = place_of(root, whole)
    for index, part in enumerate(parts):
        root.places.setdefault((part.name, part.axes), (*place, index))


def in_places(root: Root, dims: Iterable[Dim]) -> list[Dim]:
    """Sort mesh dims by their places; names tell dims of size 1 apart that share a place."""
    return sorted(dims, key=lambda dim: (place_of(root, dim), dim.name or ""))
