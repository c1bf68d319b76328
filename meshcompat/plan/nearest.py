"""Which sizes beside those that were asked for would fit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from meshcompat._errors import MeshCompatError
from meshcompat.plan.paper import meshes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from meshcompat.plan.request import Request


_TRIED = 64
"""Multiples of the sizes that are tried on either side of a world size."""


def divisors_of(number: int) -> list[int]:
    """Return the divisors of a number, ascending."""
    small = [size for size in range(1, math.isqrt(number) + 1) if number % size == 0]
    return sorted({*small, *(number // size for size in small)})


def nearest(size: int, candidates: Iterable[int], fits: Callable[[int], bool]) -> list[int]:
    """Return the nearest candidates below and above a size that fit."""
    ascending = sorted(candidates)
    below = next((other for other in reversed(ascending) if other < size and fits(other)), None)
    above = next((other for other in ascending if other > size and fits(other)), None)
    return [other for other in (below, above) if other is not None]


def changes_of(request: Request) -> list[str]:
    """Return single changes of a refused request that make it fit, in words."""
    return [f"{flag} {' or '.join(map(str, found))}" for flag, found in _changes(request) if found]


def _changes(request: Request) -> Iterator[tuple[str, list[int]]]:
    divisors = divisors_of(request.world_size)
    for name, size in request.sizes.items():
        if size > 1:

            def fits_size(other: int, name: str = name) -> bool:
                return _fits(replace(request, sizes={**request.sizes, name: other}))

            yield f"--{name.replace('_', '-')}", nearest(size, divisors, fits_size)
    for index, (name, size) in enumerate(request.mesh):

        def fits_dim(other: int, index: int = index, name: str = name) -> bool:
            mesh = (*request.mesh[:index], (name, other), *request.mesh[index + 1 :])
            return _fits(replace(request, mesh=mesh))

        yield f"{name} of", nearest(size, divisors, fits_dim)

    def fits_world(other: int) -> bool:
        return _fits(replace(request, world_size=other))

    step = _product(request)
    times = request.world_size // step
    worlds = {step * count for count in range(max(times - _TRIED, 1), times + _TRIED)}
    yield "--world-size", nearest(request.world_size, worlds, fits_world)


def _product(request: Request) -> int:
    """Return what a world size must be a multiple of; a size below 1 counts as 1."""
    sizes = [size for _, size in request.mesh]
    sizes += [size for name, size in request.sizes.items() if name not in {"ep", "dp_replicate"}]
    return math.prod(max(size, 1) for size in sizes)


def _fits(request: Request) -> bool:
    try:
        meshes_of(request)
    except MeshCompatError:
        return False
    return True
