"""Whether ranks compare at all."""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator

VARIABLE = "MESHCOMPAT_CHECK"

_is_unchecked = contextvars.ContextVar("meshcompat_unchecked", default=False)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Make meshes without comparing first what the ranks ask for.

    Ranks that disagree then hang, or mix up their groups. All ranks must leave the check out of
    the same calls: the others would wait for one that does, and name it missing. The
    environment variable ``MESHCOMPAT_CHECK=off`` turns the check off for a whole process.

    Yields:
        None.

    Collective:
        No.

    Example:
        >>> from meshcompat import init_device_mesh, unchecked
        >>> with unchecked():
        ...     mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
    """
    token = _is_unchecked.set(True)
    try:
        yield
    finally:
        _is_unchecked.reset(token)


def is_on() -> bool:
    """Return whether ranks compare here: they do unless someone turned it off."""
    return not _is_unchecked.get() and os.environ.get(VARIABLE, "on").lower() != "off"
