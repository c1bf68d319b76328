"""Reading whole projects: three times over, as what one file tells of others comes up late."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshcompat.audit.importers import importers
from meshcompat.audit.projects import Project, group, is_candidate, source_of, tells_of_torch
from meshcompat.audit.reading.reader import Reader
from meshcompat.audit.reading.registry import Registry
from meshcompat.audit.source import FIRST, Source, Span, UnreadableError, decode, is_text, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from meshcompat.audit.files import Found
    from meshcompat.audit.sites import Site


@dataclass(frozen=True)
class Problem:
    """A file that could not be read."""

    path: str
    code: str
    reason: str
    span: Span = FIRST


@dataclass(eq=False)
class Survey:
    """What reading found."""

    projects: list[Project] = field(default_factory=list)
    sites: dict[str, list[Site]] = field(default_factory=dict)
    """By the path of the project."""
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    sources: dict[str, Source] = field(default_factory=dict)
    """Every file that was parsed, by path."""


def survey(found: Iterable[Found], given: Path, *, also_low: bool = False) -> Survey:
    """Read the files that were found in one place."""
    projects, unopened = group(found, given)
    result = Survey(projects)
    result.problems += [Problem(one.path, "MC001", one.problem) for one in unopened]
    for project in projects:
        _read_project(project, result, also_low=also_low)
    return result


def _read_project(project: Project, result: Survey, *, also_low: bool) -> None:
    loaded: dict[str, Source] = {}

    def load(module: str) -> None:
        """Read a module that another file asks about, if it may know something of torch."""
        one = project.files.get(module)
        if one is None or module in loaded:
            return
        if not tells_of_torch(one.content) and not (_is_package(one) and len(one.content) < _SMALL):
            return
        source = _parsed(one, project, module, None)
        if source is not None:
            loaded[module] = source
            _read(source, registry, collect=False, result=None)

    registry = Registry(load)
    registry.module_names = set(project.files)
    registry.packages = {module for module, one in project.files.items() if _is_package(one)}
    _parse_candidates(project, loaded, result, also_low=also_low)
    _share_names(project, registry, loaded)
    new = list(project.sources)
    for _ in range(_ROUNDS):
        for source in [*new, *new]:
            _read(source, registry, collect=False, result=None)
        new = list(_take_importers(project, registry, loaded, result))
        if not new:
            break
    result.sites[project.path] = [
        site
        for source in project.sources
        for site in _read(source, registry, collect=True, result=result)
    ]


def _share_names(project: Project, registry: Registry, loaded: dict[str, Source]) -> None:
    """Make a file that has two names one module."""
    by_path = {source.path: module for module, source in loaded.items()}
    for module, one in project.files.items():
        if one.path in by_path:
            registry.modules[module] = registry.modules.setdefault(by_path[one.path], {})


def _take_importers(
    project: Project, registry: Registry, loaded: dict[str, Source], result: Survey
) -> Iterator[Source]:
    """Take up the files that import meshes from those that were read."""
    known = {source.path for source in project.sources}
    for module, one in list(importers(project, registry, known)):
        source = loaded.get(module) or _parsed(one, project, module, result)
        if source is not None:
            source.imports_meshes = True
            loaded[module] = source
            _share_names(project, registry, loaded)
            project.sources.append(source)
            result.sources[source.path] = source
            yield source


_ROUNDS = 3
"""How many files a mesh is handed on through, at most, that tell of neither meshes nor torch."""
_DEEPEST = 10_000
"""Calls within each other while a file is read: a long `elif` ladder is a deep tree. Parsing keeps the usual limit."""
_SMALL = 100_000
"""Bytes of a package's own file that is read for what it hands on."""


def _is_package(one: Found) -> bool:
    return one.path.rpartition("/")[2] == "__init__.py"


def _parse_candidates(
    project: Project, loaded: dict[str, Source], result: Survey, *, also_low: bool
) -> None:
    seen: set[str] = set()
    for module, one in project.files.items():
        if one.path in seen:
            continue
        seen.add(one.path)
        result.files += 1
        if not is_candidate(one.content, also_low=also_low) and is_text(one.content):
            continue
        source = _parsed(one, project, module, result)
        if source is not None:
            loaded[module] = source
            project.sources.append(source)
            result.sources[source.path] = source


def _parsed(one: Found, project: Project, module: str, result: Survey | None) -> Source | None:
    try:
        source = source_of(one, project, module, decode(one.content))
        source.tree = parse(source.text)
    except UnreadableError as error:
        if result is not None:
            result.problems.append(Problem(one.path, error.code, str(error), error.span))
        return None
    return source


def _read(
    source: Source, registry: Registry, *, collect: bool, result: Survey | None
) -> list[Site]:
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(max(usual, _DEEPEST))
    try:
        return Reader(source, registry, collect=collect).read()
    except RecursionError:
        if result is not None:
            result.problems.append(Problem(source.path, "MC001", "nested too deeply to be read"))
        return []
    except Exception as error:  # noqa: BLE001  (one file must not take the others along)
        if result is not None:
            reason = f"not understood, please report it: {type(error).__name__}: {error}"
            result.problems.append(Problem(source.path, "MC001", reason))
        return []
    finally:
        sys.setrecursionlimit(usual)
