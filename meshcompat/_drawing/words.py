"""How groups and numbers of things are written in a picture."""

from __future__ import annotations


def mark_of(group: int) -> str:
    """Return the letters of a group: A to Z, then AA, as the columns of a spreadsheet."""
    letters = ""
    group += 1
    while group:
        group, letter = divmod(group - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def count_text(count: int, thing: str) -> str:
    """Write ``1 group`` or ``8 groups``."""
    return f"{count} {thing}{'' if count == 1 else 's'}"
