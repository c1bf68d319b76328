"""How a path is written for services that know the repository by the folder where the command runs."""

from __future__ import annotations

import os
from pathlib import Path


def from_here(path: str) -> str:
    """Return a path relative to the current folder where it lies in it, else as an absolute path."""
    absolute = os.path.normpath(Path.cwd() / path)
    here = Path(absolute)
    return (
        here.relative_to(Path.cwd()).as_posix()
        if here.is_relative_to(Path.cwd())
        else here.as_posix()
    )
