"""Writing files, each at once: no reader sees half of one, and none that changed meanwhile is replaced."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from meshcompat.audit.fix.edits import RefusedError

if TYPE_CHECKING:
    from meshcompat.audit.files import Found


def write(found: Found, content: bytes) -> None:
    """Replace a file that is still as it was read, in one step, and keep its mode.

    Raises:
        RefusedError: It changed, or cannot be written.
    """
    real = found.real
    if real is None:
        raise RefusedError("it lies in an archive: unpack that first")
    try:
        check(found)
        mode = stat.S_IMODE(real.stat().st_mode)
        number, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with os.fdopen(number, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(mode)
            check(found)
            Path(name).replace(real)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise RefusedError(f"it cannot be written: {error.strerror or error}") from None


def check(found: Found) -> None:
    """Refuse a file that is no more as it was read.

    Raises:
        RefusedError: It changed.
    """
    if found.real is None or found.real.read_bytes() != found.content:
        raise RefusedError("it changed while it was read: run again")
