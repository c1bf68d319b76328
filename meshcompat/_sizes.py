"""Arithmetic of parallelism sizes: what counts as 1, what fills the world, what is refused."""

from __future__ import annotations

from meshcompat._errors import MeshLayoutError


def degree(value: object) -> int:
    """Return *value* where it is a positive int, else 1."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


def infer_dp_size(
    dp_size: int | None,
    *,
    world_size: int,
    non_dp_size: int,
    expression: str,
    factors: tuple[int, ...],
) -> int:
    """Return the size of data parallelism that fills the world beside the other sizes.

    Raises:
        MeshLayoutError: None does, or the given one does not.
    """
    product = " * ".join(map(str, factors))
    if dp_size is None or dp_size <= 0:
        if world_size % non_dp_size or world_size < 1:
            msg = (
                f"world_size {world_size} is no multiple of {expression} = {product} = "
                f"{non_dp_size}; choose sizes whose product divides {world_size}"
            )
            raise MeshLayoutError(msg)
        return world_size // non_dp_size
    if dp_size * non_dp_size != world_size:
        msg = (
            f"dp_size * {expression} = {dp_size} * {product} = {dp_size * non_dp_size}, but "
            f"world_size is {world_size}; leave dp_size out to fill the world"
        )
        raise MeshLayoutError(msg)
    return dp_size


def require_size_one(strategy_name: object, size: int | None, feature_name: str) -> None:
    """Refuse a size above 1 that a strategy cannot have.

    Raises:
        MeshLayoutError: The size is above 1.
    """
    if degree(size) > 1:
        msg = f"{strategy_name} cannot have {feature_name} {size!r}; set it to 1, or use FSDP2"
        raise MeshLayoutError(msg)


def seconds(timeout_minutes: object) -> float | None:
    """Bring a timeout in minutes to seconds.

    Raises:
        MeshLayoutError: It is no number.
    """
    if timeout_minutes is None:
        return None
    if not isinstance(timeout_minutes, (int, float)) or isinstance(timeout_minutes, bool):
        msg = f"timeout_minutes {timeout_minutes!r} must be a number of minutes above zero"
        raise MeshLayoutError(msg)
    return 60.0 * timeout_minutes
