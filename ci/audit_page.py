"""The table of docs/audit.md: what was found in public projects."""

from __future__ import annotations

from typing import Any

import records

STORED = records.DATA / "audit.json"


def table() -> tuple[list[str], list[list[str]]]:
    """Return what was found in public projects."""
    stored: list[dict[str, Any]] = records.read(STORED)
    header = [
        "project",
        "files",
        "declares",
        "mesh code runs on",
        "decided by",
        "findings",
        "of them in the declared range",
        "false, by reading",
    ]
    return header, [_row(one) for one in stored]


def _row(one: dict[str, Any]) -> list[str]:
    lowest = one["runs_on"][0].rpartition(".")[0] if one["runs_on"] else "nothing"
    return [
        f"{one['project']} {one['version']}",
        str(one["files"]),
        f"`{one['declares']}`" if one["declares"] else "no range",
        f">={lowest}",
        ", ".join(one["because"]) or "-",
        str(one["findings"]),
        str(one["declared"]),
        str(one["false"]),
    ]
