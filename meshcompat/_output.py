"""What the command writes to: standard output and error, files; and whether in colour."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys

_UNWRITABLE = {
    errno.ENOSPC: "no space is left there",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file would be too large",
    errno.EIO: "the device fails",
    errno.EBADF: "it is closed, or not open for writing",
}
"""What the system says of an output that takes nothing."""


_NARROWEST = 60


class OutputError(Exception):
    """A file that was asked for cannot be written; in words for the user."""

    def __init__(self, path: object, error: OSError) -> None:
        """Say which file, and what the system said."""
        super().__init__(f"cannot write {str(path)!r}: {error.strerror}; name another file")


def refusal_of(error: BaseException) -> str | None:
    """Return what is to be said where the user's output cannot be written; None of other errors."""
    if isinstance(error, OutputError):
        return str(error)
    why = _UNWRITABLE.get(error.errno or 0) if isinstance(error, OSError) else None
    return why and f"cannot write the output: {why}; send it elsewhere"


def stand_in_for_closed() -> None:
    """Give the process the streams that it was started without.

    What is printed to standard output then fails when it is written, and not before: there may be
    nothing to print. Nobody hears what standard error says.
    """
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def discard() -> None:
    """Send the rest of standard output nowhere: Python flushes it once more when it ends."""
    with contextlib.suppress(OSError):  # a stream in memory has no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: str) -> None:
    """Write a line to standard error, if anybody can hear it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")


def width() -> int:
    """Return the columns of the terminal, and not less than 60: what is printed fits into these."""
    return max(shutil.get_terminal_size().columns, _NARROWEST)


def wants_colour() -> bool:
    """Whether a terminal reads standard output, and colours are not refused.

    As https://no-color.org has it, ``NO_COLOR`` does not count where it is empty.
    """
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
