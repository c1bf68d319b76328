"""Which objects the audit takes for torch's meshes, and how sure it is."""

from __future__ import annotations

import inspect
import re

import pytest

import meshcompat as mc
from meshcompat.audit.reading import own
from meshcompat.audit.values import Kind
from tests.support.audited import judged

pytestmark = pytest.mark.once

HEAD = "import meshcompat\nimport meshcompat as mc\nfrom meshcompat import get_submesh\n"


def lines(text, **others):
    """Return the line, code and confidence of what is found, guarded sites left out."""
    return [
        (finding.span.line, finding.code, finding.confidence.word)
        for finding in judged(text, **others)
        if finding.path == "a.py" and not finding.is_guarded
    ]


def returned(name):
    """Return how a public function's return annotation is spelled."""
    return str(inspect.signature(getattr(mc, name)).return_annotation)


MAKERS = [
    name
    for name in mc.__all__
    if inspect.isfunction(getattr(mc, name)) and "DeviceMesh" in returned(name)
]


@pytest.mark.parametrize("name", MAKERS)
def test_each_function_of_meshcompat_that_returns_meshes_gives_known_ones(name):
    found = own.given(f"meshcompat.{name}", "here", [], {})
    assert found is not None
    kind = (
        Kind.SEQUENCE if "tuple[" in returned(name)
        else Kind.CONTAINER if re.search(r"list\[|Mapping\[", returned(name))
        else Kind.MESH
    )  # fmt: skip
    assert found.kind is kind


def test_there_are_such_functions_and_others_give_nothing():
    assert len(MAKERS) > 15
    assert all(
        own.given(f"meshcompat.{name}", "here", [], {}) is None
        for name in mc.__all__
        if name not in MAKERS
    )


@pytest.mark.parametrize(
    "made",
    [
        'meshcompat.get_submesh(x, ("dp", "cp"))',
        'mc.get_submesh(x, ("dp", "cp"))',
        'get_submesh(x, ("dp", "cp"))',
        'mc.flatten(x, ("dp", "cp"), "q")',
        'mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "cp"))',
        "mc.get_root_mesh(x)",
        'mc.get_all_submeshes(x, "dp")[0]',
        'mc.get_flattened_meshes(x)["dp"]',
        "mc.create_device_meshes(x, y, world_size=8)[1]",
        'meshcompat.mesh_utils.get_flat_mesh(x, "dp")',
    ],
)
def test_what_meshcompat_gives_is_surely_a_mesh_of_torch(made):
    assert lines(f"{HEAD}def f(x, y):\n    part = {made}\n    return part._layout\n") == [
        (6, "MC101", "high")
    ]
    assert lines(f"{HEAD}def f(x, y):\n    return {made}._layout\n") == [(5, "MC101", "high")]


def test_a_file_that_names_meshcompat_and_not_torch_is_read():
    assert lines("import meshcompat as mc\nmc.get_root_mesh(x)._layout\n") == [(2, "MC101", "high")]


def test_a_slice_of_what_get_submesh_sliced_is_a_slice_of_a_slice():
    text = HEAD + 'w = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "cp"))\n'
    assert lines(text + 'mc.get_submesh(w, ("dp",))["dp"]\n') == []
    text = text.replace('"cp")', '"cp", "tp")')
    assert lines(text + 'mc.get_submesh(w, ("dp", "cp"))["dp"]\n') == [(5, "MC203", "high")]
    assert lines(text + 'mc.get_submesh(w, ("cp", "dp"))["dp"]\n') == []


def test_a_name_of_meshcompat_that_gives_no_mesh_is_none():
    text = HEAD + "import torch\nmc.layout_of(x)._layout\nmc.get_ranks(x)._layout\n"
    assert {confidence for _, _, confidence in lines(text)} == {"low"}


OTHERS = {
    "a grid": "import numpy as np\nmesh = np.meshgrid([1], [2])",
    "a part of a grid": "import numpy as np\nx, mesh = np.meshgrid([1], [2])",
    "jax's": 'import jax\nmesh = jax.make_mesh((2, 4), ("a", "b"))',
    "jax's by a name": "from jax.experimental import mesh_utils as mu\nmesh = mu.create_device_mesh((2, 4))",
    "jax's in a block": "from jax import make_mesh\nwith make_mesh() as mesh:\n    pass",
    "torch_xla's": "from torch_xla.distributed.spmd import get_global_mesh\nmesh = get_global_mesh()",
    "a table": "import pandas as pd\nmesh = pd.read_csv('x').groupby('y')",
    "a surface": "import trimesh\nmesh = trimesh.load('x').geometry['mesh']",
    "one of many": "import trimesh\nfor mesh in trimesh.load('x').dump():\n    pass",
}


@pytest.mark.parametrize("made", OTHERS.values(), ids=OTHERS)
def test_what_a_package_of_another_field_gives_is_no_mesh(made):
    text = f'import torch\n{made}\nmesh["a", "b"]\nmesh._layout\nmesh._flatten("x")\n'
    assert lines(text) == []


def test_a_name_alone_says_mesh_at_medium():
    assert lines('import torch\ndef f(df_mesh):\n    return df_mesh["a", "b"]\n') == [
        (3, "MC205", "medium")
    ]
