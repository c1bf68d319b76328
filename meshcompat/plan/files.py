"""Files that say what to plan: TOML or JSON, with the names of the flags as keys."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def read(path: str) -> dict[str, Any]:
    """Return the keys and values of a file; dashes in keys are underscores.

    Raises:
        ValueError: The file cannot be read, in words for the user.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in {".toml", ".json"}:
        raise ValueError(f"{path!r} must end in .toml or .json")
    loads = _json_loads if suffix == ".json" else _toml_loads(path)
    try:
        found = loads(Path(path).read_text(encoding="utf-8-sig"))  # some editors begin with a mark
    except OSError as error:
        raise ValueError(f"cannot read {path!r}: {error.strerror}") from error
    except ValueError as error:  # what is not UTF-8, TOML or JSON is one
        raise ValueError(f"cannot read {path!r}: {error}") from error
    except RecursionError as error:
        raise ValueError(
            f"cannot read {path!r}: it is nested too deeply; give keys and values, such as tp = 8"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{path!r} must hold keys and values, such as tp = 8")  # noqa: TRY004
    try:
        return _once_each([(key.replace("-", "_"), value) for key, value in found.items()])
    except ValueError as error:
        raise ValueError(f"cannot read {path!r}: {error}") from error


def _json_loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once_each)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return pairs as a dict; JSON would take the last of those that have the same key."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"it gives the key {twice!r} twice; give it once")
    return found


def _toml_loads(path: str) -> Callable[[str], Any]:
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        loads: Callable[[str], Any] = importlib.import_module(name).loads
    except ImportError as error:
        raise ValueError(
            f"{path!r} is TOML, which Python reads from 3.11 on; install tomli, or give JSON"
        ) from error
    return loads
