"""The forms in which a run is told: text, JSON, annotations for GitHub, SARIF."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit.formats import as_github, as_json, as_sarif, as_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat.audit.formats.request import Request

FORMATS: dict[str, Callable[[Request], str]] = {
    "text": as_text.render,
    "json": as_json.render,
    "github": as_github.render,
    "sarif": as_sarif.render,
}
"""Each form's function from what was found to text."""
