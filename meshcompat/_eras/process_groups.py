"""torch's process-group calls: one spelling for parameters that differ by release.

`new_group` and `split_group` are collective over the world, members or not.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed import device_mesh

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from torch.distributed import ProcessGroup


class GroupOptions(NamedTuple):
    """What a process group is made with; None means torch's default.

    Two groups can stand in for each other only if these are equal. `options` compare by
    identity, since torch's option objects have no equality.
    """

    backend: str | None = None
    options: Any = None
    timeout: timedelta | None = None


def new_group(
    ranks: Sequence[int], made_with: GroupOptions, *, description: str, keep_order: bool
) -> ProcessGroup | None:
    """Return a new group of *ranks*, or None on the ranks outside."""
    extra: dict[str, Any] = {}
    if _describes_groups():
        extra["group_desc"] = description
    if keep_order:
        extra["sort_ranks"] = False
    group = dist.new_group(
        list(ranks),
        backend=made_with.backend,
        pg_options=made_with.options,
        timeout=_timeout(made_with),
        **extra,
    )
    return None if group == dist.GroupMember.NON_GROUP_MEMBER else group


def split_world(
    partition: Sequence[Sequence[int]], made_with: GroupOptions, *, description: str
) -> ProcessGroup | None:
    """Return this rank's part of the world, made by one split; None outside the partition."""
    group = dist.split_group(
        split_ranks=[list(ranks) for ranks in partition],
        timeout=_timeout(made_with),
        pg_options=made_with.options,
        group_desc=description,
    )
    return None if group == dist.GroupMember.NON_GROUP_MEMBER else group


def splits_world(made_with: GroupOptions) -> bool:
    """Return whether torch itself would split the world here rather than make new groups.

    With an eagerly bound device each `new_group` is a collective for every non-member.
    """
    world: Any = dist.group.WORLD
    # torch: DeviceMesh splits the world, since 2.6 - pytorch#138129
    if not hasattr(device_mesh, "split_group") or not torch.cuda.is_available():
        return False
    if getattr(world, "bound_device_id", None) is None:
        return False
    # torch: ProcessGroup._get_backend, since before 2.2 - pytorch#88330
    bound: str = world._get_backend(torch.device("cuda")).name()
    return made_with.backend in {None, bound}


def are_options(value: object) -> bool:
    """Return whether *value* can be a backend's options object; the classes moved over time."""
    return hasattr(value, "backend") and hasattr(value, "_timeout")


@functools.cache
def _describes_groups() -> bool:
    """Return whether `new_group` takes a description, asked once for thousands of groups."""
    return "group_desc" in inspect.signature(dist.new_group).parameters


def _timeout(made_with: GroupOptions) -> timedelta | None:
    """Return the timeout to pass: torch's default would override the one in the options."""
    if made_with.timeout is not None:
        return made_with.timeout
    # torch: ProcessGroup.Options._timeout, Backend.Options._timeout from 2.6 - pytorch#56531
    timeout: timedelta | None = getattr(made_with.options, "_timeout", None)
    return timeout
