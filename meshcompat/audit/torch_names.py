"""torch's names as the table knows them, and which of them the audit looks for."""

from __future__ import annotations

import functools
import re

from meshcompat.api import table
from meshcompat.audit.releases import ALL, Releases

MESH = "torch.distributed.device_mesh.DeviceMesh"
INIT = "torch.distributed.device_mesh.init_device_mesh"
RESOURCES = "torch.distributed.device_mesh._mesh_resources"
ENVIRONMENT = "torch.distributed.device_mesh._MeshEnv"
LAYOUT = "torch.distributed._mesh_layout._MeshLayout"
FLAT_LAYOUT = "torch.distributed._mesh_layout._FlatLayout"

_HOMES = {
    path.rpartition(".")[2]: path
    for path in (MESH, INIT, RESOURCES, ENVIRONMENT, LAYOUT, FLAT_LAYOUT)
}
_MODULES = ("torch.distributed.device_mesh", "torch.distributed._mesh_layout", "torch.distributed._tensor.device_mesh",
            "torch.distributed.tensor.device_mesh")  # fmt: skip
_REACHED = ("torch.distributed", "torch.distributed.tensor", "torch.distributed._tensor")
"""Packages that offer names of meshes beside many others, which are none of the audit's business."""


def canonical(path: str) -> str:
    """Return the path where torch defines a name, for any path that offers it."""
    if not path.startswith("torch."):
        return path
    home = _HOMES.get(path.rpartition(".")[2])
    return home or path


REACHED_MODULES = frozenset({*_MODULES, *_REACHED})


@functools.cache
def member(owner: str, name: str) -> table.Name | None:
    """Return what is known of an attribute of a class or instance."""
    if name.startswith("__"):
        return None
    return table.lookup(f"{owner}.{name}")


@functools.cache
def in_module(module: str, name: str) -> table.Name | None:
    """Return what is known of a name that is imported from a module, where it is about meshes."""
    if module in _REACHED and canonical(f"{module}.{name}") == f"{module}.{name}":
        return None
    if module not in _MODULES and module not in _REACHED:
        return None
    return table.lookup(f"{module}.{name}")


@functools.cache
def module_releases(module: str) -> Releases | None:
    """Return the releases that have a module about meshes, or None for another module."""
    if module not in _MODULES:
        return None
    found = table.lookup(module)
    return None if found is None else on(found)


@functools.cache
def parameter_releases(function: str, keyword: str) -> Releases | None:
    """Return the releases whose signature has a keyword, or None where the function takes any or none is known."""
    found = table.lookup(function)
    if found is None or any(name.startswith("**") for name in found.parameters):
        return None
    releases = found.parameters.get(keyword)
    return None if releases is None else frozenset(releases) & ALL


def on(name: table.Name) -> Releases:
    """Return the releases, one a minor, that have a name."""
    return frozenset(name.releases) & ALL


def warns_on(name: table.Name) -> Releases:
    """Return the releases on which each call warns."""
    return frozenset(name.warns) & ALL


def is_private(name: str) -> bool:
    """Whether a name is private by its spelling."""
    return name.startswith("_") and not name.startswith("__")


@functools.cache
def distinctive() -> frozenset[str]:
    """Return the members of torch's classes that not all releases have and whose name alone means something."""
    found = set()
    for owner in (MESH, ENVIRONMENT):
        for row in table.matching(f"{owner}."):
            name = row.name.rpartition(".")[2]
            if on(row) != ALL and (is_private(name) or "mesh" in name):
                found.add(name)
    return frozenset(found)


MESH_WORD = re.compile("(?i)mesh")

DEFINING = (
    f"{MESH}", INIT, f"{RESOURCES}.", f"{ENVIRONMENT}.", LAYOUT, FLAT_LAYOUT,
)  # fmt: skip
"""What keyword arguments are looked at of."""


@functools.cache
def row(path: str) -> table.Name | None:
    """Return what is known of a full path."""
    return table.lookup(path)
