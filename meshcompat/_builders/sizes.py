"""Arithmetic of parallelism sizes: what counts as 1, what fills the world, what is refused."""

import math
from datetime import timedelta
from typing import NamedTuple

from meshcompat._builders.parallelism import HasParallelismSizes
from meshcompat._errors import MeshLayoutError
from meshcompat._plain_arguments import as_timeout, is_int


class Degrees(NamedTuple):
    """Parallelism sizes with every default filled in, but for what depends on the world."""

    dp_size: int | None
    """None is what is left of the world."""
    dp_replicate_size: int
    tp_size: int
    pp_size: int
    cp_size: int
    ep_size: int


def degree(value: object) -> int:
    """Return *value* where it is a positive int, else 1."""
    return int(value) if is_int(value) and value > 0 else 1


def refuse_class(given: object, what: str) -> None:
    """Refuse a class where one of its instances is meant: its attributes are only defaults.

    Raises:
        MeshLayoutError: It is a class.
    """
    if isinstance(given, type):
        raise MeshLayoutError(
            f"{what} {given!r} is a class; pass an instance, {given.__name__}(...)"
        )


def degrees_of(parallelism: HasParallelismSizes) -> Degrees:
    """Read the sizes of any object that has them.

    Raises:
        MeshLayoutError: It lacks one, or one is neither an int nor None.
    """
    refuse_class(parallelism, "parallelism")
    for name in Degrees._fields:
        value = getattr(parallelism, name, parallelism)
        if value is not None and not is_int(value):
            fault = "is missing" if value is parallelism else f"is {value!r}"
            raise MeshLayoutError(
                f"{name} {fault} in {parallelism!r}; give an object with the attributes "
                f"{Degrees._fields}, each an int or None, such as meshcompat.ParallelismSizes"
            )
    given = parallelism.dp_size
    return Degrees(
        dp_size=int(given) if given is not None and given > 0 else None,
        dp_replicate_size=degree(parallelism.dp_replicate_size),
        tp_size=degree(parallelism.tp_size),
        pp_size=degree(parallelism.pp_size),
        cp_size=degree(parallelism.cp_size),
        ep_size=degree(parallelism.ep_size),
    )


def infer_dp_size(
    dp_size: int | None,
    *,
    world_size: int,
    non_dp_size: int,
    expression: str,
    factors: tuple[int, ...],
) -> int:
    """Return *dp_size* where it is positive, else what fills the world beside the other sizes.

    Raises:
        MeshLayoutError: Nothing does.
    """
    if dp_size is not None and dp_size > 0:
        return dp_size
    if not is_int(world_size) or world_size < 1 or world_size % non_dp_size:
        product = " * ".join(map(str, factors))
        raise MeshLayoutError(
            f"world_size {world_size!r} is no multiple of {expression} = {product} = "
            f"{non_dp_size}; choose sizes whose product divides it"
        )
    return world_size // non_dp_size


def fill_world(degrees: Degrees, world_size: int, names: tuple[str, ...]) -> int:
    """Return the size of data parallelism that fills the world beside the sizes called *names*.

    Raises:
        MeshLayoutError: None does, or the given one does not.
    """
    factors = tuple(getattr(degrees, name) for name in names)
    expression = " * ".join(names)
    dp_size = infer_dp_size(
        degrees.dp_size,
        world_size=world_size,
        non_dp_size=math.prod(factors),
        expression=expression,
        factors=factors,
    )
    if dp_size * math.prod(factors) != world_size:
        product = " * ".join(map(str, (dp_size, *factors)))
        raise MeshLayoutError(
            f"dp_size * {expression} = {product} = {dp_size * math.prod(factors)}, but "
            f"world_size is {world_size!r}; leave dp_size out to fill the world"
        )
    return dp_size


def require_size_one(strategy_name: object, size: int | None, feature_name: str) -> None:
    """Refuse a size above 1 that a strategy cannot have.

    Raises:
        MeshLayoutError: The size is above 1.
    """
    if degree(size) > 1:
        raise MeshLayoutError(
            f"{strategy_name} cannot have {feature_name} {size!r}; set it to 1, or use FSDP2"
        )


def limit_of(timeout: object, timeout_minutes: float | None) -> timedelta | None:
    """Bring a timeout that is given in one of two units to a timedelta.

    Raises:
        MeshLayoutError: It is given twice, or is no time above zero.
    """
    if timeout is not None and timeout_minutes is not None:
        raise MeshLayoutError(
            f"timeout {timeout!r} and timeout_minutes {timeout_minutes!r} are one thing; give one "
            f"of them"
        )
    return as_timeout(timeout) if timeout_minutes is None else minutes(timeout_minutes)


def minutes(timeout_minutes: float | None) -> timedelta | None:
    """Bring a timeout in minutes to a timedelta.

    Raises:
        MeshLayoutError: It is no number above zero.
    """
    if timeout_minutes is None:
        return None
    try:
        return as_timeout(timedelta(minutes=timeout_minutes))
    except (TypeError, ValueError, OverflowError) as error:
        raise MeshLayoutError(
            f"timeout_minutes {timeout_minutes!r} must be a number of minutes above zero"
        ) from error
