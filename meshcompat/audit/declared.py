"""The range of torch that a project declares, in any of the files where Python projects do."""

from __future__ import annotations

import ast
import configparser
import email.parser
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from meshcompat.audit import toml
from meshcompat.audit.releases import ALL, NONE, Releases, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Declared:
    """What one project file says."""

    name: str = ""
    text: str = ""
    """The range as it is written, empty where torch is named without a range; None in JSON where it is not named."""
    releases: Releases = ALL
    names_torch: bool = False
    problem: str = ""


def read(files: Mapping[str, bytes]) -> Declared:
    """Return what the project files of one folder say: the first that names torch, by bare name of the file."""
    found = [
        reader(files[name].decode("utf-8", "replace"), files)
        for name, reader in _READERS.items()
        if name in files
    ]
    name = next((one.name for one in found if one.name), "")
    said = next((one for one in found if one.names_torch), None)
    if said is None:
        return Declared(name=name)
    return Declared(name, said.text, said.releases, names_torch=True)


def is_project(name: str, content: bytes) -> bool:
    """Whether a file makes its folder a project: one that only configures tools, or a module of that name, does not."""
    if name == "pyproject.toml":
        return any(mark in content for mark in (b"[project]", b"[build-system]", b"[tool.poetry"))
    if name == "setup.py":
        return b"setup(" in content and (b"setuptools" in content or b"distutils" in content)
    return True


def of_requirements(base: Iterable[str], extras: Iterable[str], name: str = "") -> Declared:
    """Return what requirements say of torch; extras count where the base names no range."""
    main, more = _torch(base), _torch(extras)
    chosen = (
        [spec for spec in main if str(spec)] or [spec for spec in more if str(spec)] or main or more
    )
    if not chosen:
        return Declared(name)
    texts = list(dict.fromkeys(str(spec) for spec in chosen))
    releases = NONE.union(*(within(spec) for spec in chosen))
    return Declared(name, " or ".join(texts), releases, names_torch=True)


def _torch(requirements: Iterable[str]) -> list[SpecifierSet]:
    found = []
    for text in requirements:
        try:
            requirement = Requirement(text.split("#")[0].strip())
        except InvalidRequirement:
            continue
        if requirement.name.lower() == "torch":
            found.append(requirement.specifier)
    return found


def _pyproject(text: str, files: Mapping[str, bytes]) -> Declared:
    try:
        data = toml.loads(text)
    except toml.TomlError:
        return Declared()
    project = _table(data, "project")
    extras = [
        one
        for group in _table(project, "optional-dependencies").values()
        for one in _strings(group)
    ]
    base = _strings(project.get("dependencies"))
    tool = _table(data, "tool")
    poetry = _table(tool, "poetry")
    base += [
        f"{name}{_poetry_range(value)}" for name, value in _table(poetry, "dependencies").items()
    ]
    dynamic = _table(_table(tool, "setuptools"), "dynamic").get("dependencies")
    if isinstance(dynamic, dict):
        listed = dynamic.get("file", [])
        for name in [listed] if isinstance(listed, str) else _strings(listed):
            base += files.get(name, b"").decode("utf-8", "replace").splitlines()
    return of_requirements(base, extras, str(project.get("name") or poetry.get("name") or ""))


def _setup_cfg(text: str, files: Mapping[str, bytes]) -> Declared:  # noqa: ARG001  (one signature for all)
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return Declared()
    base = parser.get("options", "install_requires", fallback="").splitlines()
    has_extras = parser.has_section("options.extras_require")
    extras = (
        [line for _, lines in parser.items("options.extras_require") for line in lines.splitlines()]
        if has_extras
        else []
    )
    return of_requirements(base, extras, parser.get("metadata", "name", fallback=""))


def _setup_py(text: str, files: Mapping[str, bytes]) -> Declared:  # noqa: ARG001
    """Return what the texts of a setup.py say: it is not run."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Declared()
    base: list[str] = []
    extras: list[str] = []
    name = ""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "install_requires":
            base += _constants(node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            extras.append(node.value)
        if (
            isinstance(node, ast.keyword)
            and node.arg == "name"
            and isinstance(node.value, ast.Constant)
        ):
            name = name or str(node.value.value)
    return of_requirements(
        base, [text for text in extras if re.match(r"torch\s*[<>=!~\[(;]", text)], name
    )


def _metadata(text: str, files: Mapping[str, bytes]) -> Declared:  # noqa: ARG001
    message = email.parser.Parser().parsestr(text, headersonly=True)
    requirements = message.get_all("Requires-Dist") or []
    base = [one for one in requirements if "extra" not in one.partition(";")[2]]
    return of_requirements(base, requirements, str(message.get("Name") or ""))


_READERS = {
    "METADATA": _metadata,
    "pyproject.toml": _pyproject,
    "setup.cfg": _setup_cfg,
    "setup.py": _setup_py,
    "PKG-INFO": _metadata,
}


def _poetry_range(value: object) -> str:
    text = value.get("version", "") if isinstance(value, dict) else value
    if not isinstance(text, str) or text in {"", "*"}:
        return ""
    caret = re.fullmatch(r"([\^~])(\d+)(?:\.(\d+))?(.*)", text.strip())
    if caret:
        major, minor = int(caret[2]), int(caret[3] or 0)
        below = f"{major + 1}" if caret[1] == "^" else f"{major}.{minor + 1}"
        return f">={text.strip()[1:]},<{below}"
    try:
        return str(SpecifierSet(text if re.match(r"[<>=!~]", text.strip()) else f"=={text}"))
    except InvalidSpecifier:
        return ""


def _constants(node: ast.AST) -> list[str]:
    return [
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def _table(data: object, key: str) -> dict[str, Any]:
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _strings(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
