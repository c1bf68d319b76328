# /// script
# requires-python = ">=3.10"
# dependencies = ["packaging", "remotezip", "requests"]
# ///
"""The table of torch's names by release, read from the syntax trees of the public wheels and not typed.

`uv run ci/names.py` asks the package index which releases of torch there are from 2.2.0 on, reads the few files that
matter out of one wheel of each (a wheel is a zip: the index serves parts of it), and writes meshcompat/api/names.json.
Nothing of torch is run. tests/test_api_table.py compares the table with the torch of every row.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
from pathlib import Path
from typing import Any, NamedTuple

import requests
from packaging.version import Version
from remotezip import RemoteZip

STORED = Path(__file__).parent.parent / "meshcompat" / "api" / "names.json"
OLDEST = Version("2.2.0")
BUILD = "-cp311-cp311-"
"""Every release has a wheel of this Python, and torch's Python code does not depend on it."""

DEFINING = ("torch.distributed.device_mesh", "torch.distributed._mesh_layout")
"""Modules whose own names are all in the table."""
GROUPS = "torch.distributed.distributed_c10d"
GROUP_NAMES = (
    "destroy_process_group",
    "get_backend",
    "get_global_rank",
    "get_group_rank",
    "get_node_local_rank",
    "get_process_group_ranks",
    "get_rank",
    "get_world_size",
    "init_process_group",
    "is_initialized",
    "new_group",
    "new_subgroups",
    "new_subgroups_by_enumeration",
    "split_group",
    "_abort_process_group",
    "_find_pg_by_ranks_and_tag",
    "_get_default_group",
    "_get_global_rank",
    "_get_group_size_by_name",
    "_get_group_tag",
    "_get_process_group_name",
    "_register_process_group",
    "_resolve_process_group",
    "_set_pg_timeout",
    "_unregister_process_group",
    "_world",
)
"""What code about meshes uses of the process groups' module, which has hundreds of names more."""
OFFERING = (
    "torch.distributed",
    "torch.distributed.tensor",
    "torch.distributed.tensor.device_mesh",
    "torch.distributed._tensor",
    "torch.distributed._tensor.device_mesh",
)
"""Modules that offer some of these names under another path."""
BASES = ("torch.distributed._pycute", "torch.distributed._pycute.layout")
"""Modules that are in the table as modules only; what classes inherit from them is listed with the classes."""
INTERNAL = ("logger",)


class Place(NamedTuple):
    """Where a name is defined."""

    module: str
    name: str
    node: ast.stmt


class Wheel:
    """The modules of one release, as trees."""

    def __init__(self, archive: RemoteZip) -> None:
        self._archive = archive
        self._files = set(archive.namelist())
        self._trees: dict[str, ast.Module | None] = {}

    def path(self, module: str) -> str | None:
        """Return the file of a module, or None."""
        stem = module.replace(".", "/")
        return next(
            (path for path in (f"{stem}.py", f"{stem}/__init__.py") if path in self._files), None
        )

    def tree(self, module: str) -> ast.Module | None:
        """Return the syntax tree of a module, or None where the release has none."""
        if module not in self._trees:
            path = self.path(module)
            self._trees[module] = None if path is None else ast.parse(self._archive.read(path))
        return self._trees[module]

    def real_name(self, module: str) -> str | None:
        """Return the module that an import of this one gives, which an entry of `sys.modules` may redirect."""
        if self.tree(module) is not None:
            return module
        parent = module.rpartition(".")[0]
        return self._redirected(parent).get(module) if self.tree(parent) is not None else None

    def _redirected(self, package: str) -> dict[str, str]:
        """Return the entries of `sys.modules` that a package writes in a loop over names."""
        tree = self.tree(package)
        constants: dict[str, list[str]] = {}
        redirected: dict[str, str] = {}
        for node in tree.body if tree else []:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.List):
                (target,) = node.targets
                constants[ast.unparse(target)] = ast.literal_eval(node.value)
            if isinstance(node, ast.For) and ast.unparse(node.iter) in constants:
                for value in constants[ast.unparse(node.iter)]:
                    redirected.update(_redirections(node, value))
        return redirected

    def bound(self, module: str) -> dict[str, Place | tuple[str, str]]:
        """Return what a module binds: a place here, or the module and the name that it imports."""
        real = self.real_name(module)
        tree = None if real is None else self.tree(real)
        if real is None or tree is None:
            return {}
        found: dict[str, Place | tuple[str, str]] = {}
        for node in _statements(tree.body):
            if isinstance(node, ast.ImportFrom):
                source = self._source(real, node)
                for alias in node.names:
                    names = self._all(source) if alias.name == "*" else [alias.name]
                    found.update({alias.asname or name: (source, name) for name in names})
            elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found[node.name] = Place(real, node.name, node)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        found[target.id] = Place(real, target.id, node)
        return found

    def find(self, module: str, name: str) -> Place | None:
        """Return the place where a name of a module is defined, or None where it is not torch's or not there."""
        seen = set()
        while (module, name) not in seen:
            seen.add((module, name))
            bound = self.bound(module).get(name)
            if bound is None or isinstance(bound, Place):
                return bound
            module, name = bound
        return None

    def _source(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return str(node.module)
        is_package = (self.path(module) or "").endswith("__init__.py")
        parts = module.split(".")
        parts = parts[: len(parts) - node.level + is_package]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def _all(self, module: str) -> list[str]:
        tree = self.tree(module)
        for node in tree.body if tree else []:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return list(ast.literal_eval(node.value))
        return []


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements that run at import where torch is built with distributed, branches opened."""
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.If):
            test = ast.unparse(node.test)
            if test in {"TYPE_CHECKING", "not is_available()"}:
                found += _statements(node.orelse)
            elif test == "is_available()":
                found += _statements(node.body)
            else:
                found += _statements(node.body) + _statements(node.orelse)
        elif isinstance(node, ast.Try):
            found += _statements(node.body)
        else:
            found.append(node)
    return found


def _redirections(loop: ast.For, value: str) -> dict[str, str]:
    """Return what one turn of a loop writes into `sys.modules`, with *value* for the loop's variable."""
    texts = {ast.unparse(loop.target): value}
    redirected: dict[str, str] = {}
    for node in loop.body:
        if not isinstance(node, ast.Assign):
            continue
        (target,) = node.targets
        if isinstance(target, ast.Name):
            texts[target.id] = _text(node.value, texts)
        elif isinstance(target, ast.Subscript) and ast.unparse(target.value) == "sys.modules":
            call = node.value
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "import_module":
                redirected[_text(target.slice, texts)] = _text(call.args[0], texts)
    return redirected


def _text(node: ast.expr, texts: dict[str, str]) -> str:
    """Return the value of a string, a variable or an f-string of variables."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, texts) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, texts)
    if isinstance(node, ast.Name):
        return texts[node.id]
    return str(ast.literal_eval(node))


def _has_decorator(
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, *names: str
) -> bool:
    words = {
        ast.unparse(d.func if isinstance(d, ast.Call) else d).rpartition(".")[2]
        for d in node.decorator_list
    }
    return bool(words & set(names))


def _parameters(node: ast.FunctionDef, *, is_bound: bool) -> list[str]:
    arguments = node.args
    names = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    names = names[1:] if is_bound else names
    names += ["*" + arguments.vararg.arg] if arguments.vararg else []
    names += [argument.arg for argument in arguments.kwonlyargs]
    return names + (["**" + arguments.kwarg.arg] if arguments.kwarg else [])


def _warns(node: ast.FunctionDef) -> bool:
    """Whether every call says that the function is deprecated."""
    if _has_decorator(node, "deprecated"):
        return True
    calls = [
        statement.value
        for statement in node.body
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    ]
    return any(
        ast.unparse(call.func) == "warnings.warn" and "deprecat" in ast.unparse(call).lower()
        for call in calls
    )


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


class Members:
    """The attributes of a class, those that it inherits and those that its methods set included."""

    def __init__(self, wheel: Wheel, place: Place) -> None:
        self._wheel = wheel
        self.found: dict[str, dict[str, Any]] = {}
        self.constructor: list[str] = []
        self._add(place)

    def _add(self, place: Place) -> None:
        node = place.node
        if not isinstance(node, ast.ClassDef):
            return
        for base in node.bases:
            self._add_base(place.module, ast.unparse(base).partition("[")[0])
        fields = [
            n.target.id
            for n in node.body
            if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
        ]
        if _has_decorator(node, "dataclass"):
            self.constructor = fields
        for field in fields:
            self._put(place, field, "attribute", node)
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and not _has_decorator(part, "overload"):
                self._add_method(place, part)
            elif isinstance(part, ast.Assign):
                for target in part.targets:
                    self._put(place, ast.unparse(target), "attribute", part)

    def _add_base(self, module: str, name: str) -> None:
        inherited = self._wheel.find(module, name)
        if inherited is not None:
            self._add(inherited)
            return
        for parent in _outside(self._wheel.tree(module), name).__mro__[:-1]:
            for member, value in vars(parent).items():
                if not member.startswith("_"):
                    parameters = list(inspect.signature(value).parameters)[1:]
                    self.found[member] = {"kind": "method", "parameters": parameters}

    def _add_method(self, place: Place, node: ast.FunctionDef) -> None:
        is_bound = not _has_decorator(node, "staticmethod")
        if node.name == "__init__":
            self.constructor = _parameters(node, is_bound=True)
        kind = "property" if _has_decorator(node, "property", "cached_property") else "method"
        self._put(place, node.name, kind, node)
        if kind == "method" and node.name in self.found:
            self.found[node.name]["parameters"] = _parameters(node, is_bound=is_bound)
            self.found[node.name]["warns"] = _warns(node)
        if is_bound and node.args.args:
            me = node.args.args[0].arg
            for inner in ast.walk(node):
                if (
                    isinstance(inner, ast.Attribute)
                    and isinstance(inner.ctx, ast.Store)
                    and ast.unparse(inner.value) == me
                    and inner.attr not in self.found
                ):
                    self._put(place, inner.attr, "attribute", inner)

    def _put(self, place: Place, name: str, kind: str, node: ast.stmt | ast.expr) -> None:
        if not _is_dunder(name):
            path = self._wheel.path(place.module)
            self.found[name] = {"kind": kind, "source": f"{path}#L{node.lineno}"}


def _outside(tree: ast.Module | None, name: str) -> type:
    """Return a class of another package that a module of torch inherits from, such as `Sequence`."""
    for node in ast.walk(tree) if tree else []:
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            module = str(node.module)
            return (
                object
                if module.startswith("torch")
                else getattr(importlib.import_module(module), name)
            )
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute) if module else object


def collect(wheel: Wheel) -> dict[str, dict[str, Any]]:
    """Return the names of one release, each with its kind, parameters and place."""
    found: dict[str, dict[str, Any]] = {}
    defined: dict[tuple[str, str], str] = {}
    for module in (*DEFINING, GROUPS):
        if wheel.tree(module) is None:
            continue
        found[module] = {"kind": "module", "source": wheel.path(module)}
        for name, place in wheel.bound(module).items():
            if module == GROUPS and name in GROUP_NAMES and not isinstance(place, Place):
                found[f"{module}.{name}"] = {
                    "kind": "value"
                }  # compiled: no tree tells its parameters
            wanted = name in GROUP_NAMES if module == GROUPS else name not in INTERNAL
            if isinstance(place, Place) and wanted and not _is_dunder(name):
                defined[place.module, place.name] = f"{module}.{name}"
                found.update(_definition(wheel, f"{module}.{name}", place))
    for module in (*OFFERING, *BASES):
        real = wheel.real_name(module)
        if real is None:
            continue
        found[module] = {"kind": "module", "source": wheel.path(real)}
        found[module] |= {"is": real} if real != module else {}
        for name in wheel.bound(module):
            origin = wheel.find(module, name)
            meant = None if origin is None else defined.get((origin.module, origin.name))
            if meant is not None:
                found[f"{module}.{name}"] = {"kind": found[meant]["kind"], "is": meant}
    return found


def _definition(wheel: Wheel, name: str, place: Place) -> dict[str, dict[str, Any]]:
    node = place.node
    entry: dict[str, Any] = {"source": f"{wheel.path(place.module)}#L{node.lineno}"}
    if isinstance(node, ast.ClassDef):
        members = Members(wheel, place)
        entry |= {"kind": "class", "parameters": members.constructor}
        return {name: entry, **{f"{name}.{key}": value for key, value in members.found.items()}}
    if isinstance(node, ast.FunctionDef):
        entry |= {
            "kind": "function",
            "parameters": _parameters(node, is_bound=False),
            "warns": _warns(node),
        }
        return {name: entry}
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    if isinstance(value, ast.Call):
        maker = wheel.find(place.module, ast.unparse(value.func))
        if maker is not None and isinstance(maker.node, ast.ClassDef):
            return {name: {**entry, "kind": "instance", "of": f"{maker.module}.{maker.name}"}}
    return {name: {**entry, "kind": "value"}}


def spans(releases: list[str], on: list[str]) -> list[str]:
    """Return a set of releases as runs without a gap, such as 2.5.0-2.9.1, or 2.10.0+ up to the newest."""
    runs: list[list[str]] = []
    for index, release in enumerate(releases):
        if release in on:
            if runs and index and runs[-1][1] == releases[index - 1]:
                runs[-1][1] = release
            else:
                runs.append([release, release])
    return [
        f"{first}+" if last == releases[-1] else first if first == last else f"{first}-{last}"
        for first, last in runs
    ]


def merge(collected: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return one table of the names of all releases, oldest first."""
    releases = list(collected)
    names = sorted({name for found in collected.values() for name in found})
    table: dict[str, Any] = {}
    for name in names:
        on = [release for release in releases if name in collected[release]]
        entries = [collected[release][name] for release in on]
        row: dict[str, Any] = {"kind": entries[-1]["kind"], "on": spans(releases, on)}
        parameters = dict.fromkeys(p for e in reversed(entries) for p in e.get("parameters", []))
        if parameters:
            row["parameters"] = {
                parameter: spans(
                    releases,
                    [
                        release
                        for release, entry in zip(on, entries, strict=True)
                        if parameter in entry.get("parameters", [])
                    ],
                )
                for parameter in parameters
            }
        warns = [r for r, e in zip(on, entries, strict=True) if e.get("warns")]
        row |= {"warns": spans(releases, warns)} if warns else {}
        row |= {key: entries[-1][key] for key in ("is", "of", "source") if entries[-1].get(key)}
        table[name] = row
    return {"releases": releases, "names": table}


def text_of(table: dict[str, Any]) -> str:
    """Return the table as JSON with one name a line, so that a change of torch is a change of lines."""
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in table["names"].items())
    return f'{{\n "releases": {json.dumps(table["releases"])},\n "names": {{\n{lines}\n }}\n}}\n'


def wheels(session: requests.Session, index: str) -> dict[str, str]:
    """Return the address of one wheel of each release, oldest first."""
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    answer = session.get(f"{index.rstrip('/')}/torch/", headers=accept, timeout=60)
    answer.raise_for_status()
    found: dict[str, str] = {}
    for file in answer.json()["files"]:
        name = str(file["filename"])
        if BUILD in name and name.endswith("x86_64.whl") and "manylinux" in name:
            release = name.split("-")[1]
            if Version(release) >= OLDEST and not file.get("yanked"):
                found[release] = str(file["url"])
    return {release: found[release] for release in sorted(found, key=Version)}


def main() -> None:
    """Read the wheels of all releases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", default="https://pypi.org/simple", help="package index")
    arguments = parser.parse_args()
    collected = {}
    with requests.Session() as session:
        for release, address in wheels(session, arguments.index).items():
            with RemoteZip(address, session=session) as archive:
                collected[release] = collect(Wheel(archive))
            print(f"{release}: {len(collected[release])} names")
    STORED.write_text(text_of(merge(collected)), encoding="utf-8")


if __name__ == "__main__":
    main()
