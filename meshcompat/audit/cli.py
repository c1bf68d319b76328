"""The way in of ``meshcompat audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meshcompat._help import describe
from meshcompat.audit.command import run

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    describe(
        parser,
        "Read source, without importing it or torch, and tell on which torch releases its mesh code "
        "fails, warns or gives wrong ranks, and what to write instead.\n\n"
        "Settings may stand in [tool.meshcompat.audit] of the nearest pyproject.toml (torch, select, "
        "ignore, exclude, confidence, baseline). A comment # meshcompat: ignore[MC101] silences a "
        "finding on its line.",
        examples=[
            "meshcompat audit",
            'meshcompat audit src --torch ">=2.6"',
            "meshcompat audit src --diff",
            "meshcompat audit --format sarif --output mesh.sarif",
            "meshcompat audit --explain MC101",
        ],
        exit_codes={0: "nothing was found", 1: "findings", 2: "the call itself was wrong"},
    )
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="files, folders, wheels or sdists; default: this folder",
    )
    what = parser.add_argument_group("what is looked for")
    what.add_argument(
        "--torch",
        metavar="SPEC",
        help="releases to hold the code against, e.g. '>=2.6'; default: what the project declares, else all",
    )
    what.add_argument(
        "--select",
        action="append",
        metavar="CODES",
        help="only these rules, or prefixes of them: MC101,MC2",
    )
    what.add_argument(
        "--ignore", action="append", metavar="CODES", help="not these rules, or prefixes of them"
    )
    what.add_argument(
        "--confidence",
        metavar="LEVEL",
        help="high, medium or low: findings of at least that; default: medium",
    )
    what.add_argument(
        "--exclude",
        action="append",
        metavar="GLOB",
        help="files and folders to leave out; may be repeated",
    )
    what.add_argument(
        "--baseline", metavar="FILE", help="findings that do not count, as they are known"
    )
    how = parser.add_argument_group("how it is told")
    how.add_argument(
        "--format",
        choices=("text", "json", "github", "sarif"),
        default="text",
        help="default: text",
    )
    how.add_argument(
        "--output", type=Path, metavar="FILE", help="write there instead of to the terminal"
    )
    how.add_argument(
        "--write-baseline",
        type=Path,
        metavar="FILE",
        help="write what is found as known, and exit 0",
    )
    how.add_argument("--exit-zero", action="store_true", help="exit 0 whatever is found")
    rewrite = parser.add_argument_group("rewriting")
    rewrite.add_argument(
        "--fix",
        action="store_true",
        help="rewrite what keeps its meaning; the text says what stays and why",
    )
    rewrite.add_argument(
        "--fix-published",
        action="store_true",
        help="as --fix, and keep flattened names in torch's registry, where other code slices by them",
    )
    rewrite.add_argument(
        "--diff", action="store_true", help="only show what --fix or --fix-published would change"
    )
    about = parser.add_argument_group("about the rules")
    about.add_argument("--rules", action="store_true", help="list the rules and exit")
    about.add_argument("--explain", metavar="CODE", help="explain one rule and exit")
