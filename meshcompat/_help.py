"""How every sub-command describes itself: what it is for, examples, exit codes, in any width.

A sub-command's ``cli`` calls `describe`. What is wrong with a call is one line on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import textwrap
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong with a call."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2; the usage, which argparse would print too, is a ``--help`` away."""
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print; argparse would hide that standard output cannot be written."""
        if file is sys.stdout:
            sys.stdout.write(message)
        else:
            with contextlib.suppress(OSError):
                (file or sys.stderr).write(message)


class _Formatter(argparse.HelpFormatter):
    """Fills text to the width of the terminal.

    A line that begins with a blank stays as it is; after a tab, a line goes on below its text.
    """

    def _fill_text(self, text: str, width: int, indent: str) -> str:  # noqa: ARG002  (argparse passes it)
        return "\n".join(self._fill_line(line, width) for line in text.strip("\n").split("\n"))

    def _fill_line(self, line: str, width: int) -> str:
        if line.startswith(" "):
            return line
        label, tab, rest = line.rpartition("\t")
        label = f"  {label:<5}" if tab else ""
        blanks = " " * len(label)
        return textwrap.fill(
            rest, width, initial_indent=label, subsequent_indent=blanks, break_on_hyphens=False
        )


def describe(
    parser: argparse.ArgumentParser,
    purpose: str,
    *,
    examples: Sequence[str],
    exit_codes: Mapping[int, str],
) -> None:
    r"""Give a parser the help that every sub-command has.

    Args:
        parser: Parser of the sub-command.
        purpose: What it does, in paragraphs with a blank line between; it is filled to the width.
        examples: Command lines, at most 56 characters each; a longer one is two, with ``\``.
        exit_codes: What each exit code says.
    """
    parser.formatter_class = _Formatter
    parser.description = purpose.strip()
    codes = "\n".join(f"{code}\t{meaning}" for code, meaning in exit_codes.items())
    lines = "\n".join(f"  {example}" for example in examples)
    parser.epilog = f"examples:\n{lines}\n\nexit codes:\n{codes}"
