"""Files that say what to plan: TOML or JSON, with the names of the flags as keys."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib as toml
else:
    try:
        import tomli as toml
    except ImportError:
        toml = None  # type: ignore[assignment]


def read(path: str) -> dict[str, Any]:
    """Return the keys and values of a file; dashes in keys are underscores.

    Raises:
        ValueError: The file cannot be read, in words for the user.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in {".toml", ".json"}:
        raise ValueError(f"{path!r} must end in .toml or .json")
    if suffix == ".toml" and toml is None:
        raise ValueError(
            f"{path!r} is TOML, which Python reads from 3.11 on; install tomli, or give JSON"
        )
    try:
        text = Path(path).read_text(encoding="utf-8")
        found = toml.loads(text) if suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise ValueError(f"cannot read {path!r}: {error.strerror}") from error
    except ValueError as error:  # what is not UTF-8, TOML or JSON is one
        raise ValueError(f"cannot read {path!r}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path!r} must hold keys and values, such as tp = 8")  # noqa: TRY004
    return {key.replace("-", "_"): value for key, value in found.items()}
