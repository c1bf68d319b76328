"""The way in of ``meshcompat verify``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from meshcompat.verify.arguments import add_arguments, read

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Verify what the arguments ask for, and return the exit code."""
    request = read(parser, arguments, os.environ)
    # What draws the screen takes longer to import than help takes to print.
    from meshcompat.verify import command  # noqa: PLC0415

    return command.run(request)
