# PYTHON_ARGCOMPLETE_OK
"""The command ``meshcompat``, also ``python -m meshcompat``.

Each sub-command is a folder that knows nothing of the others. Its module ``cli`` has
``add_arguments(parser)`` and ``run(parser, arguments)``, which returns the exit code; only the one
that was asked for is imported. `_help.describe` gives it the help that all of them have.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING

from meshcompat import _help, _output, _release

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "audit": "find where source depends on one release of torch's meshes, and say what to write instead",
    "verify": "try every process group of a training job's meshes, before the job",
    "plan": "the meshes of a job on paper: ranks, nodes, groups, what to look out for",
    "api": "on which torch releases a name of DeviceMesh exists, and what to write instead",
    "matrix": "the releases of torch to test a library with, for its own CI",
    "doctor": "what a bug report needs, and what this torch's own DeviceMesh does wrong",
}
"""Every sub-command, and what it is for in one line."""

_REFUSED = 2
_FAILED = 3
_INTERRUPTED = 130
_PIPE_CLOSED = 141
"""What a shell reports of a program that ended because nobody read on: 128 and the number of SIGPIPE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: Arguments without the program's name; by default those of the process.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    _output.stand_in_for_closed()
    try:
        return _run_and_flush(given)
    except KeyboardInterrupt:
        _output.say("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        _output.discard()
        return _PIPE_CLOSED
    except Exception as error:  # noqa: BLE001  (told in one line, or by its traceback)
        return _told(error, given)


def _run_and_flush(given: list[str]) -> int:
    """Run, and write out what was printed: only then is it known to have arrived."""
    try:
        code = _run(given)
    except SystemExit:  # help ends so, too
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def _told(error: Exception, given: Sequence[str]) -> int:
    """Tell an error in one line, or by its traceback, and return the exit code."""
    refusal = _output.refusal_of(error)
    if refusal is not None:
        _output.discard()
        _output.say(f"{_named(given)}: error: {refusal}")
        return _REFUSED
    if "--debug" in given:
        import traceback  # noqa: PLC0415  (seldom needed)

        traceback.print_exc()
    else:
        _output.say(_worded(error, given))
    return _FAILED


def _named(given: Sequence[str]) -> str:
    return " ".join(["meshcompat", *(word for word in given[:1] if word in COMMANDS)])


def _worded(error: Exception, given: Sequence[str]) -> str:
    command = _named(given)
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        return f"{command}: error: torch is not installed, and this command needs it"
    text = " ".join(str(error).split())
    return f"{command}: error: {type(error).__name__}: {text} (--debug shows where)"


def _run(given: list[str]) -> int:
    parser = _parser(given)
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete  # noqa: PLC0415  (optional; a shell that completes has it)

        argcomplete.autocomplete(parser)
    arguments, unknown = parser.parse_known_args(given)
    if unknown:
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    code: int = arguments.run(arguments.parser, arguments)
    return code


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of the sub-command that was asked for."""
    parser = _help.Parser(prog="meshcompat")
    _help.describe(
        parser,
        "Stable device-mesh operations for every PyTorch from 2.2 on, and tools about them.",
        examples=[
            "meshcompat COMMAND --help",
            "meshcompat verify -n 8",
            "meshcompat api DeviceMesh._flatten",
        ],
        exit_codes={
            0: "all is well",
            1: "what was looked for is there, or what was asked for is not: each command says which",
            _REFUSED: "the call itself was wrong, or the output cannot be written",
            _FAILED: "an error that was not foreseen; --debug shows where",
            _INTERRUPTED: "interrupted by Ctrl-C",
        },
    )
    own = _release.own_version()
    parser.add_argument("--version", action="version", version=f"meshcompat {own}")
    _add_debug(parser, default=False)
    commands = parser.add_subparsers(
        title="commands",
        metavar="COMMAND",
        dest="command",
        required=True,
        parser_class=_help.Parser,
    )
    words = os.environ.get("COMP_LINE", "").split() if "_ARGCOMPLETE" in os.environ else given
    asked = next((word for word in words if word in COMMANDS), None)
    for name, purpose in COMMANDS.items():
        subparser = commands.add_parser(name, help=purpose)
        if name == asked:
            cli = importlib.import_module(f"meshcompat.{name}.cli")
            cli.add_arguments(subparser)
            _add_debug(subparser, default=argparse.SUPPRESS)
            subparser.set_defaults(run=cli.run, parser=subparser)
    return parser


def _add_debug(parser: argparse.ArgumentParser, *, default: object) -> None:
    parser.add_argument(
        "--debug",
        action="store_true",
        default=default,
        help="show the traceback of an error that was not foreseen",
    )


if __name__ == "__main__":
    sys.exit(main())
