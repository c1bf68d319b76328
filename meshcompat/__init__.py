"""Stable device-mesh operations: the same ranks, groups and errors on every torch from 2.2.

The public names stand in ``__init__.pyi``, once for people, for type checkers and for this module.
Each name is imported from its room when it is first used, so that ``meshcompat --help`` does not
wait for torch.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from typing import Any

from meshcompat import _release, _travel

with contextlib.suppress(ImportError):  # without torch, the commands that only read still work
    _release.require_floor(_release.installed_torch())
_travel.let_torch_load_read_meshes()


def _rooms() -> dict[str, str]:
    """Return the room of every public name, as the stub beside this file lists them."""
    from pkgutil import get_data  # noqa: PLC0415  (not needed by who only asks for --help)

    contents = get_data(__name__, "__init__.pyi") or b""
    imports = re.findall(r"^from (\S+) import [(\s]*(\w+) as \2\b", contents.decode(), re.MULTILINE)
    return {name: room for room, name in imports}


def __getattr__(name: str) -> Any:
    """Return a public name, which is this module's own attribute from then on."""
    value: Any
    if name == "__version__":
        value = _release.own_version()
    elif name == "__all__":
        value = sorted([*_rooms(), "__version__"])
    elif not name.startswith("_") and name in (rooms := _rooms()):
        value = getattr(importlib.import_module(rooms[name]), name)
    else:
        raise AttributeError(f"module 'meshcompat' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    names: list[str] = __getattr__("__all__")
    return names
