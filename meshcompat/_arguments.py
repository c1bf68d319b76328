"""Ranks, devices and backends that users pass, checked against torch and brought into one form.

Every function raises `MeshDimError` or `MeshLayoutError`: what was asked, what is allowed,
what to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from meshcompat._eras.process_groups import GroupOptions, are_options
from meshcompat._eras.rank_tensors import plain_torch, read_numbers
from meshcompat._errors import MeshDimError, MeshLayoutError
from meshcompat._plain_arguments import is_int

if TYPE_CHECKING:
    from datetime import timedelta


def as_list(ranks: object) -> Sequence[Any]:
    """Bring ordered global ranks, whatever holds them, to a list; a range stays one."""
    if isinstance(ranks, range):
        return ranks
    given = read_numbers(ranks)[1] if isinstance(ranks, torch.Tensor) else ranks
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes, Mapping, AbstractSet)):
        raise MeshLayoutError(f"ranks {ranks!r} must be an ordered list of global ranks")
    return list(given)


def as_ranks(ranks: object, count: int, world_size: int) -> Sequence[int]:
    """Bring the ordered global ranks of a mesh of *count* ranks to a list; a range stays one."""
    found = as_list(ranks)
    allowed = f"give {count} different ints from 0 to {world_size - 1}"
    ends = found[:: len(found) - 1 or 1] if isinstance(found, range) else found
    if not all(is_int(rank) and 0 <= rank < world_size for rank in ends):
        raise MeshLayoutError(
            f"ranks {ranks!r} do not all lie in a world of {world_size}; {allowed}"
        )
    if not isinstance(found, range) and len(set(found)) < len(found):
        raise MeshLayoutError(f"ranks {ranks!r} repeat a rank; {allowed}")
    if len(found) != count:
        raise MeshLayoutError(
            f"ranks {ranks!r} are {len(found)}, but the mesh shape has {count}; {allowed}"
        )
    return found if isinstance(found, range) else list(map(int, found))


def as_device_type(device_type: object) -> str:
    """Return a device type that torch knows and that this machine has."""
    allowed = "give 'cpu', 'cuda' or another device type of torch, without an index"
    if not isinstance(device_type, str):
        raise MeshLayoutError(f"device_type {device_type!r} must be a string; {allowed}")
    try:
        with plain_torch():
            device = torch.device(device_type)
    except RuntimeError as error:
        raise MeshLayoutError(f"torch knows no device_type {device_type!r}; {allowed}") from error
    if ":" in device_type:
        raise MeshLayoutError(f"device_type {device_type!r} has an index; {allowed}")
    module = getattr(torch, device.type, None)
    is_available = getattr(module, "is_available", None)
    if is_available is not None and not is_available() and not world_is_fake():
        raise MeshLayoutError(
            f"device_type {device_type!r} is not available on this machine; {allowed}"
        )
    return device.type


def as_group_options(
    override: object, names: Sequence[str | None], timeout: timedelta | None
) -> tuple[GroupOptions, ...]:
    """Bring torch's forms of ``backend_override`` to one entry per mesh dim.

    Args:
        override: A dict from mesh dim name or index to a backend name, options, or a pair
            of both; one of the three where there is a single mesh dim.
        names: Names of the mesh dims that get groups.
        timeout: Timeout of every group.
    """
    if override is None:
        override = {}
    elif not isinstance(override, Mapping):
        if len(names) != 1:
            raise MeshLayoutError(
                f"backend_override {override!r} does not say which of the mesh dims "
                f"{tuple(names)} it is for; give a dict from name or index to a backend"
            )
        override = {0: override}
    found: dict[int, GroupOptions] = {}
    for key, value in override.items():
        index = _index_of(key, names)
        if index in found:
            raise MeshLayoutError(f"backend_override {override!r} names mesh dim {key!r} twice")
        backend, options = _as_pair(value)
        found[index] = GroupOptions(_as_backend(backend), _as_options(options, backend), timeout)
    plain = GroupOptions(timeout=timeout)
    return tuple(found.get(index, plain) for index in range(len(names)))


def world_is_fake() -> bool:
    """Return whether the default process group only pretends to communicate."""
    return dist.is_initialized() and "fake" in dist.get_backend()


def _index_of(key: object, names: Sequence[str | None]) -> int:
    if isinstance(key, str) and key in names:
        return names.index(key)
    if is_int(key) and 0 <= key < len(names):
        return int(key)
    raise MeshDimError(
        f"backend_override names unknown mesh dim {key!r}; the mesh dims are {tuple(names)}, "
        f"by name or by index from 0"
    )


def _as_pair(value: object) -> tuple[object, object | None]:
    if isinstance(value, tuple) and len(value) == 2:
        return value
    if isinstance(value, str) or value is None:
        return value, None
    return None, value


def _as_options(options: Any, backend: object) -> Any:
    if options is None:
        return None
    if not are_options(options):
        raise MeshLayoutError(
            f"backend_override has {options!r} for a mesh dim; give a backend name, a backend's "
            f"options object, or a tuple of both"
        )
    name = backend or _default_backend()
    if name is None:
        return options
    if options.backend in _known_backends() and options.backend not in _parts(str(name)):
        raise MeshLayoutError(
            f"options {options!r} are for backend {options.backend!r}, but the group is one of "
            f"{name!r}; give options of that backend, or a tuple of backend and options"
        )
    return options


def _as_backend(backend: object) -> str | None:
    if backend is None:
        return None
    if not isinstance(backend, str):
        raise MeshLayoutError(f"backend {backend!r} must be a string such as 'gloo' or 'nccl'")
    name = backend.lower()
    known = _known_backends()
    for part in _parts(name):
        if part not in known:
            raise MeshLayoutError(f"torch knows no backend {backend!r}; it knows {sorted(known)}")
        if world_is_fake() and part != "fake":
            raise MeshLayoutError(
                f"backend {backend!r} cannot be made inside a fake world: torch 2.14 and 2.15 "
                f"crash there; leave backend_override out, or initialise a real process group"
            )
        if not _is_usable(part):
            raise MeshLayoutError(
                f"backend {backend!r} is not available on this machine; leave it out"
            )
    return None if name == _default_backend() else name


def _default_backend() -> str | None:
    """Return the backend of the default process group, or None before there is one."""
    return dist.get_backend() if dist.is_initialized() else None


def _known_backends() -> set[str]:
    return set(dist.Backend.backend_list) - {"undefined"}


def _parts(backend: str) -> list[str]:
    """Return the backends of a name such as ``"cpu:gloo,cuda:nccl"``."""
    return [part.partition(":")[2] or part for part in backend.lower().split(",")]


def _is_usable(backend: str) -> bool:
    if backend == "nccl":
        return dist.is_nccl_available() and torch.cuda.is_available()
    return dist.is_backend_available(backend)
