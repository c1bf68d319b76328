"""The command ``meshcompat``, also ``python -m meshcompat``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from meshcompat.verify import arguments

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: Arguments without the program's name; by default those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="meshcompat", description="Stable device-mesh operations for PyTorch."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    verify = commands.add_parser(
        "verify", help="try every process group of a training job's meshes, before the job"
    )
    arguments.add_arguments(verify)
    request = arguments.read(verify, parser.parse_args(argv), os.environ)
    # What draws the screen takes longer to import than help takes to print.
    from meshcompat.verify import command  # noqa: PLC0415

    try:
        return command.run(request)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
