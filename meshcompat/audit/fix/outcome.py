"""Carrying a plan out: all files are looked at before the first is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshcompat.audit.fix.edits import RefusedError
from meshcompat.audit.fix.plan import plan
from meshcompat.audit.fix.write import check, write

if TYPE_CHECKING:
    from meshcompat.audit.files import Found
    from meshcompat.audit.report import Part


@dataclass
class Outcome:
    """What was written."""

    places: int = 0
    files: int = 0
    findings: int = 0
    """Findings at the places that were rewritten."""
    stayed: dict[str, str] = field(default_factory=dict)
    """Why each file stays that was to be rewritten, by path."""
    problems: list[str] = field(default_factory=list)
    """A line for each file that was to be rewritten and was not."""


def carry_out(part: Part, *, publish: bool) -> Outcome:
    """Rewrite what can be rewritten."""
    blocked: dict[str, str] = {}
    while True:
        planned = plan(part, publish=publish, blocked=blocked)
        changed = {path: _problem(planned.pages[path].found) for path in planned.contents}
        changed = {path: reason for path, reason in changed.items() if reason}
        if not changed:
            break
        blocked |= changed
    result = Outcome(stayed=blocked)
    # Look-ups through meshcompat find what torch flattened, and not the other way round: they go first.
    for path in sorted(planned.contents, key=lambda one: (one in planned.flattening, one)):
        if result.stayed and path in planned.flattening:
            result.stayed[path] = "it hangs on a file that was not rewritten"
            continue
        try:
            write(planned.pages[path].found, planned.contents[path])
        except RefusedError as error:
            result.stayed[path] = str(error)
        else:
            result.files += 1
            result.places += planned.places[path]
            result.findings += sum(one.fixable for one in planned.part.findings if one.path == path)
    result.problems = [
        f"{part.shown(path)}: not rewritten: {why}" for path, why in result.stayed.items()
    ]
    return result


def _problem(found: Found) -> str:
    try:
        check(found)
    except RefusedError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return ""
