"""Findings that are known already: kept in a file, and found again where lines moved."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from meshcompat.audit.findings import Finding


class BaselineError(ValueError):
    """A file that is no baseline."""


def key(finding: Finding, line: str) -> tuple[str, str, str, str]:
    """Return what a finding is known by: the text of its line, and not its number."""
    return finding.path, finding.code, finding.name, " ".join(line.split())


def write(path: Path, findings: Iterable[Finding], line_of: Callable[[Finding], str]) -> int:
    """Write the findings to a file and return their number."""
    counted = Counter(key(finding, line_of(finding)) for finding in findings)
    entries = [
        {"path": known[0], "code": known[1], "name": known[2], "text": known[3], "count": count}
        for known, count in sorted(counted.items())
    ]
    text = json.dumps({"meshcompat-baseline": 1, "findings": entries}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return sum(counted.values())


def read(path: Path) -> Counter[tuple[str, str, str, str]]:
    """Return the known findings, each with how often it is known.

    Raises:
        BaselineError: The file is not there, or no baseline.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Counter(
            {
                (one["path"], one["code"], one["name"], one["text"]): int(one["count"])
                for one in data["findings"]
                if data["meshcompat-baseline"] == 1
            }
        )
    except OSError as error:
        raise BaselineError(f"{path}: the baseline cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BaselineError(f"{path}: no baseline; write one with --write-baseline") from None


def unknown(
    findings: Iterable[Finding],
    known: Counter[tuple[str, str, str, str]],
    line_of: Callable[[Finding], str],
) -> list[Finding]:
    """Return the findings that are not known, each known one counted off once."""
    left = known.copy()
    new = []
    for finding in findings:
        one = key(finding, line_of(finding))
        if left[one] > 0:
            left[one] -= 1
        else:
            new.append(finding)
    return new
