"""The rules, and what they say of a project's sites."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshcompat.audit.facts import gather
from meshcompat.audit.releases import ALL, Releases
from meshcompat.audit.rules import existence, flattening, lookups, state, unread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshcompat.audit.findings import Finding
    from meshcompat.audit.rules.base import Rule
    from meshcompat.audit.sites import Site

RULES: tuple[type[Rule], ...] = tuple(
    sorted(
        (*unread.RULES, *existence.RULES, *lookups.RULES, *flattening.RULES, *state.RULES),
        key=lambda rule: rule.code,
    )
)
"""Every rule, by code."""


def judge(sites: Sequence[Site], asked: Releases = ALL) -> list[Finding]:
    """Return what the rules say of the sites of a project on some releases, one finding a place and rule, in order."""
    facts = gather(sites)
    sites = [replace(site, live=site.live & asked) for site in sites]
    rules = [rule() for rule in RULES]
    found: dict[tuple[object, ...], Finding] = {}
    for site in sites:
        for rule in rules:
            for finding in rule.judge(site, facts):
                found.setdefault((finding.path, finding.span, finding.code, finding.name), finding)
    return sorted(found.values(), key=lambda finding: finding.order)


def named(code: str) -> type[Rule] | None:
    """Return the rule of a code, or None."""
    return next((rule for rule in RULES if rule.code == code.upper()), None)
