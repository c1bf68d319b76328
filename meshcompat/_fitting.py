"""Do these sizes fit? Refusals in words about plain layouts: no torch, no mesh."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from meshcompat import _layout
from meshcompat._errors import MeshLayoutError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcompat._layout import Axes


def require_whole_world(shape: tuple[int, ...], world_size: int) -> None:
    """Refuse a shape that has more or fewer ranks than the world.

    Raises:
        MeshLayoutError: It has.
    """
    count = math.prod(shape)
    if count != world_size:
        raise MeshLayoutError(
            f"mesh_shape {shape!r} has {' * '.join(map(str, shape))} = {count} ranks, but the "
            f"world has {world_size}; give a shape of {world_size}, or ranks for a smaller mesh"
        )


def split_axes(name: str | None, axes: Axes, sizes: tuple[int, ...]) -> tuple[Axes, ...]:
    """Return the axes of the parts of the mesh dim *name*.

    Raises:
        MeshLayoutError: The sizes do not multiply up to its size, or cut a part of it.
    """
    size = _layout.size_of(axes)
    product = " * ".join(map(str, sizes))
    if math.prod(sizes) != size:
        raise MeshLayoutError(
            f"mesh_sizes {sizes!r} multiply to {product} = {math.prod(sizes)}, but mesh dim "
            f"{name!r} has size {size}; give sizes whose product is {size}"
        )
    parts = _layout.split(axes, sizes)
    if parts is None:
        raise MeshLayoutError(
            f"mesh_sizes {sizes!r} do not divide mesh dim {name!r}, which is made of parts of "
            f"sizes {tuple(part for part, _ in axes)}; give sizes that keep these apart"
        )
    return parts


def unknown_dim_text(
    name: object,
    names: Sequence[str],
    *,
    flattened: Sequence[str] = (),
    root: Sequence[str | None] | None = None,
) -> str:
    """Word that *name* is no mesh dim of a mesh, and which ones are.

    Args:
        name: What was asked for.
        names: Mesh dims of the mesh.
        flattened: Flattened mesh dims of its root.
        root: Mesh dims of its root, where it is another mesh.
    """
    parts = [f"the mesh has {tuple(names)}" if names else "the mesh has no names"]
    if flattened:
        parts.append(f"its root has flattened {tuple(flattened)}")
    if root is not None and any(root):
        parts.append(f"its root has {tuple(root)}")
    known = [known for known in (*names, *flattened, *(root or ())) if known is not None]
    return f"unknown mesh dim {name!r}: {'; '.join(parts)}; {_advice(name, known)}"


def _advice(name: object, known: Sequence[str]) -> str:
    """Say what to do about a name that is none of the *known* ones."""
    from difflib import get_close_matches  # noqa: PLC0415  (for errors only)

    if not known:
        return "give mesh_dim_names to meshcompat.init_device_mesh to ask for its mesh dims"
    text = str(name)
    parts = tuple(text.replace(",", " ").split())
    if len(parts) > 1 and set(parts) <= set(known):
        return f"give several names as a tuple: {parts}"
    near = [each for each in known if each.lower() == text.lower()]
    near += get_close_matches(text, known, n=1)
    guess = f"did you mean {near[0]!r}? Otherwise " if near else ""
    return f"{guess}ask for one of these, or make it with meshcompat.flatten first"
