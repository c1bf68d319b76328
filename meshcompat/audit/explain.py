"""What `--rules` and `--explain` print, of the same words as the page in docs/."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from meshcompat import _output
from meshcompat.audit.rules import RULES

if TYPE_CHECKING:
    from meshcompat.audit.rules.base import Rule

_WIDEST = 100
_HEAD = """\
# Rules of meshcompat audit

Written by `python ci/audit_rules_page.py`; [audit.md](audit.md) tells of the command.
"""


def listing() -> str:
    """Return every rule in a line, or more on a narrow terminal."""
    return "".join(
        textwrap.fill(f"{rule.code}  {rule.title}", _width(), subsequent_indent=" " * 7) + "\n"
        for rule in RULES
    )


def explain(rule: type[Rule]) -> str:
    """Return one rule: why, releases, before and after."""
    title = f"{rule.code}: {rule.title}"
    parts = [
        textwrap.fill(title, _width(), subsequent_indent=" " * 7),
        textwrap.fill(rule.why, _width()),
    ]
    if rule.before:
        parts += [
            f"Before:\n\n{textwrap.indent(rule.before, '    ')}",
            f"After:\n\n{textwrap.indent(rule.after, '    ')}",
        ]
    if rule.link:
        parts.append(f"See {rule.link}")
    return "\n\n".join(parts) + "\n"


def _width() -> int:
    return min(_output.width(), _WIDEST)


def page() -> str:
    """Return every rule as Markdown, for docs/audit.md."""
    parts = [_HEAD]
    for rule in RULES:
        parts.append(f"## {rule.code}: {rule.title}\n\n{rule.why}\n")
        if rule.before:
            parts.append(
                f"Before:\n\n```python\n{rule.before}\n```\n\nAfter:\n\n```python\n{rule.after}\n```\n"
            )
        if rule.link:
            parts.append(f"Upstream: <{rule.link}>\n")
    return "\n".join(parts)
