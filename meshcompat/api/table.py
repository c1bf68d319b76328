"""torch's names about meshes and groups, and the releases that have them.

A name is written as torch's code would reach it: ``torch.distributed.device_mesh.DeviceMesh._flatten``,
a path that offers the same thing such as ``torch.distributed.DeviceMesh._flatten``, or short,
``DeviceMesh._flatten``. Releases are strings such as ``2.9.1``, oldest first.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from meshcompat import _release
from meshcompat.api.replacements import REPLACEMENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SOURCE = "https://github.com/pytorch/pytorch/blob"
_SHORT = (
    "torch.distributed.device_mesh.",
    "torch.distributed._mesh_layout.",
    "torch.distributed.distributed_c10d.",
)
"""Modules whose names may be written without the module."""


@dataclass(frozen=True)
class Name:
    """One name of torch, and where it is to be found."""

    name: str
    """The path that was asked for, in full."""
    kind: str
    """``module``, ``class``, ``function``, ``method``, ``property``, ``attribute``, ``instance`` or ``value``."""
    releases: tuple[str, ...]
    """Releases on which this path leads to it."""
    parameters: Mapping[str, tuple[str, ...]] = field(hash=False)
    """Each parameter, without ``self``, with the releases whose signature has it; a class has its constructor's."""
    warns: tuple[str, ...]
    """Releases on which every call warns that it is deprecated."""
    definition: str
    """Where torch defines it: the same as `name`, unless that path only offers it."""
    link: str | None
    """torch's source on the newest of the releases."""
    replacement: str | None
    """What to write instead, on every release; None where there is nothing, or no need."""


@functools.cache
def releases() -> tuple[str, ...]:
    """Return the releases that the table knows, every patch, oldest first."""
    return tuple(_data()["releases"])


@functools.cache
def newest_patches() -> tuple[str, ...]:
    """Return the newest patch of every minor that the table knows, oldest first."""
    newest = {_release.minor_of(release): release for release in releases()}
    return tuple(newest.values())


@functools.cache
def lookup(name: str) -> Name | None:
    """Return what is known of a name, or None where the table does not have it.

    A member may be asked of a class, of another path to the class, or of an instance:
    ``_mesh_resources.get_root_mesh`` is that of ``_MeshEnv``.
    """
    for spelling in (name, *(module + name for module in _SHORT)):
        found = _exact(spelling) or _member(spelling)
        if found is not None:
            return found
    return None


def members(name: str) -> list[Name]:
    """Return the members of this name, of whatever class."""
    found = [_known(path) for path in _data()["names"] if path.rpartition(".")[2] == name]
    return [member for member in found if short_of(member.name).count(".") == 1]


@functools.cache
def special_methods() -> tuple[str, ...]:
    """Return the special methods that the table has of any class; it leaves the others out."""
    lasts = {name.rpartition(".")[2] for name in _data()["names"]}
    return tuple(sorted(last for last in lasts if is_special(last)))


def is_special(name: str) -> bool:
    """Whether a name is that of a special method, such as ``__len__``."""
    last = name.rpartition(".")[2]
    return last.startswith("__") and last.endswith("__")


def matching(prefix: str) -> list[Name]:
    """Return every name that begins like this, in full or from any dot on; definitions come first.

    The underscore of a private name may be left out.
    """
    begins = (f".{prefix}", f"._{prefix}")
    found = [
        _known(name) for name in _data()["names"] if any(begin in f".{name}" for begin in begins)
    ]
    return sorted(found, key=lambda name: (name.definition != name.name, name.name))


def short_of(name: str) -> str:
    """Return how a name may be written: without the module that defines it."""
    module = next((module for module in _SHORT if name.startswith(module)), "")
    return name.removeprefix(module)


def known_release(version: str) -> str:
    """Return the release of the table that a version counts as.

    The same patch, else the newest patch of the same minor, else the newest minor below; so that
    what is newer than the table counts as the newest known. Below the oldest: the oldest.
    """
    plain = version.partition("+")[0]
    if plain in releases():
        return plain
    minor = _release.minor_of(version)
    below = [
        release
        for release in newest_patches()
        if minor is None or (_release.minor_of(release) or minor) <= minor
    ]
    return below[-1] if below else releases()[0]


def is_newer(version: str) -> bool:
    """Whether a version belongs to a minor that came after all that the table knows."""
    minor, newest = _release.minor_of(version), _release.minor_of(releases()[-1])
    return minor is not None and newest is not None and minor > newest


def spans(chosen: Iterable[str]) -> str:
    """Return releases in few words: ``2.2-2.4, 2.10+``; a patch is named where its minor is divided.

    >>> spans(("2.9.0", "2.9.1", "2.10.0"))
    '2.9-2.10'
    """
    wanted = set(chosen)
    runs: list[list[str]] = []
    previous = None
    for release in releases():
        if release in wanted:
            if runs and runs[-1][-1] == previous:
                runs[-1].append(release)
            else:
                runs.append([release])
        previous = release
    return ", ".join(map(_span, runs)) or "none"


def _span(run: list[str]) -> str:
    first, last = _start(run[0]), _end(run[-1])
    if run[-1] == releases()[-1]:
        return f"{first}+"
    return first if first == last or run[0] == run[-1] else f"{first}-{last}"


def _start(release: str) -> str:
    """Return the minor where this is its first patch, else the patch."""
    oldest: dict[object, str] = {}
    for known in releases():
        oldest.setdefault(_release.minor_of(known), known)
    return _short(release) if release in oldest.values() else release


def _end(release: str) -> str:
    return _short(release) if release in newest_patches() else release


def _short(release: str) -> str:
    return release.rpartition(".")[0]


def _exact(name: str) -> Name | None:
    return _known(name) if name in _data()["names"] else None


def _known(name: str) -> Name:
    """Return a row of the table, with what its definition says where the row is another path to it."""
    row = _data()["names"][name]
    definition = row.get("is", name)
    defined = _data()["names"].get(definition, row)
    on = _expanded(row["on"])
    source = defined.get("source")
    return Name(
        name=name,
        kind=row["kind"],
        releases=on,
        parameters=_parameters(defined, on),
        warns=_common(_expanded(defined.get("warns", [])), on),
        definition=definition,
        link=source and f"{_SOURCE}/v{_expanded(defined['on'])[-1]}/{source}",
        replacement=_replacement(definition, row, defined),
    )


def _member(name: str) -> Name | None:
    """Return a member that is asked of another path to its class, or of an instance."""
    owner, _, member = name.rpartition(".")
    row = _data()["names"].get(owner)
    if row is None:
        return None
    definition = row.get("is", owner)
    definition = _data()["names"].get(definition, row).get("of", definition)
    if definition == owner:
        return None
    found = _exact(f"{definition}.{member}")
    if found is None:
        return None
    on = _common(found.releases, _expanded(row["on"]))
    parameters = {key: _common(where, on) for key, where in found.parameters.items()}
    parameters = {key: where for key, where in parameters.items() if where}
    return replace(
        found, name=name, releases=on, parameters=parameters, warns=_common(found.warns, on)
    )


def _replacement(definition: str, row: dict[str, Any], defined: dict[str, Any]) -> str | None:
    """Return what to write instead; for a path that is younger than what it leads to, the older import."""
    if row["on"] != defined["on"]:
        module, _, last = definition.rpartition(".")
        return f"from {module} import {last}"
    return REPLACEMENTS.get(short_of(definition))


def _parameters(row: dict[str, Any], on: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found = {key: _common(_expanded(where), on) for key, where in row.get("parameters", {}).items()}
    return {key: where for key, where in found.items() if where}


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(release for release in left if release in right)


def _expanded(runs: Iterable[str]) -> tuple[str, ...]:
    """Return the releases of runs such as ``2.5.0-2.9.1`` and ``2.10.0+``."""
    found: list[str] = []
    known = releases()
    for run in runs:
        if run.endswith("+"):
            found += known[known.index(run[:-1]) :]
        else:
            first, _, last = run.partition("-")
            found += known[known.index(first) : known.index(last or first) + 1]
    return tuple(found)


@functools.cache
def _data() -> dict[str, Any]:
    text = importlib.resources.files("meshcompat.api").joinpath("names.json").read_text("utf-8")
    data: dict[str, Any] = json.loads(text)
    return data
