"""torch's process-group calls: one spelling for parameters that differ by release.

`new_groups` and `split_world` are collective over the world, members or not.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d
from torch.distributed.constants import default_pg_timeout

from meshcompat._eras import counting
from meshcompat._eras.rank_tensors import plain_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from torch.distributed import ProcessGroup


# torch: distributed_c10d._world._default_pg, since before 2.2 - pytorch#88330. Look-ups ask at each
# call: nothing here is a Python function. What stands in for _world in torch's own tests has no
# such attribute.
current_world = functools.partial(operator.attrgetter("_world._default_pg"), distributed_c10d)
"""Returns the default process group, or None."""


class GroupOptions(NamedTuple):
    """What a process group is made with; None means torch's default.

    Two groups can stand in for each other only if these are equal. `options` compare by
    identity, since torch's option objects have no equality.
    """

    backend: str | None = None
    options: Any = None
    timeout: timedelta | None = None


def group_named(name: str) -> ProcessGroup | None:
    """Return this rank's living process group of that name, or None."""
    # torch: distributed_c10d._world.pg_names, since before 2.2
    named = distributed_c10d._world.pg_names.items()
    return next((group for group, known in named if known == name), None)


@plain_torch()
def new_groups(
    parts: Iterable[tuple[int, list[int]]],
    made_with: GroupOptions,
    *,
    description: str,
    keep_order: bool,
) -> ProcessGroup | None:
    """Make a group of every part, and return this rank's; None outside the partition.

    Args:
        parts: For each group that torch is asked for its ranks, and how many groups to count before
            it instead: see `meshcompat._eras.counting`.
        made_with: Backend, options and timeout.
        description: What torch calls the group in its logs.
        keep_order: Whether the group keeps the order of its ranks.
    """
    same: dict[str, Any] = {
        "backend": made_with.backend,
        "pg_options": made_with.options,
        "timeout": timeout_of(made_with),
    }
    if "group_desc" in _parameters(dist.new_group):
        same["group_desc"] = description
    if keep_order:
        same["sort_ranks"] = False
    mine = None
    for skipped, ranks in parts:
        counting.count(skipped)
        group = dist.new_group(ranks, **same)
        if group != dist.GroupMember.NON_GROUP_MEMBER:
            mine = group
    return mine


@functools.lru_cache(maxsize=1)
def _parameters(function: Callable[..., Any]) -> Any:
    return inspect.signature(function).parameters


@plain_torch()
def split_world(
    partition: Iterable[list[int]], made_with: GroupOptions, *, description: str
) -> ProcessGroup | None:
    """Return this rank's part of the world, made by one split; None outside the partition."""
    parts = list(partition)
    inside = {rank for ranks in parts for rank in ranks}
    rest = [rank for rank in range(dist.get_world_size()) if rank not in inside]
    if rest:
        # From 2.6 to 2.8 a rank without a part does not count the split, and gives all later
        # groups other names than its peers do: they would wait for each other.
        parts.append(rest)
    group: Any = dist.split_group(
        split_ranks=parts,
        timeout=timeout_of(made_with),
        pg_options=made_with.options,
        group_desc=description,
    )
    return None if dist.get_rank() in rest else group


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


def timeout_of(made_with: GroupOptions) -> timedelta | None:
    """Return the timeout to pass: what the call gives, else the options, else the default group.

    torch takes its own default where none is passed, also over that in the options: see
    pytorch#119574. Backends of the default group that differ have their own defaults: None.
    """
    if made_with.timeout is not None:
        return made_with.timeout
    # torch: ProcessGroup.Options._timeout, Backend.Options._timeout from 2.6 - pytorch#56531
    timeout: timedelta | None = getattr(made_with.options, "_timeout", None)
    inherited = set(_timeouts_of(dist.group.WORLD))
    return timeout or (inherited.pop() if len(inherited) == 1 else None)


def default_timeout() -> timedelta:
    """Return the timeout of the default process group: the longest, where its backends differ."""
    return max(_timeouts_of(dist.group.WORLD))


def own_timeout(group: ProcessGroup) -> timedelta | None:
    """Return the timeout of a group that others made, where torch tells it.

    None where it is that of the default process group.
    """
    own = _timeouts_of(group)
    return None if own == _timeouts_of(dist.group.WORLD) else max(own)


def _timeouts_of(group: Any) -> list[timedelta]:
    """Return the timeout of each backend of a process group."""
    # torch: ProcessGroup._device_types, ._get_backend, since before 2.2 - pytorch#88330
    backends = [_unwrapped(group._get_backend(device)) for device in group._device_types]
    # torch: Backend.options, for gloo and NCCL since before 2.2 - pytorch#56531
    options = [getattr(backend, "options", None) for backend in backends]
    timeouts = [getattr(option, "_timeout", default_pg_timeout) for option in options]
    return timeouts or [default_pg_timeout]  # torch 2.2 names no device of a fake world


def _unwrapped(backend: Any) -> Any:
    """Return the backend inside the wrapper that TORCH_DISTRIBUTED_DEBUG=DETAIL puts around it.

    Up to torch 2.10 the wrapper has options of its own, with torch's default timeout.
    """
    # torch: _ProcessGroupWrapper.wrapped_pg, since before 2.2 - pytorch#58281
    return getattr(backend, "wrapped_pg", backend)


def groups_made() -> int:
    """Return torch's count of all process groups, this rank's or not, which names the next one."""
    # torch: distributed_c10d._world.group_count, since before 2.2 - pytorch#88330
    count: int = distributed_c10d._world.group_count
    return count


def is_living(group: ProcessGroup) -> bool:
    """Return whether torch still knows the group; it forgets one that was destroyed."""
    # torch: distributed_c10d._world.pg_map, since before 2.2 - pytorch#88330
    return group in distributed_c10d._world.pg_map


def made_like(group: ProcessGroup) -> list[ProcessGroup]:
    """Return this rank's other living groups over the same ranks that were made for the same."""
    ranks = sorted(dist.get_process_group_ranks(group))
    # torch: ProcessGroup.group_desc, from 2.4 - pytorch#127250; a mesh names its dim there
    made_for = getattr(group, "group_desc", None)
    return [
        other
        # torch: distributed_c10d._world.pg_map, since before 2.2 - pytorch#88330
        for other in list(distributed_c10d._world.pg_map)
        if other is not group
        and getattr(other, "group_desc", None) == made_for
        and sorted(dist.get_process_group_ranks(other)) == ranks
    ]


def are_options(value: object) -> bool:
    """Return whether *value* can be a backend's options object; the classes moved over time."""
    return hasattr(value, "backend") and hasattr(value, "_timeout")


def gloo_backend(group: ProcessGroup) -> Any:
    """Return the gloo part of a group, so that the caller decides where it goes; None without one.

    Up to torch 2.8 the destructor of a group holds the GIL while it joins gloo's threads. One of
    them may be about to release a tensor, for which it needs the GIL: the rank then hangs, rarely
    and under load. The destructor of the gloo object itself lets the GIL go, and it is the one
    that joins if this object is the last reference.
    """
    # A group without a CPU backend says so by raising.
    with contextlib.suppress(RuntimeError):
        # torch: ProcessGroup._get_backend, since before 2.2 - pytorch#88330
        backend: Any = group._get_backend(torch.device("cpu"))
        if type(backend).__name__ == "ProcessGroupGloo":
            return backend
    return None


def gloo_backends() -> list[Any]:
    """Return the gloo part of every group; see `gloo_backend`."""
    # torch: distributed_c10d._world, since before 2.2 - pytorch#88330; the list of all groups
    found = [gloo_backend(group) for group in list(distributed_c10d._world.pg_map)]
    return [backend for backend in found if backend is not None]
