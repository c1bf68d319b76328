"""Files that import meshes from their project: they may say neither "mesh" nor "torch", and touch one all the same."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshcompat.audit.values import Kind, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.files import Found
    from meshcompat.audit.projects import Project
    from meshcompat.audit.reading.registry import Registry

_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+)?import\b[ \t]*(\([^)]*\)|[^\n#]*)", re.MULTILINE
)
_PRIVATE = re.compile(rb"\._[a-z]")


@dataclass(frozen=True)
class _Makers:
    """What the modules that were read hand out."""

    by_module: dict[str, frozenset[str]]
    """Names that lead to meshes, by module."""
    names: frozenset[str]
    tops: frozenset[str]
    """First parts of the names of the project's modules."""


def importers(project: Project, registry: Registry, known: set[str]) -> Iterator[tuple[str, Found]]:
    """Yield the modules of a project, beside those known by their paths, that import what leads to a mesh."""
    makers = _makers(registry)
    if not makers.names:
        return
    seen = set(known)
    for module, one in project.files.items():
        if one.path not in seen and _imports(module, one, makers, registry):
            seen.add(one.path)
            yield module, one


def _makers(registry: Registry) -> _Makers:
    found = {
        module: frozenset(name for name, value in layer.items() if _leads_to_mesh(value, registry))
        for module, layer in registry.modules.items()
    }
    found = {module: names for module, names in found.items() if names}
    tops = frozenset(module.partition(".")[0] for module in registry.module_names)
    return _Makers(found, frozenset().union(*found.values()), tops)


def _leads_to_mesh(value: Value, registry: Registry, depth: int = 0) -> bool:
    if value.kind is Kind.CONTAINER:
        return depth < 4 and _leads_to_mesh(value.data, registry, depth + 1)
    if value.kind is Kind.SEQUENCE:
        return depth < 4 and any(_leads_to_mesh(one, registry, depth + 1) for one in value.data)
    if value.kind is Kind.FUNCTION:
        returns = value.data.returns
        return depth < 4 and returns is not None and _leads_to_mesh(returns, registry, depth + 1)
    return value.kind is Kind.MESH or _keeps_meshes(value, registry)


def _keeps_meshes(value: Value, registry: Registry) -> bool:
    record = registry.classes.get(value.name) if value.kind is Kind.OBJECT else None
    return record is not None and any(one.kind is Kind.MESH for one in record.attributes.values())


def _imports(module: str, one: Found, makers: _Makers, registry: Registry) -> bool:
    is_package = one.path.endswith("__init__.py")
    for matched in _IMPORT.finditer(one.content):
        source = (matched[1] or b"").decode(errors="replace")
        if source and not source.startswith(".") and source.partition(".")[0] not in makers.tops:
            continue
        home = _absolute(source, module, is_package=is_package)
        for part in matched[2].strip(b"() \t").split(b","):
            name = (part.split() or [b""])[0].decode(errors="replace")
            if _is_maker(f"{home}.{name}" if home else name, one.content, makers, registry):
                return True
    return False


def _is_maker(path: str, content: bytes, makers: _Makers, registry: Registry) -> bool:
    """Whether a path leads to a mesh; a class or a module only where the file uses a member that may."""
    if path in makers.by_module:
        return any(f".{name}".encode() in content for name in makers.by_module[path])
    if path.rpartition(".")[2] not in makers.names:
        return False
    value = registry.resolve(path)
    if value.kind is Kind.OBJECT:
        return _keeps_meshes(value, registry) and _PRIVATE.search(content) is not None
    return _leads_to_mesh(value, registry)


def _absolute(source: str, module: str, *, is_package: bool) -> str:
    """Return the module that a ``from`` names, as `reading.imports` does."""
    name = source.lstrip(".")
    level = len(source) - len(name)
    if not level:
        return name
    parts = module.split(".")
    up = level - (1 if is_package else 0)
    base = parts[: len(parts) - up] if up else parts
    return ".".join([*base, *([name] if name else [])])
