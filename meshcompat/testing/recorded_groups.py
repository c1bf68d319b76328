"""Which process groups were asked for, in which order, while a block of code ran.

Here belongs the watching of torch's public group makers. Nothing here makes or changes a group.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import torch.distributed as dist
from torch.distributed import distributed_c10d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta


class GroupRecord(NamedTuple):
    """One process group that was asked for.

    Records are plain values: those of different ranks compare equal when the calls were the
    same, so ``len(set(map(tuple, records_of_all_ranks))) == 1`` says "same order on all ranks".

    Attributes:
        function: ``"new_group"`` or ``"split_group"``.
        ranks: Ranks of the group in the order in which they were given; all ranks of the
            world for ``new_group(ranks=None)``.
        backend: Backend that was asked for, in torch's spelling; None = the default one.
        timeout: Timeout that was asked for; None = the default one.
    """

    function: str
    ranks: tuple[int, ...]
    backend: str | None
    timeout: timedelta | None


@contextlib.contextmanager
def recorded_groups() -> Iterator[list[GroupRecord]]:
    """Record every process group that the block asks torch for, in order.

    Watched are ``torch.distributed.new_group`` and, where the release has it, ``split_group``,
    under every name by which a loaded module imported them; so groups made by ``DeviceMesh``,
    ``new_subgroups`` and the code under test all count. A group is recorded when it is asked
    for, also when torch then refuses to make it or this rank is not a member. The default
    process group is not recorded.

    Yields:
        The list that grows while the block runs, one record per group: a ``split_group`` call
        adds one for each of its ``split_ranks``.

    Collective:
        No. (The calls that it watches are.)

    Example:
        >>> import torch.distributed as dist
        >>> from meshcompat.testing import fake_world
        >>> with fake_world(4), recorded_groups() as groups:
        ...     _ = dist.new_group([0, 2])
        >>> [record.ranks for record in groups]
        [(0, 2)]
    """
    records: list[GroupRecord] = []
    with contextlib.ExitStack() as stack:
        for name, describe in (("new_group", _of_new_group), ("split_group", _of_split_group)):
            original = getattr(distributed_c10d, name, None)
            if original is not None:
                stack.enter_context(_watched(name, original, describe, records))
        yield records


@contextlib.contextmanager
def _watched(
    name: str,
    original: Callable[..., Any],
    describe: Callable[..., list[GroupRecord]],
    records: list[GroupRecord],
) -> Iterator[None]:
    @functools.wraps(original)
    def recorder(*args: Any, **kwargs: Any) -> Any:
        if is_recording:
            records.extend(describe(*args, **kwargs))
        return original(*args, **kwargs)

    is_recording = True
    _replace_everywhere(name, original, recorder)
    try:
        yield
    finally:
        # Whoever bound the recorder under another name keeps it: it must fall silent.
        is_recording = False
        _replace_everywhere(name, recorder, original)


def _replace_everywhere(name: str, old: object, new: object) -> None:
    """Rebind *name* to *new* in every loaded module in which it is *old*.

    ``from torch.distributed import new_group`` copies the binding, so that patching torch's
    modules alone would miss such importers; ``device_mesh`` is one of them on all releases.
    """
    for module in list(sys.modules.values()):
        # Not every entry of sys.modules is a module; lazy ones must not be woken by getattr.
        namespace = getattr(module, "__dict__", None)
        if isinstance(namespace, dict) and namespace.get(name) is old:
            namespace[name] = new


def _of_new_group(
    ranks: Sequence[int] | None = None,
    timeout: timedelta | None = None,
    backend: str | None = None,
    *_: object,
    **__: object,
) -> list[GroupRecord]:
    members = range(dist.get_world_size()) if ranks is None else ranks
    return [_record("new_group", members, backend, timeout)]


def _of_split_group(
    parent_pg: object = None,  # noqa: ARG001  (the place that torch's signature gives it)
    split_ranks: Sequence[Sequence[int]] | None = None,
    timeout: timedelta | None = None,
    *_: object,
    backend: str | None = None,
    **__: object,
) -> list[GroupRecord]:
    return [_record("split_group", ranks, backend, timeout) for ranks in split_ranks or ()]


def _record(
    function: str, ranks: Sequence[int], backend: str | None, timeout: timedelta | None
) -> GroupRecord:
    name = None if backend is None else str(backend).lower()
    return GroupRecord(function, tuple(int(rank) for rank in ranks), name, timeout)
