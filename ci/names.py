# /// script
# requires-python = ">=3.11"
# dependencies = ["griffelib>=2", "packaging", "remotezip", "requests"]
# ///
"""The table of torch's names by release, read from the sources in the public wheels and not typed.

`uv run ci/names.py` asks the package index which releases of torch there are from 2.2.0 on, takes the few files that
matter out of one wheel of each (a wheel is a zip: the index serves parts of it), and writes meshcompat/api/names.json.
griffe reads the files; nothing of torch is run. tests/test_api_table.py compares the table with the torch of every row.
"""

import ast
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Container
from pathlib import Path
from typing import Any

import griffe
from releases import wheels
from remotezip import RemoteZip

STORED = Path(__file__).parent.parent / "meshcompat" / "api" / "names.json"
PYTHON = "3.11"
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
MODULES = (*DEFINING, GROUPS, *OFFERING, *BASES)
MOVED = {"torch.distributed._tensor.device_mesh": "torch.distributed.tensor.device_mesh"}
"""No file from 2.5 on: torch enters another module in `sys.modules` under this name."""
INTERNAL = ("logger", "_DeviceMeshStub", "_init_device_mesh_stub")
SPECIAL = ("__enter__", "__eq__", "__exit__", "__getitem__", "__hash__", "__init__")
"""Special methods that are in the table, as users call them: by slicing a mesh, entering it, comparing it."""
COLUMNS = ("kind", "on", "parameters", "warns", "is", "of", "source")

WARNS = re.compile(r"(\w+\.)?deprecated\(|warnings\.warn\(.*deprecat", re.DOTALL | re.IGNORECASE)
STARS = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}

Entry = dict[str, Any]


class Bodies(griffe.Extension):
    """What griffe leaves out: the lines of `class` and `def`, bodies that warn, what any method sets on `self`."""

    def on_class_members(self, *, node: Any, cls: griffe.Class, **_: object) -> None:
        """Take the line of `class`, and add the attributes that methods other than `__init__` set."""
        cls.lineno = node.lineno
        for part in ast.walk(node):
            match part:
                case ast.Attribute(ast.Name("self"), name, ast.Store()) if name not in cls.members:
                    cls.set_member(name, griffe.Attribute(name, lineno=part.lineno))

    def on_function_instance(self, *, node: Any, func: griffe.Function, **_: object) -> None:
        """Take the line of `def`, and note whether every call warns that the function is deprecated."""
        func.lineno = node.lineno
        parts = [ast.unparse(part) for part in (*node.decorator_list, *node.body)]
        func.deprecated = any(WARNS.match(part) for part in parts)


def collect(folder: Path) -> dict[str, Entry]:
    """Return the names of the release whose files are in a folder, each with its kind, parameters and place."""
    (folder / "torch" / "__init__.py").touch()
    loader = griffe.GriffeLoader(
        search_paths=[folder, *sys.path],
        extensions=griffe.load_extensions(Bodies),
        allow_inspection=False,
    )
    for package in ("_collections_abc", "collections", "torch"):  # a class of torch is a `Sequence`
        loader.load(package)
    found: dict[str, Entry] = {}
    for name in MODULES:
        module = find(loader, name) or find(loader, MOVED.get(name, name))
        if module is None:
            continue
        found[name] = {"kind": "module", "source": str(module.filepath.relative_to(folder))}
        found[name] |= {"is": module.path} if module.path != name else {}
        for member in module.members.values():
            path, meant = f"{name}.{member.name}", definition(member)
            if name in OFFERING and meant in found and meant != path:
                found[path] = {"kind": found[meant]["kind"], "is": meant}
            elif name == GROUPS and member.name in GROUP_NAMES and meant is None:
                found[path] = {"kind": "value"}  # compiled: no file tells its parameters
            elif meant == path and is_listed(name, member):
                found |= entries(path, member, folder)
    return found


def find(loader: griffe.GriffeLoader, module: str) -> Any:
    """Return a module, or None where the release has none of this name."""
    try:
        return loader.modules_collection.get_member(module)
    except KeyError:
        return None


def definition(member: Any) -> str | None:
    """Return the path where torch defines a name, or None where no file that was read does."""
    try:
        return str(member.canonical_path)
    except (griffe.AliasResolutionError, griffe.CyclicAliasError):
        return None


def is_listed(module: str, member: Any) -> bool:
    """Whether the table has a name of a module that defines it."""
    if module == GROUPS:
        return member.name in GROUP_NAMES
    return module in DEFINING and member.name not in INTERNAL and not member.is_special


def entries(path: str, member: Any, folder: Path) -> dict[str, Entry]:
    """Return what the table has of a name, and of its members where it is a class."""
    found: Entry = {}
    if member.filepath.is_relative_to(folder):
        found["source"] = f"{member.filepath.relative_to(folder)}#L{member.lineno}"
    of_class = member.parent.is_class
    if member.is_class or member.is_function:
        is_bound = member.is_class or (of_class and not member.has_labels("staticmethod"))
        names = [STARS.get(each.kind, "") + each.name for each in member.parameters]
        found["kind"] = "class" if member.is_class else "method" if of_class else "function"
        found |= {"parameters": names[is_bound:], "warns": bool(member.deprecated)}
    elif of_class:
        found["kind"] = "property" if member.has_labels("property") else "attribute"
    elif isinstance(member.value, griffe.ExprCall):
        found |= {"kind": "instance", "of": member.value.canonical_path}
    else:
        found["kind"] = "value"
    told = {path: found}
    for name, each in member.all_members.items() if member.is_class else ():
        if not each.is_special or name in SPECIAL:
            told |= entries(f"{path}.{name}", each, folder)
    return told


def spans(releases: list[str], on: Container[str]) -> list[str]:
    """Return a set of releases as runs without a gap, such as 2.5.0-2.9.1, or 2.10.0+ up to the newest."""
    found = []
    for is_on, group in itertools.groupby(releases, key=lambda release: release in on):
        run = list(group)
        if is_on and run[-1] == releases[-1]:
            found.append(f"{run[0]}+")
        elif is_on:
            found.append("-".join(dict.fromkeys([run[0], run[-1]])))
    return found


def merge(collected: dict[str, dict[str, Entry]]) -> dict[str, Entry]:
    """Return one table of the names of all releases, which come oldest first."""
    releases = list(collected)
    table: dict[str, Entry] = {}
    for name in sorted({name for found in collected.values() for name in found}):
        on = {release: found[name] for release, found in collected.items() if name in found}
        newest_first = list(reversed(on.values()))
        parameters = dict.fromkeys(p for each in newest_first for p in each.get("parameters", ()))
        row = newest_first[0] | {
            "on": spans(releases, on),
            "parameters": {
                parameter: spans(
                    releases,
                    [r for r, each in on.items() if parameter in each.get("parameters", ())],
                )
                for parameter in parameters
            },
            "warns": spans(releases, [r for r, each in on.items() if each.get("warns")]),
        }
        table[name] = {key: row[key] for key in COLUMNS if row.get(key)}
    return table


def main() -> None:
    """Read the wheels of all releases, and write the table as JSON with a name a line."""
    stems = [module.replace(".", "/") for module in MODULES]
    wanted = {path for stem in stems for path in (f"{stem}.py", f"{stem}/__init__.py")}
    collected = {}
    for release, addresses in wheels(__doc__).items():
        with tempfile.TemporaryDirectory() as folder, RemoteZip(addresses[PYTHON]) as archive:
            archive.extractall(folder, wanted.intersection(archive.namelist()))
            collected[release] = collect(Path(folder))
        print(f"{release}: {len(collected[release])} names")
    table = merge(collected)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in table.items())
    text = f'{{\n "releases": {json.dumps(list(collected))},\n "names": {{\n{lines}\n }}\n}}\n'
    STORED.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
