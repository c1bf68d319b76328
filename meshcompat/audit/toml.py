"""Reading TOML, where this Python can."""

from __future__ import annotations

import sys
from typing import Any


class TomlError(Exception):
    """A text that is no TOML, or that this Python cannot read."""


def loads(text: str) -> dict[str, Any]:
    """Return a TOML text as data.

    Raises:
        TomlError: It is no TOML; or Python is 3.10, whose standard library has no reader, and `tomli` is missing.
    """
    if sys.version_info >= (3, 11):
        import tomllib as reader  # noqa: PLC0415
    else:
        try:
            import tomli as reader  # noqa: PLC0415
        except ImportError:
            raise TomlError(
                "Python 3.10 reads no TOML: install meshcompat[audit], which brings tomli"
            ) from None
    try:
        found: dict[str, Any] = reader.loads(text)
    except reader.TOMLDecodeError as error:
        raise TomlError(str(error)) from None
    except RecursionError:
        raise TomlError("nested too deeply") from None
    return found
