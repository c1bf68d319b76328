"""Projects: which files belong together, by what name they import each other, and the torch that they declare."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshcompat.audit import declared
from meshcompat.audit.declared import Declared
from meshcompat.audit.files import PROJECT_FILES, Found
from meshcompat.audit.source import PRIVATE_OF_TORCH, Source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MESH = re.compile(rb"mesh(?!grid)|Mesh|MESH")
_TORCH = re.compile(rb"torch|[dD]evice_?[mM]esh|meshcompat")
PRIVATE_OF_TORCH_BYTES = re.compile(PRIVATE_OF_TORCH.pattern.encode())
_ASKS = re.compile(rb"__version__|[vV]ersion\(|version\.parse|hasattr\(|find_spec")
_PRIVATE_ALONE = (
    b"_mesh_resources",
    b"._flatten_mapping",
    b"._dim_group_names",
    b"._dim_group_infos",
)
"""Names that belong to torch's meshes and to nothing else, in files that say neither "mesh" nor "torch"."""
_DISTINCTIVE = re.compile(
    rb"\b_(flatten|unflatten|concatenate|layout|get_root_mesh|flatten_mapping|dim_group_names|dim_group_infos|pg_registry|root_mesh|rank_map)\b"
)


@dataclass(eq=False)
class Project:
    """A project, and the files of it that are read."""

    path: str
    declared: Declared = field(default_factory=Declared)
    files: dict[str, Found] = field(default_factory=dict)
    """Every file of the project by the name of its module."""
    sources: list[Source] = field(default_factory=list)


def is_candidate(content: bytes, *, also_low: bool) -> bool:
    """Whether a file can touch a mesh at all: a look at its text, which spares parsing most of them."""
    if _MESH.search(content) is not None and (
        _TORCH.search(content) is not None or PRIVATE_OF_TORCH_BYTES.search(content) is not None
    ):
        return True
    if any(name in content for name in _PRIVATE_ALONE):
        return True
    if b"meshcompat: ignore" in content:  # which silences nothing, and is told of
        return True
    return also_low and _DISTINCTIVE.search(content) is not None


def tells_of_torch(content: bytes) -> bool:
    """Whether a file may hold what others ask about torch: a mesh, or a test of its version."""
    return b"torch" in content and (
        _MESH.search(content) is not None or _ASKS.search(content) is not None
    )


def group(found: Iterable[Found], given: Path) -> tuple[list[Project], list[Found]]:
    """Sort files into projects by the nearest project file at or above them; return those without content too."""
    texts: dict[str, dict[str, bytes]] = {}
    python: list[Found] = []
    problems: list[Found] = []
    for one in found:
        folder, _, name = one.path.rpartition("/")
        if one.problem:
            problems.append(one)
        elif name == "METADATA":
            texts.setdefault(folder.rpartition("/")[0], {})[name] = one.content
        elif name in PROJECT_FILES:
            texts.setdefault(folder, {})[name] = one.content
        if not (one.problem or one.only_tells) and name.endswith(".py"):
            python.append(one)
    roots = {
        folder
        for folder, files in texts.items()
        if any(
            declared.is_project(name, content)
            for name, content in files.items()
            if name != "PKG-INFO" or folder == ""
        )
    }
    packages = {
        one.path.rpartition("/")[0]
        for one in python
        if one.path.rpartition("/")[2] == "__init__.py"
    }
    projects: dict[str, Project] = {}
    outside: Declared | None = None
    for one in python:
        folder = one.path.rpartition("/")[0]
        root = _nearest(folder, roots)
        if root is None and outside is None:
            outside = above(given)
        if (root or "") not in projects:
            said = declared.read(texts[root]) if root is not None else (outside or Declared())
            projects[root or ""] = Project(root or ".", said)
        project = projects[root or ""]
        for module in modules_of(one.path, root or "", packages):
            project.files.setdefault(module, one)
    return list(projects.values()), problems


def _nearest(folder: str, roots: set[str]) -> str | None:
    while True:
        if folder in roots:
            return folder
        if not folder:
            return None
        folder = folder.rpartition("/")[0]


def modules_of(path: str, root: str, packages: set[str]) -> list[str]:
    """Return the names by which a file may be imported: by its packages, and from the root of the project."""
    stem = path.removesuffix(".py").removesuffix("/__init__") if path != "__init__.py" else ""
    folder = path.rpartition("/")[0]
    top = folder
    while top in packages and top:
        top = top.rpartition("/")[0]
    names = [_dotted(stem, top if folder in packages else root)]
    from_root = _dotted(stem, root)
    names += [from_root, from_root.removeprefix("src.")]
    return list(dict.fromkeys(name for name in names if name)) or ["__init__"]


def _dotted(stem: str, top: str) -> str:
    inside = (
        stem[len(top) :].lstrip("/")
        if not top or stem.startswith(f"{top}/") or stem == top
        else stem
    )
    return inside.replace("/", ".")


def above(given: Path) -> Declared:
    """Return what the nearest project file above a path says, or the metadata of an installed package."""
    try:
        place = given.resolve()
    except (OSError, RuntimeError):
        return Declared()
    if place.is_file() and place.suffix != ".py":
        return Declared()
    for folder in [place, *place.parents]:
        files = {
            name: _content(folder / name) for name in PROJECT_FILES if (folder / name).is_file()
        }
        if any(declared.is_project(name, content) for name, content in files.items()):
            listed = {
                path.name: _content(path) for path in sorted(folder.glob("requirements*.txt"))
            }
            return declared.read({**listed, **files})
        if folder.name == "site-packages":
            return _installed(folder, place.relative_to(folder).parts[:1])
        if (folder / ".git").exists():
            break
    return Declared()


def _installed(folder: Path, package: tuple[str, ...]) -> Declared:
    for name in package:
        wanted = re.sub(r"[-_.]+", "_", name).lower()
        for info in sorted(folder.glob("*.dist-info")):
            if info.name.partition("-")[0].lower() == wanted:
                return declared.read({"METADATA": _content(info / "METADATA")})
    return Declared()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def source_of(one: Found, project: Project, module: str, text: str) -> Source:
    """Return a file as a source of a project."""
    is_package = one.path.rpartition("/")[2] == "__init__.py"
    return Source(one.path, text, module, is_package, project.path)
