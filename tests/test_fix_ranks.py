"""Rewritten code gives the ranks that the original gives, on releases of torch where that works."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from meshcompat.testing import fake_world, reset
from tests.support.rewritten import planned

HEAD = """
from torch.distributed.device_mesh import DeviceMesh, _mesh_resources, init_device_mesh
m = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
"""
ROOT = [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
PROGRAMS = {
    "flattened": (
        'x = m["dp", "tp"]._flatten("n")\nfound = [x, m["n"]]\n',
        "_flatten",
        [[4, 5, 6, 7]] * 2,
    ),
    "beside another": (
        'm["dp", "tp"]._flatten("n")\nfound = [m["pp", "n"]]\n',
        "_flatten",
        [[[0, 1, 2, 3], [4, 5, 6, 7]]],
    ),
    "one dim": ('found = [m["dp"]._flatten("n"), m["n"]]\n', "_flatten", [[5, 7]] * 2),
    "all dims": ("found = [m._flatten()]\n", "_flatten", [[0, 1, 2, 3, 4, 5, 6, 7]]),
    "table": (
        'm["pp", "dp"]._flatten("n")\nfound = [m._flatten_mapping["n"]]\n',
        "_flatten_mapping",
        [[1, 3, 5, 7]],
    ),
    "unflattened": (
        'x = m["dp", "tp"]._flatten("n")._unflatten(0, (4, 1), ("a", "b"))\nfound = [x, x["a"]]\n',
        "_unflatten",
        [[[4], [5], [6], [7]], [4, 5, 6, 7]],
    ),
    "concatenated": (
        'found = [DeviceMesh._concatenate([m["pp"], m["tp"]])]\n',
        "_concatenate",
        [[[0, 1], [4, 5]]],
    ),
    "root": ('found = [m["dp"]._get_root_mesh()]\n', "_get_root_mesh", [ROOT]),
    "root of the table": ('found = [_mesh_resources.get_root_mesh(m["dp"])]\n', "", [ROOT]),
    "all submeshes": (
        'found = m._get_all_submeshes("pp")\n',
        "_get_all_submeshes",
        [[0, 4], [1, 5], [2, 6], [3, 7]],
    ),
    "slices": ('found = [m["pp", "tp"], m["pp", "dp"]["dp"]]\n', "", [[[0, 1], [4, 5]], [5, 7]]),
}
"""Each program, the private name that it loses, and the ranks that rank 5 finds."""


def ranks(code, rank):
    names: dict[str, Any] = {}
    with fake_world(8, rank=rank), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch says about its private names
        exec(compile(code, "program", "exec"), names)  # noqa: S102  (the programs above)
        return [mesh.mesh.tolist() for mesh in names["found"]]


def right_on(code, rank):
    """Return what torch itself gives, or None where it does not have that or refuses it."""
    try:
        return ranks(code, rank)
    except (AttributeError, KeyError, RuntimeError, TypeError, NotImplementedError):
        return None


@pytest.mark.parametrize(("program", "name", "expected"), PROGRAMS.values(), ids=PROGRAMS)
def test_the_ranks_are_those_of_the_original(program, name, expected):
    before = HEAD + program
    after = planned({"a.py": before.encode()}).contents["a.py"].decode()
    assert "meshcompat." in after
    assert not name or name not in after
    assert ranks(after, 5) == expected
    assert right_on(before, 5) in (None, expected)


FLATTENED = 'm["dp", "tp"]._flatten("both")\n'
TABLES = "_mesh_resources.root_to_flatten_mapping", "_mesh_resources.flatten_name_to_root_dims"
LISTED = {
    "hasattr": 'found = list(m._flatten_mapping) if hasattr(m, "_flatten_mapping") else []\n',
    "getattr": 'found = list(getattr(m, "_flatten_mapping", {}))\n',
    "the name in a constant": 'NAME = "_flatten_mapping"\nfound = list(getattr(m, NAME, {}))\n',
    "attrgetter": (
        "from operator import attrgetter\n"
        'find = attrgetter("_flatten_mapping.keys")\n'
        "try:\n    found = list(find(m)())\nexcept AttributeError:\n    found = []\n"
    ),
    "try": "try:\n    found = list(m._flatten_mapping)\nexcept AttributeError:\n    found = []\n",
    **{
        table: f"try:\n    found = list({table}[m])\nexcept AttributeError:\n    found = []\n"
        for table in TABLES
    },
}
"""Programs that list the names of torch's registries, on the releases that have these, and nothing elsewhere."""


def listed(code):
    names: dict[str, Any] = {}
    reset()
    with fake_world(8, rank=5), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(compile(code, "program", "exec"), names)  # noqa: S102
        except (AttributeError, KeyError):  # no `_flatten`, or no slice by two names
            return None
        return names["found"]


@pytest.mark.parametrize("publish", [False, True], ids=["", "published"])
@pytest.mark.parametrize("program", LISTED.values(), ids=LISTED)
def test_a_list_of_the_flattened_names_is_that_of_the_original(program, publish):
    before = HEAD + FLATTENED + program
    plan = planned({"a.py": before.encode()}, publish=publish)
    after = plan.contents.get("a.py", before.encode()).decode()
    assert listed(before) in (None, listed(after))
    assert ("._flatten(" in after) is not publish
    said = [one.left for one in plan.part.findings if one.name == "DeviceMesh._flatten"]
    assert ("torch's registry" in said[0]) is not publish
