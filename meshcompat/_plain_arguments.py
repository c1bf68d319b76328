"""Names, sizes and timeouts that users pass, checked and brought into one form: no torch.

Every function raises `MeshDimError` or `MeshLayoutError`: what was asked, what is allowed,
what to do.
"""

from __future__ import annotations

import numbers
from collections.abc import Collection, KeysView, Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, TypeGuard

from meshcompat._errors import MeshDimError, MeshLayoutError


def in_order(given: object) -> tuple[Any, ...] | None:
    """Return what an ordered collection holds, whatever its type; None for anything else.

    Lists of configuration libraries, `torch.Size`, arrays of NumPy and ``dict.keys()`` are such
    collections; a string, a set and a dict itself are not.
    """
    if isinstance(given, (list, tuple)):  # first, as it nearly always is one and this is quick
        return tuple(given)
    if isinstance(given, (str, bytes, Mapping)):
        return None
    if isinstance(given, AbstractSet) and not isinstance(given, KeysView):
        return None
    return tuple(given) if isinstance(given, Collection) else None


def as_names(names: object) -> tuple[str, ...]:
    """Bring one mesh dim name or an ordered collection of them to a tuple of plain strings."""
    if isinstance(names, str):
        return (str.__str__(names),)
    given = in_order(names)
    if not given:
        raise MeshLayoutError(
            f"expected a mesh dim name, or a list or tuple of at least one, got {names!r}; "
            f"for example 'dp' or ('dp', 'tp')"
        )
    for name in given:
        if not isinstance(name, str):
            raise MeshDimError(
                f"unknown mesh dim {name!r} in {names!r}: mesh dims are asked for by name"
            )
    repeated = sorted({name for name in given if given.count(name) > 1})
    if repeated:
        raise MeshLayoutError(
            f"mesh dim names {names!r} repeat {repeated}; name every mesh dim once"
        )
    return tuple(str.__str__(name) for name in given)


def as_name(name: object) -> str:
    """Bring one new mesh dim name to a plain string."""
    if not isinstance(name, str) or not name or not _is_encodable(name):
        raise MeshLayoutError(
            f"a mesh dim name must be a string of at least one character that UTF-8 can encode, "
            f"got {name!r}; give a name such as 'dp'"
        )
    return str.__str__(name)


def as_new_names(names: object, count: int) -> tuple[str, ...]:
    """Bring the names of *count* new mesh dims to a tuple."""
    given = (names,) if isinstance(names, str) else in_order(names)
    if given is None or len(given) != count:
        raise MeshLayoutError(
            f"mesh_dim_names {names!r} must be {count} names, one for each mesh dim; give a "
            f"tuple of {count} strings"
        )
    new = tuple(as_name(name) for name in given)
    if len(set(new)) < len(new):
        raise MeshLayoutError(f"mesh_dim_names {names!r} repeat a name; name every mesh dim once")
    return new


def as_sizes(sizes: object, what: str) -> tuple[int, ...]:
    """Bring the sizes of mesh dims to a tuple of positive ints."""
    given = (sizes,) if is_int(sizes) else in_order(sizes)
    if not given or not all(is_int(size) and size > 0 for size in given):
        raise MeshLayoutError(
            f"{what} {sizes!r} must be one or more positive ints, one for each mesh dim"
        )
    return tuple(map(int, given))


def as_timeout(timeout: object) -> timedelta | None:
    """Bring a timeout, a timedelta or seconds, to a timedelta."""
    if timeout is None:
        return None
    limit = timeout
    if isinstance(timeout, bool):
        limit = None
    elif isinstance(timeout, numbers.Real):
        try:
            limit = timedelta(seconds=float(timeout))
        except (OverflowError, ValueError):  # NaN is a ValueError
            limit = None
    if not isinstance(limit, timedelta) or limit <= timedelta(0):
        raise MeshLayoutError(
            f"timeout {timeout!r} must be a timedelta or a number of seconds, more than zero"
        )
    return limit


def is_int(value: object) -> TypeGuard[int]:
    """Return whether *value* is an int, or an int of numpy; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_encodable(name: str) -> bool:
    # torch hands the name to C++, which takes UTF-8 and so no lone surrogates.
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
