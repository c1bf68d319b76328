"""Where the name of a flattened mesh stands in a project, and whether each place may look it up."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from meshcompat.audit import files
from meshcompat.audit.fix.calls import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from meshcompat.audit.fix.page import Page
    from meshcompat.audit.report import Part
    from meshcompat.audit.survey import Survey

_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_MESH = re.compile(r"(.*_)?mesh(_?\d+d?)?", re.IGNORECASE)
_BY_NAME = {"get_group", "get_local_rank"}
_REGISTRIES = {"_flatten_mapping", "root_to_flatten_mapping", "flatten_name_to_root_dims"}
"""Where torch keeps the names of flattened meshes: from 2.10 on in the root, before in `_mesh_resources`."""
_REGISTRY = [name.encode() for name in sorted(_REGISTRIES)]


def call_by_name(node: ast.Constant, page: Page, meshes: Collection[str]) -> ast.Call | None:
    """Return the call ``mesh.get_group("n")`` that a name is an argument of, or None."""
    around = page.parents.get(node)
    around = page.parents.get(around) if isinstance(around, ast.keyword) else around
    if (
        isinstance(around, ast.Call)
        and isinstance(around.func, ast.Attribute)
        and around.func.attr in _BY_NAME & METHODS.keys()
    ):
        receiver = around.func.value
        last = receiver.attr if isinstance(receiver, ast.Attribute) else ""
        last = receiver.id if isinstance(receiver, ast.Name) else last
        is_mesh = _MESH.fullmatch(last) is not None or ast.unparse(receiver) in meshes
        return around if is_mesh else None
    return None


def is_idle(node: ast.Constant, page: Page) -> bool:
    """Whether a name stands where nothing looks it up: a text of its own, names of native dims, our functions."""
    around = page.parents.get(node)
    if isinstance(around, ast.Expr):
        return True
    for one in page.around(node):
        if isinstance(one, ast.keyword) and one.arg == "mesh_dim_names":
            return True
        if isinstance(one, ast.Call) and "meshcompat." in ast.unparse(one.func):
            return True
        if isinstance(one, (ast.Subscript, ast.stmt)):
            return False
    return False


def registry_reads(page: Page) -> Iterator[ast.expr]:
    """Yield where a file reads torch's registries of flattened names; to ask whether there is one reads no name."""
    if not _names_registry(page.found.content):
        return
    for node in ast.walk(page.source.tree):
        if isinstance(node, ast.Attribute) and node.attr in _REGISTRIES:
            yield node
        if isinstance(node, ast.Constant) and _is_read(node, page):
            yield node


def _is_read(node: ast.Constant, page: Page) -> bool:
    if not isinstance(node.value, str) or _REGISTRIES.isdisjoint(node.value.split(".")):
        return False
    around = page.parents.get(node)
    return not (isinstance(around, ast.Call) and ast.unparse(around.func) == "hasattr")


def _names_registry(content: bytes) -> bool:
    return any(name in content for name in _REGISTRY)


def read_elsewhere(part: Part, seen: Survey) -> str:
    """Return a file beside those that were parsed that names one of torch's registries, or nothing."""
    return _elsewhere(_names_registry, part, seen)


def elsewhere(name: str, part: Part, seen: Survey) -> str:
    """Return a file beside those that were parsed in which a name stands as a string, or nothing."""
    quoted = (f'"{name}"'.encode(), f"'{name}'".encode())
    return _elsewhere(lambda content: any(text in content for text in quoted), part, seen)


def _elsewhere(holds: Callable[[bytes], bool], part: Part, seen: Survey) -> str:
    for project in seen.projects:
        for one in project.files.values():
            if one.path not in seen.sources and holds(one.content):
                return one.path
    read = [path.resolve() for path in part.paths or (part.given,)]
    for one in _beside(read):
        if one.real is None or not holds(one.content):
            continue
        real = one.real.resolve()
        if not any(real == inside or inside in real.parents for inside in read):
            return one.path
    return ""


def _beside(read: Sequence[Path]) -> Iterator[files.Found]:
    """Yield the files of the projects, or else of the packages, that paths are only a part of."""
    roots = {path: _root(path) for path in read}
    for root in dict.fromkeys(roots.values()):
        yield from files.find(root, ()) if root is not None else ()
    for script in (path for path in read if roots[path] is None and path.is_file()):
        name = re.compile(rb"\b" + re.escape(script.stem.encode()) + rb"\b")
        for path in sorted(script.parent.glob("*.py")):  # those that may import it
            yield from (one for one in files.find(path, ()) if name.search(one.content))


def _root(place: Path) -> Path | None:
    """Return the folder of the project or package around a path that is only a part of it, or None."""
    if any((place / name).exists() for name in _PROJECT):
        return None
    for folder in place.parents:
        if any((folder / name).exists() for name in _PROJECT):
            return folder
    top = place
    while (top.parent / "__init__.py").exists():
        top = top.parent
    return top if top != place else None
