"""The way in of ``meshcompat matrix``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshcompat._help import describe

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    describe(
        parser,
        "Print the releases of torch that a library is to be tested with: for each the Pythons that "
        "have a wheel of it (Linux, x86_64), and what it needs beside itself, with the reason. "
        "Without options: the newest patch of each minor from 2.2 on.\n\n"
        "In a noxfile, meshcompat.matrix.rows('>=2.5') gives the same.",
        examples=[
            "meshcompat matrix",
            'meshcompat matrix --torch ">=2.5" --python 3.11',
            'meshcompat matrix --torch ">=2.6,<2.12" --edges',
            "meshcompat matrix --format toml > torch-matrix.toml",
            "meshcompat matrix --format github >> $GITHUB_OUTPUT",
        ],
        exit_codes={
            0: "some release fits",
            1: "none does",
            2: "the call itself was wrong",
        },
    )
    parser.add_argument(
        "--torch", default="", metavar="SPEC", help="range of releases, such as '>=2.5'"
    )
    parser.add_argument(
        "--python",
        metavar="X.Y",
        help="interpreter of all rows; releases without a wheel for it are left out. By default "
        "each row has the oldest that it can",
    )
    parser.add_argument(
        "--edges",
        action="store_true",
        help="only the ends of the range, and releases where torch's meshes changed",
    )
    parser.add_argument(
        "--every-patch", action="store_true", help="every patch, and not only the newest"
    )
    parser.add_argument(
        "--format",
        choices=("text", "json", "github", "toml"),
        default="text",
        help="by default text; github is one line, matrix={...}, whose rows have torch, python and "
        "requirements",
    )


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Print the rows, and return the exit code."""
    # Reading a range takes a library that help does not wait for.
    from meshcompat.matrix.formats import FORMATS  # noqa: PLC0415
    from meshcompat.matrix.releases import rows  # noqa: PLC0415

    try:
        found = rows(
            arguments.torch,
            python=arguments.python,
            edges=arguments.edges,
            every_patch=arguments.every_patch,
        )
    except ValueError as error:
        parser.error(str(error))
    if not found:
        known = rows(every_patch=True)
        asked = " ".join([f"torch {arguments.torch}".strip(), *_with_python(arguments.python)])
        sys.stderr.write(
            f"no release fits {asked}; known are torch {known[0].torch} to {known[-1].torch}\n"
        )
        return 1
    sys.stdout.write(FORMATS[arguments.format](found))
    return 0


def _with_python(python: str | None) -> list[str]:
    return [] if python is None else [f"with Python {python}"]
