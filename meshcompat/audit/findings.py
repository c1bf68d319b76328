"""What a rule says of a site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshcompat.audit.releases import NONE, Releases
from meshcompat.audit.values import Confidence

if TYPE_CHECKING:
    from meshcompat.audit.sites import Site
    from meshcompat.audit.source import Span


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or one guarded site where all three sets are empty."""

    path: str
    span: Span
    code: str
    name: str
    message: str
    confidence: Confidence
    fails_on: Releases = NONE
    warns_on: Releases = NONE
    wrong_on: Releases = NONE
    replacement: str = ""
    link: str = ""
    fixable: bool = False
    left: str = ""
    """Why it is not rewritten."""
    in_test: bool = False
    in_raise: bool = False
    site: Site | None = None
    project: str = "."

    @property
    def is_guarded(self) -> bool:
        """Whether guards keep it from every release where it would be wrong."""
        return self.site is not None and not (self.fails_on or self.warns_on or self.wrong_on)

    @property
    def decides_range(self) -> bool:
        """Whether the releases that it fails on are not among those that the project runs on."""
        return (
            bool(self.fails_on)
            and self.confidence >= Confidence.MEDIUM
            and not self.in_test
            and not self.in_raise
        )

    @property
    def order(self) -> tuple[object, ...]:
        """By place, then by rule."""
        return (self.project, self.path, *self.span, self.code, self.name)
