"""What a form is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcompat.audit.report import Part
    from meshcompat.audit.settings import Settings


@dataclass(frozen=True)
class Request:
    """What was found, and how it is wanted."""

    parts: Sequence[Part]
    settings: Settings
    colour: bool = False
    is_fixing: bool = False
    """Whether it is to be said why findings were not rewritten."""
    notes: Sequence[str] = ()
    """What else is to be said, such as that a release is newer than the table."""
