"""Process groups of a root: take one that is there, or make one on all ranks of the world.

The key for taking one is the whole partition of the root, with backend, options and timeout:
a key of this rank's own ranks would let ranks decide differently, and hang.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from meshcompat import _agreement, _eras, _layout, _release
from meshcompat._eras import counting, process_groups
from meshcompat._eras.process_groups import GroupOptions
from meshcompat._mesh.memory import Group, refuse_detached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch.distributed import ProcessGroup

    from meshcompat._agreement.making import Make
    from meshcompat._layout import Axes
    from meshcompat._mesh.memory import Root


RANKS_IN_WORDS = 16
"""How many ranks of a mesh are told one by one to ranks that disagree."""


def serve(
    root: Root,
    dims: Sequence[tuple[str, Axes, GroupOptions]],
    *,
    share: bool,
    call: str,
) -> list[Group]:
    """Return a group for each of *dims*, taking or making it.

    Args:
        root: The root that the dims belong to.
        dims: Name, axes and options of each mesh dim.
        share: Take any group of the root that serves. Otherwise only dims of size 1 and
            dims that span the world share.
        call: The public function that asks, for ranks that disagree.

    Raises:
        MeshLayoutError: The root is detached.
        MeshMismatchError: A group is to be made, and another rank asks for something else, or
            does not come: nothing was made. Or it came, and died before the groups were there.

    Collective:
        Yes, where a group is made: all ranks of the world, members of the root or not.
    """
    refuse_detached(root)
    found = [find(root, axes, made_with, share=share) for _, axes, made_with in dims]
    there = [group for group in found if group is not None]
    if len(there) == len(found):
        return there
    timeout = dims[0][2].timeout
    with _agreement.agreed(lambda: _asked(root, dims, share=share, call=call), timeout) as in_time:
        groups = [
            find(root, axes, made_with, share=share)
            or _make(root, name, axes, made_with, share=share, in_time=in_time)
            for name, axes, made_with in dims
        ]
    for (name, _, _), group in zip(dims, groups, strict=True):
        root.tell_made(call, name, group)
    return groups


def find(root: Root, axes: Axes, made_with: GroupOptions, *, share: bool) -> Group | None:
    """Return a group that is there for these ranks and options, or None; all ranks agree."""
    partition = _layout.outermost_first(axes)
    if _is_world(root, partition, made_with):
        return _world(root, axes)
    if not share and partition:
        return None
    for group in root.groups:
        if group.shareable and (group.partition, group.made_with) == (partition, made_with):
            return group
    return None


def _is_world(root: Root, partition: Axes, made_with: GroupOptions) -> bool:
    return (
        root.covers_world
        and made_with == GroupOptions()
        and _layout.size_of(partition) == root.size
        and not (root.keeps_order and root.descends(partition))  # else torch sorts the ranks
    )


def _world(root: Root, axes: Axes) -> Group:
    world: Any = dist.group.WORLD
    handle = _eras.primitives().handle_for(root.mesh, world)
    for group in root.groups:
        if group.handle == handle:
            return group
    return _keep(root, Group(axes, GroupOptions(), handle, shareable=True))


def _make(
    root: Root,
    name: str,
    axes: Axes,
    made_with: GroupOptions,
    *,
    share: bool,
    in_time: Make,
) -> Group:
    """Make a group of every coset, in one order on all ranks."""
    ordered = _layout.outermost_first(axes)
    new: dict[str, Any] = {"made_with": made_with, "description": f"mesh_{name}"}
    make: Callable[[Iterable[Any]], ProcessGroup | None]
    partition: Iterable[Any] = root.partition(ordered)
    if process_groups.splits_world(made_with):
        make = functools.partial(process_groups.split_world, **new)
    else:
        make = functools.partial(process_groups.new_groups, **new, keep_order=root.keeps_order)
        can_count = counting.can_count(made_with.backend)
        partition = root.own_parts(ordered) if can_count else ((0, part) for part in partition)
    timeout = process_groups.timeout_of(made_with) or process_groups.default_timeout()
    mine = in_time(make, partition, timeout)
    handle = None if mine is None else _eras.primitives().handle_for(root.mesh, mine)
    # A second factorisation's own communicator serves nobody else, unless it is of size 1.
    shareable = share or not ordered
    return _keep(root, Group(axes, made_with, handle, shareable=shareable, is_ours=True))


def _keep(root: Root, group: Group) -> Group:
    root.groups.append(group)
    return group


def _asked(
    root: Root, dims: Sequence[tuple[str, Axes, GroupOptions]], *, share: bool, call: str
) -> dict[str, str]:
    """Describe what is about to be made so that equal words mean equal groups on all ranks."""
    return {
        "call": call,
        "root": f"{root.shape} named {root.mesh.mesh_dim_names}",
        "ranks": _ranks_in_words(root),
        "dims": "; ".join(_dim_in_words(*dim) for dim in dims),
        "share_groups": str(share),
        "groups made before": str(process_groups.groups_made()),
        "meshcompat": _release.own_version(),
        "torch": ".".join(map(str, _release.minor_of(_release.installed_torch()) or ())),
    }


def _ranks_in_words(root: Root) -> str:
    if root.is_range:
        return f"0 to {root.size - 1}"
    ranks = root.ranks_at(range(root.size))
    if len(ranks) <= RANKS_IN_WORDS:
        return str(ranks)
    digest = hashlib.sha256(str(ranks).encode()).hexdigest()[:12]
    return f"{ranks[:RANKS_IN_WORDS]} and {len(ranks) - RANKS_IN_WORDS} more ({digest})"


def _dim_in_words(name: str, axes: Axes, made_with: GroupOptions) -> str:
    strides = f" of (size, stride) {axes}" if axes else ""
    words = [f"{name!r} of size {_layout.size_of(axes)}{strides}"]
    if made_with.backend is not None:
        words.append(f"backend {made_with.backend}")
    if made_with.options is not None:
        words.append(f"options {type(made_with.options).__name__}")
    if made_with.timeout is not None:
        words.append(f"timeout {made_with.timeout.total_seconds():g} s")
    return " ".join(words)
