"""Meshes that were read where no root mesh like theirs is: ranks, names, sizes and a coordinate.

A data-loader worker has no world, a script that merges shards another one, and the process that
saves a checkpoint in the background has the same ranks without their meshes. What is read there is
checked first: nothing else has made it.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Any

from meshcompat import _layout
from meshcompat._eras.process_groups import GroupOptions
from meshcompat._errors import MeshLayoutError
from meshcompat._mesh.memory import Dim, Group, Root
from meshcompat._mesh.objects import detached_root
from meshcompat._plain_arguments import is_int

if TYPE_CHECKING:
    from collections.abc import Hashable

    from meshcompat._layout import Axes

MOST_RANKS = 2**24
"""More than any machine has: what claims to be larger is no mesh, and would fill the memory."""

Told = list[Any] | str | None
"""What tells the group of a mesh dim from others over the same ranks.

None where the name does, as for the root's own dims and the flattened ones; `Group.made_as` as a list
for those of a second factorisation; an empty list where all ranks did not make the group together;
`UNTOLD` where an older meshcompat wrote it."""

UNTOLD = "untold"

_roots: weakref.WeakValueDictionary[Hashable, Root] = weakref.WeakValueDictionary()
"""Detached roots that somebody still has a mesh of, so that what was written together stays so."""


def root_of(data: dict[str, Any]) -> Root:
    """Return the detached root of what was written, the same for all meshes of one rank's root.

    Raises:
        MeshLayoutError: It describes no root.
    """
    plain: Any = data.get("root")
    plain = plain if isinstance(plain, dict) else {}
    device_type, shape, names = (plain.get(key) for key in ("device_type", "shape", "names"))
    ranks, rank = plain.get("ranks"), data.get("rank")
    size = _size_of(shape)
    if (
        not isinstance(device_type, str)
        or not device_type
        or size is None
        or not _are_names(names, len(shape))
        or not _are_ranks(ranks, size)
        or not (rank is None or (is_int(rank) and rank >= 0))
    ):
        raise MeshLayoutError(
            f"{data!r} describes no root mesh: it needs a device type, a shape of positive ints, a "
            f"name for each mesh dim or None, and a rank for each place or None; pass what "
            f"meshcompat.mesh_to_dict returned"
        )
    order = tuple(range(size) if ranks is None else ranks)
    which = repr((data.get("number"), data.get("token")))
    key = (device_type, tuple(shape), names and tuple(names), order, rank, which)
    root = _roots.get(key)
    if root is None:
        root = detached_root(
            device_type, order, tuple(shape), None if names is None else tuple(names), rank
        )
        root.number = data.get("number")
        _roots[key] = root
    return root


def groups_of(data: dict[str, Any]) -> list[Told]:
    """Return what was told of the group of each mesh dim.

    Raises:
        MeshLayoutError: It tells nothing of groups.
    """
    dims, groups = data.get("dims"), data.get("groups", [])
    count = len(dims) if isinstance(dims, list) else 0
    if not isinstance(groups, list) or not all(map(_is_told, groups)):
        raise MeshLayoutError(
            f"{data!r} has groups that are not, for each mesh dim, None or a list of a call, a "
            f"name and a number; pass what meshcompat.mesh_to_dict returned"
        )
    return [*groups, *[UNTOLD] * count][:count]


def _is_told(group: Any) -> bool:
    if group is None or group == []:
        return True
    return isinstance(group, list) and [type(part) for part in group] == [str, str, int]


def dims_of(root: Root, data: dict[str, Any]) -> tuple[Dim, ...]:
    """Return the mesh dims of what was written, without groups.

    What was told of the groups stays, so that it is written again.

    Raises:
        MeshLayoutError: It describes none.
    """
    wanted = data.get("dims")
    dims = tuple(map(_dim, wanted)) if isinstance(wanted, list) else ()
    names = [dim.name for dim in dims if dim is not None and dim.name is not None]
    if not dims or None in dims or len(set(names)) < len(names):
        raise MeshLayoutError(
            f"{data!r} has mesh dims that are no pairs of a name and of its (size, stride) pairs; "
            f"pass what meshcompat.mesh_to_dict returned"
        )
    found = (dim for dim in dims if dim is not None)
    return tuple(
        dim._replace(group=_group(root, dim.axes, told)) if isinstance(told, list) else dim
        for dim, told in zip(found, groups_of(data), strict=True)
    )


def _group(root: Root, axes: Axes, told: list[Any]) -> Group:
    """Return what stands for a group that was told of: the same for the same words."""
    made_as = tuple(told) or None
    new = Group(axes, GroupOptions(), None, shareable=False)
    for group in root.groups:
        if (group.partition, group.made_as) == (new.partition, made_as):
            return group
    new.made_as = made_as
    root.groups.append(new)
    return new


def _dim(plain: Any) -> Dim | None:
    if not isinstance(plain, list) or len(plain) != 2:
        return None
    name, pairs = plain
    if not (name is None or isinstance(name, str)) or not isinstance(pairs, list):
        return None
    axes: Axes = tuple((pair[0], pair[1]) for pair in pairs if _is_axis(pair))
    is_right = len(axes) == len(pairs) and _layout.canonical(axes) == axes
    return Dim(name, axes, None) if is_right else None


def _is_axis(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(is_int(n) and n > 0 for n in pair)


def _size_of(shape: Any) -> int | None:
    if not isinstance(shape, list) or not shape or not all(is_int(n) and n > 0 for n in shape):
        return None
    size = math.prod(shape)
    return size if size <= MOST_RANKS else None


def _are_names(names: Any, count: int) -> bool:
    if names is None:
        return True
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    return len(names) == len(set(names)) == count


def _are_ranks(ranks: Any, size: int) -> bool:
    if ranks is None:
        return True
    if not isinstance(ranks, list) or not all(is_int(rank) and rank >= 0 for rank in ranks):
        return False
    return len(ranks) == len(set(ranks)) == size
