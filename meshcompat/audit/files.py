"""Finding source files: in folders, wheels and sdists; what cannot be read is told of and skipped."""

from __future__ import annotations

import fnmatch
import os
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SKIPPED_FOLDERS = {"__pycache__", "node_modules", "site-packages", "venv"}
"""Folders that hold no source of the project, beside hidden ones."""
LARGEST = 64 * 2**20
"""Bytes of a file; what is larger is no source."""
PROJECT_FILES = {"pyproject.toml", "setup.cfg", "setup.py", "PKG-INFO"}
_ZIPS = (".whl", ".zip")
_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")


@dataclass(frozen=True)
class Found:
    """A file that was found: its content, or why there is none."""

    path: str
    """Relative to the folder that was given, with ``/``."""
    shown: str
    """As the user would open it from where the command runs."""
    content: bytes = b""
    problem: str = ""
    real: Path | None = None
    """The file itself, where it lies in a folder."""
    only_tells: bool = False
    """Whether it was not asked for, and only tells of its project."""


def find(given: Path, exclude: Sequence[str], *, base: str = "") -> Iterator[Found]:
    """Yield the Python files, and what tells of projects, in a file, folder, wheel or sdist."""
    if given.is_dir():
        yield from _in_folder(given, exclude, base)
    elif given.name.endswith(_ZIPS):
        yield from _in_zip(given, exclude)
    elif given.name.endswith(_TARS):
        yield from _in_tar(given, exclude)
    else:
        yield _read(given, base + given.name if base else given.name, os.fspath(given))


def project_files(folder: Path, base: str) -> Iterator[Found]:
    """Yield the files of one folder that tell of projects."""
    for name in sorted(PROJECT_FILES):
        if (folder / name).is_file():
            yield _read(folder / name, base + name, os.fspath(folder / name))


def is_taken(given: Path) -> bool:
    """Whether a path is of a kind that is read: a folder, a Python file, a wheel or an sdist."""
    return given.is_dir() or given.name.endswith((".py", *_ZIPS, *_TARS))


def is_excluded(path: str, exclude: Sequence[str]) -> bool:
    """Whether a glob names a path, one of the folders above it, or its bare name."""
    pure = PurePosixPath(path)
    candidates = [path, *(str(parent) for parent in pure.parents if str(parent) != ".")]
    names = pure.parts
    return any(
        fnmatch.fnmatchcase(candidate, glob) for glob in _globs(exclude) for candidate in candidates
    ) or any(
        fnmatch.fnmatchcase(name, glob)
        for glob in exclude
        if "/" not in glob.strip("/")
        for name in names
    )


def _globs(exclude: Sequence[str]) -> list[str]:
    plain = [glob.strip("/").removeprefix("./") for glob in exclude]
    return [*plain, *(glob[3:] for glob in plain if glob.startswith("**/"))]


def _in_folder(root: Path, exclude: Sequence[str], base: str) -> Iterator[Found]:
    problems: list[OSError] = []
    for place, folders, names in os.walk(root, onerror=problems.append):
        relative = Path(place).relative_to(root).as_posix()
        prefix = base + ("" if relative == "." else relative + "/")
        folders[:] = sorted(
            name
            for name in folders
            if _is_wanted(place, name) and not is_excluded(prefix + name, exclude)
        )
        for name in sorted(names):
            path = prefix + name
            wanted = (
                name.endswith(".py")
                or name in PROJECT_FILES
                or (name == "METADATA" and place.endswith(".dist-info"))
            )
            if wanted and not is_excluded(path, exclude):
                real = Path(place, name)
                yield _read(real, path, os.fspath(real))
    for error in problems:
        folder = Path(error.filename or root)
        inside = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else folder.name
        yield Found(
            base + inside, os.fspath(folder), problem=f"cannot be opened: {error.strerror or error}"
        )


def _is_wanted(place: str, name: str) -> bool:
    if name in SKIPPED_FOLDERS or (name.startswith(".") and name not in {".", ".."}):
        return False
    full = os.path.join(place, name)  # noqa: PTH118  (called for every folder of a tree)
    return not os.path.islink(full) and not os.path.exists(os.path.join(full, "pyvenv.cfg"))  # noqa: PTH110, PTH114, PTH118


def _read(real: Path, path: str, shown: str) -> Found:
    try:
        status = real.stat()
        if not stat.S_ISREG(status.st_mode):
            return Found(path, shown, problem="no regular file")
        if status.st_size > LARGEST:
            return Found(path, shown, problem=f"larger than {LARGEST >> 20} MB")
        return Found(path, shown, real.read_bytes(), real=real)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Found(path, shown, problem=f"cannot be opened: {reason or error}")


def _in_zip(archive: Path, exclude: Sequence[str]) -> Iterator[Found]:
    try:
        with zipfile.ZipFile(archive) as wheel:
            for item in sorted(wheel.infolist(), key=lambda item: item.filename):
                if _is_member(item.filename) and not is_excluded(item.filename, exclude):
                    yield _member(
                        archive, item.filename, item.file_size, lambda item=item: wheel.read(item)
                    )
    except (OSError, zipfile.BadZipFile) as error:
        yield Found(
            archive.name, os.fspath(archive), problem=f"no archive that can be read: {_line(error)}"
        )


def _in_tar(archive: Path, exclude: Sequence[str]) -> Iterator[Found]:
    try:
        with tarfile.open(archive) as sdist:
            for item in sdist:
                path = item.name.removeprefix("./").partition("/")[2] or item.name
                if item.isfile() and _is_member(path) and not is_excluded(path, exclude):
                    yield _member(
                        archive, path, item.size, lambda item=item: _extracted(sdist, item)
                    )
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        yield Found(
            archive.name, os.fspath(archive), problem=f"no archive that can be read: {_line(error)}"
        )


def _extracted(sdist: tarfile.TarFile, item: tarfile.TarInfo) -> bytes:
    stream = sdist.extractfile(item)
    return stream.read() if stream is not None else b""


def _is_member(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(".py") or name in PROJECT_FILES or path.endswith(".dist-info/METADATA")


def _member(archive: Path, path: str, size: int, read: object) -> Found:
    shown = f"{archive}!{path}"
    if size > LARGEST:
        return Found(path, shown, problem=f"larger than {LARGEST >> 20} MB")
    try:
        return Found(path, shown, read())  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001  (a damaged or encrypted member raises many things)
        return Found(path, shown, problem=f"cannot be read from the archive: {_line(error)}")


def _line(error: Exception) -> str:
    """Return what an error says, in one line: `tarfile` adds one for each form that it tried."""
    return str(error).partition("\n")[0].rstrip(":")
