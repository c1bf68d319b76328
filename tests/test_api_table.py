"""The table of torch's names says what the torch that is installed has: on every row, so that it cannot drift."""

import importlib
import inspect
import warnings

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh

from meshcompat.api import table
from meshcompat.testing import fake_world

RELEASE = torch.__version__.partition("+")[0]
ROWS = table.matching("")
DEFINITIONS = [name for name in ROWS if name.definition == name.name]
CLASSES = {name.name: name for name in DEFINITIONS if name.kind == "class"}
MEMBERS = [name for name in ROWS if name.name.rpartition(".")[0] in CLASSES]
OTHERS = [name for name in ROWS if name not in MEMBERS]

pytestmark = pytest.mark.skipif(
    RELEASE not in table.releases(), reason="a release that the table does not list yet"
)


def listed(names):
    return {name.name for name in names if RELEASE in name.releases}


def find(name):
    """Return what stands at a path of torch, or raise what Python raises."""
    try:
        return importlib.import_module(name)
    except ImportError:
        owner, _, last = name.rpartition(".")
        if not owner:
            raise
        return getattr(find(owner), last)


def is_there(name):
    try:
        find(name)
    except (ImportError, AttributeError):
        return False
    return True


@pytest.fixture(scope="module")
def instances():
    """One object of each class of the table that this torch has, by the name of the class."""
    with fake_world(4):
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        hash(mesh)  # which an attribute keeps
        layout = getattr(mesh, "_layout", None)
        objects = [mesh, find("torch.distributed.device_mesh._mesh_resources"), layout]
        objects += (
            [layout[0]] if "torch.distributed._mesh_layout._FlatLayout" in listed(ROWS) else []
        )
        yield {
            f"{type(made).__module__}.{type(made).__name__}": made
            for made in objects
            if made is not None
        }


def test_the_table_lists_the_paths_that_are_there():
    assert {name.name for name in OTHERS if is_there(name.name)} == listed(OTHERS)


def test_the_table_lists_every_member_of_its_classes(instances):
    there = {
        f"{owner}.{member}"
        for owner, instance in instances.items()
        for member in dir(instance)
        if not member.startswith(("__", "_abc_"))
    }
    assert set(instances) == listed(CLASSES.values())
    assert there == {name for name in listed(MEMBERS) if not table.is_special(name)}


def test_the_table_lists_the_special_methods_that_users_call(instances):
    there = set()
    for owner, instance in instances.items():
        for member in table.special_methods():
            # What a dataclass makes stands in no file: the table has what it takes the place of.
            found = [vars(each).get(member) for each in type(instance).__mro__]
            functions = filter(inspect.isfunction, found)
            if any(function.__code__.co_filename != "<string>" for function in functions):
                there.add(f"{owner}.{member}")
    assert there == {name for name in listed(MEMBERS) if table.is_special(name)}


def test_the_table_lists_the_parameters_of_every_signature():
    stars: dict[object, str] = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
    }
    there, expected = {}, {}
    for name in DEFINITIONS:
        if name.kind not in {"class", "function", "method"} or RELEASE not in name.releases:
            continue
        found = find(name.name)
        owner, _, last = name.name.rpartition(".")
        parameters = list(inspect.signature(found).parameters.values())
        is_bound = name.kind == "method" and inspect.isfunction(
            inspect.getattr_static(find(owner), last)
        )
        there[name.name] = {
            stars.get(parameter.kind, "") + parameter.name for parameter in parameters[is_bound:]
        }
        expected[name.name] = {word for word, on in name.parameters.items() if RELEASE in on}
    assert there == expected


def test_the_table_lists_what_warns(instances):
    """A call that warns on no release is not tried: the tree that was read has no such line."""
    calls = {
        "_mesh_resources.get_root_mesh": lambda call, mesh: call(mesh),
        "_mesh_resources._get_all_submeshes": lambda call, mesh: call(mesh, "tp"),
        "_get_global_rank": lambda call, mesh: call(mesh.get_group(0), 0),
        "_set_pg_timeout": lambda call, mesh: call(
            torch.distributed.default_pg_timeout, mesh.get_group(0)
        ),
    }
    names = {short: table.lookup(short) for short in calls}
    assert {name.definition for name in names.values()} == {
        name.name for name in DEFINITIONS if name.warns
    }
    for short, name in names.items():
        if RELEASE in name.releases:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                mesh = instances["torch.distributed.device_mesh.DeviceMesh"]
                calls[short](find(name.name), mesh)
            said = any("deprecated" in str(warning.message) for warning in caught)
            assert said == (RELEASE in name.warns), short
