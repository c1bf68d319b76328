"""What can go wrong, and the one warning.

Each error also derives from the built-in that a caller of PyTorch would have caught.
"""

from __future__ import annotations


class MeshCompatError(Exception):
    """Base of every error that meshcompat raises on purpose."""

    def __str__(self) -> str:
        """Return the message as written: ``KeyError`` alone would show its ``repr``."""
        return Exception.__str__(self)


class MeshDimError(MeshCompatError, KeyError):
    """A mesh dim name or index that the mesh does not have."""


class MeshLayoutError(MeshCompatError, ValueError):
    """Arguments that describe no valid mesh; nothing was created."""


class MeshMismatchError(MeshCompatError, RuntimeError):
    """Ranks that ask for different meshes, or that do not come at all.

    Attributes:
        rank: First rank that differs from most ranks, or that did not come; None where the
            store itself is gone.
        missing: Ranks that did not come before the timeout.
        descriptions: What the compared ranks asked for, by rank.
    """

    def __init__(
        self,
        message: str,
        *,
        rank: int | None = None,
        missing: tuple[int, ...] = (),
        descriptions: dict[int, str] | None = None,
    ) -> None:
        """Keep the culprit next to the words."""
        super().__init__(message)
        self.rank = rank
        self.missing = missing
        self.descriptions = dict(descriptions or {})


class NotInMeshError(MeshCompatError, RuntimeError):
    """This rank is not in the mesh, so it has no group or local rank there."""


class UnsupportedTorchError(MeshCompatError, RuntimeError):
    """This torch is too old, or too unlike any torch that meshcompat knows."""


class UntestedTorchWarning(UserWarning):
    """This torch is newer than the newest one that meshcompat was tested with."""
