"""Paths of one call that are read together, so that a project has one verdict and each file a path of its own."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from meshcompat.audit import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from meshcompat.audit.files import Found


class Given(NamedTuple):
    """What is read together."""

    base: Path
    """The folder that paths are relative to; the file or archive itself where it is the only one."""
    paths: tuple[Path, ...]
    """What is read of it."""


def together(paths: Sequence[Path]) -> list[Given]:
    """Return files and folders as one, in the folder that holds them all, and each archive by itself."""
    paths = list(dict.fromkeys(paths))
    loose = [path for path in paths if path.is_dir() or path.suffix == ".py"]
    archives = [Given(path, (path,)) for path in paths if path not in loose]
    if len(loose) < 2:
        return [*(Given(path, (path,)) for path in loose), *archives]
    return [Given(_common(loose), tuple(loose)), *archives]


def found(given: Given, exclude: Sequence[str]) -> Iterator[Found]:
    """Yield each file once, and what tells of the projects around the paths."""
    base, paths = given
    if paths == (base,):
        yield from files.find(base, exclude)
        return
    seen: set[str] = set()
    for path in paths:
        inside = Path(os.path.abspath(path)).relative_to(os.path.abspath(base))  # noqa: PTH100
        for one in _of(path, inside, exclude):
            if one.path not in seen:
                seen.add(one.path)
                yield one
    for folder in dict.fromkeys(_between(base, paths)):
        for one in files.project_files(base / folder, f"{folder.as_posix()}/"):
            if one.path not in seen:
                yield replace(one, only_tells=True)


def _of(path: Path, inside: Path, exclude: Sequence[str]) -> Iterator[Found]:
    folder = inside if path.is_dir() else inside.parent
    yield from files.find(path, exclude, base="" if folder == Path() else f"{folder.as_posix()}/")


def _between(base: Path, paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the folders between the common one and each path, relative to the first."""
    for path in paths:
        inside = Path(os.path.abspath(path)).relative_to(os.path.abspath(base))  # noqa: PTH100
        yield from (folder for folder in inside.parents if folder != Path())


def _common(paths: Sequence[Path]) -> Path:
    """Return the folder that holds all paths, relative to the current one where they all are."""
    common = os.path.commonpath([os.path.abspath(path) for path in paths])  # noqa: PTH100
    is_relative = not any(path.is_absolute() for path in paths)
    folder = Path(os.path.relpath(common) if is_relative else common)
    return folder if folder.is_dir() else folder.parent
