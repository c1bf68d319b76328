"""Colours that people who are colour-blind tell apart: those of Okabe and Ito, and a grey.

https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

COLOURS = (
    ("#e69f00", "#000000"),
    ("#56b4e9", "#000000"),
    ("#f0e442", "#000000"),
    ("#0072b2", "#ffffff"),
    ("#cc79a7", "#000000"),
    ("#009e73", "#000000"),
    ("#d55e00", "#000000"),
    ("#bbbbbb", "#000000"),
)
"""Background and text; each pair has a contrast of at least 4.5 to 1."""


def shade_of(group: int) -> int:
    """Return which of `COLOURS` a group has; neighbours differ."""
    return group % len(COLOURS)
