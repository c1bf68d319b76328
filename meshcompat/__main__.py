"""The command ``meshcompat``, also ``python -m meshcompat``.

Each sub-command is a folder that knows nothing of the others. Its module ``cli`` has
``add_arguments(parser)`` and ``run(parser, arguments)``, which returns the exit code; only the one
that was asked for is imported.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "verify": "try every process group of a training job's meshes, before the job",
}
"""Every sub-command, and what it is for in one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: Arguments without the program's name; by default those of the process.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="meshcompat", description="Stable device-mesh operations for PyTorch."
    )
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    asked = next((word for word in given if word in COMMANDS), None)
    for name, purpose in COMMANDS.items():
        subparser = commands.add_parser(name, help=purpose)
        if name == asked:
            cli = importlib.import_module(f"meshcompat.{name}.cli")
            cli.add_arguments(subparser)
            subparser.set_defaults(run=cli.run, parser=subparser)
    arguments = parser.parse_args(given)
    try:
        code: int = arguments.run(arguments.parser, arguments)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
