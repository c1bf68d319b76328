"""Which files are read at all: those that can touch a mesh, and no others."""

from __future__ import annotations

import pytest

from meshcompat.audit.files import Found
from meshcompat.audit.rules import judge
from meshcompat.audit.survey import survey
from meshcompat.audit.values import Confidence
from tests.support.audited import NOWHERE

pytestmark = pytest.mark.once

BUILD = """\
from torch.distributed.device_mesh import init_device_mesh
def build():
    return init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "cp"))
WORLD = build()
class Held:
    def __init__(self):
        self.world = build()
def number():
    return 3
"""


def read(**files):
    """Return the places that are found at medium or above, and the codes of files that cannot be read."""
    found = [
        Found(path, path, text.encode())
        for path, text in ((f"{name.replace('__', '/')}.py", text) for name, text in files.items())
    ]
    done = survey(found, NOWHERE)
    judged = [finding for sites in done.sites.values() for finding in judge(sites)]
    shown = [one for one in judged if one.confidence >= Confidence.MEDIUM and not one.is_guarded]
    places = [(one.path, one.span.line, one.code, one.confidence.word) for one in shown]
    return places, [problem.code for problem in done.problems], sorted(done.sources)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('mesh._flatten("x")', "MC101"),
        ('mesh._unflatten(0, (2, 2), ("a", "b"))', "MC101"),
        ("mesh._flatten_mapping", "MC101"),
        ("mesh._get_root_mesh()", "MC101"),
        ("mesh._dim_group_names", "MC101"),
    ],
)
def test_private_names_of_meshes_let_a_file_through_that_does_not_name_torch(line, code):
    assert read(a=f"def f(mesh):\n    return {line}\n")[0] == [("a.py", 2, code, "medium")]


def test_a_syntax_error_beside_such_a_name_is_told_of():
    assert read(a='def f(mesh:\n    return mesh._flatten("x")\n')[1] == ["MC002"]


@pytest.mark.parametrize(
    "text",
    [
        "def f(mesh):\n    return mesh._layout\n",
        'def f(mesh):\n    return mesh["a", "b"]\n',
        'def f(tree):\n    return tree._flatten("x")\n',
        "def _flatten(mesh):\n    return mesh\n",
    ],
)
def test_a_file_that_names_neither_torch_nor_members_of_its_own_is_not_read(text):
    assert read(a=text) == ([], [], [])


USES = {
    "a function": ("from .build import build", "x = build()\nx._layout"),
    "a function by another name": (
        "from .build import (\n    number,\n    build as b,\n)",
        "x = b()\nx._layout",
    ),
    "a module": ("from . import build", "x = build.build()\nx._layout"),
    "a value": ("from p.build import WORLD", "x = WORLD\nx._layout"),
    "a class": ("from p.build import Held", "def f(x: Held):\n    return x.world._layout"),
    "a hint beside it": ("from .build import build", "def f(mesh):\n    return mesh._layout"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_file_that_imports_what_leads_to_a_mesh_is_read(use):
    found, problems, _ = read(p____init__="", p__build=BUILD, p__use="\n".join(use) + "\n")
    assert [(path, code) for path, _, code, _ in found] == [("p/use.py", "MC101")]
    assert problems == []


def test_a_mesh_is_followed_through_a_file_that_hands_it_on():
    found, _, _ = read(
        p____init__="",
        p__build=BUILD,
        p__middle="from .build import build\ndef wrapped():\n    return build()\n",
        p__use="from .middle import wrapped\nx = wrapped()\nx._layout\n",
    )
    assert found == [("p/use.py", 3, "MC101", "high")]


@pytest.mark.parametrize(
    "text",
    [
        "from .build import number\nx = number()\nx._layout\n",
        "from .other import build\nx = build()\nx._layout\n",
        "from elsewhere.build import build\nx = build()\nx._layout\n",
        "import json\nx = build()\nx._layout\n",
    ],
)
def test_a_file_that_imports_nothing_of_meshes_is_not_read(text):
    files = {"p____init__": "", "p__build": BUILD, "p__other": "build = 3\n", "p__use": text}
    assert read(**files)[2] == ["p/build.py"]
