"""What each private call becomes, and what stays as it is, with the reason."""

from __future__ import annotations

import pytest

from meshcompat.audit import ignores
from meshcompat.audit.rules import RULES
from tests.support import corpus
from tests.support.rewritten import HEAD, planned, rewritten

pytestmark = pytest.mark.once

REWRITES = {
    "a mesh that is flattened": ('x = m._flatten("n")', 'x = meshcompat.flatten(m, "n")'),
    "a flattening by keyword": (
        'x = m._flatten(mesh_dim_name="n")',
        'x = meshcompat.flatten(m, mesh_dim_name="n")',
    ),
    "a slice that is flattened": (
        'x = m["dp", "cp"]._flatten("n")',
        'x = meshcompat.flatten(m, ("dp", "cp"), "n")',
    ),
    "a slice by a tuple that is flattened": (
        'x = m[("dp", "cp")]._flatten("n")',
        'x = meshcompat.flatten(m, ("dp", "cp"), "n")',
    ),
    "one dim that is flattened": (
        'x = m["dp"]._flatten()',
        'x = meshcompat.flatten(m["dp"])',
    ),
    "a flattening with a backend": (
        'x = m._flatten("n", "gloo")',
        'x = meshcompat.flatten(m, "n", backend_override="gloo")',
    ),
    "a flattened name that is sliced": (
        'm["dp", "cp"]._flatten("n")\nx = m["n"]',
        'meshcompat.flatten(m, ("dp", "cp"), "n")\nx = meshcompat.get_flat_mesh(m, "n")',
    ),
    "a flattened name beside another": (
        'm["dp", "cp"]._flatten("n")\nx = m["n", "tp"]',
        'meshcompat.flatten(m, ("dp", "cp"), "n")\nx = meshcompat.get_submesh(m, ("n", "tp"))',
    ),
    "the group of a flattened name": (
        'm._flatten("n")\nx = m.get_group("n"), m.get_local_rank(mesh_dim="n")',
        'meshcompat.flatten(m, "n")\nx = meshcompat.get_group(m, "n"), meshcompat.get_local_rank(m, name="n")',
    ),
    "dims out of order": ('x = m["tp", "dp"]', 'x = meshcompat.get_submesh(m, ("tp", "dp"))'),
    "several dims": ('x = m["dp", "tp"]', 'x = meshcompat.get_submesh(m, ("dp", "tp"))'),
    "a mesh that is unflattened": (
        'x = m._unflatten(0, (1, 2), ("a", "b"))',
        'x = meshcompat.unflatten(m, 0, (1, 2), ("a", "b"))',
    ),
    "an unflattening by keywords": (
        'x = m._unflatten(dim="dp", mesh_sizes=(1, 2), mesh_dim_names=("a", "b"))',
        'x = meshcompat.unflatten(m, mesh_dim="dp", mesh_sizes=(1, 2), mesh_dim_names=("a", "b"))',
    ),
    "an unflattening with a backend": (
        'x = m._unflatten(0, (1, 2), ("a", "b"), {"a": "gloo"})',
        'x = meshcompat.unflatten(m, 0, (1, 2), ("a", "b"), backend_override={"a": "gloo"})',
    ),
    "meshes that are concatenated": (
        'x = DeviceMesh._concatenate([m["dp"], m["tp"]])',
        'x = meshcompat.concatenate([m["dp"], m["tp"]])',
    ),
    "meshes that are concatenated by keyword": (
        'x = m._concatenate(device_mesh_list=[m["dp"], m["tp"]])',
        'x = meshcompat.concatenate(meshes=[m["dp"], m["tp"]])',
    ),
    "a root": ("x = m._get_root_mesh()", "x = meshcompat.get_root_mesh(m)"),
    "a root of torch's table": (
        "x = _mesh_resources.get_root_mesh(m)",
        "x = meshcompat.get_root_mesh(m)",
    ),
    "a root of torch's table by keyword": (
        "x = _mesh_resources.get_root_mesh(device_mesh=m)",
        "x = meshcompat.get_root_mesh(mesh=m)",
    ),
    "all submeshes": (
        'x = m._get_all_submeshes("dp")',
        'x = meshcompat.get_all_submeshes(m, "dp")',
    ),
    "all submeshes by keyword": (
        'x = m._get_all_submeshes(mesh_dim_name="dp")',
        'x = meshcompat.get_all_submeshes(m, name="dp")',
    ),
    "a read of the table of flattened meshes": (
        'm._flatten("n")\nx = m._flatten_mapping["n"]',
        'meshcompat.flatten(m, "n")\nx = meshcompat.get_flat_mesh(m, "n")',
    ),
    "a question to the table of flattened meshes": (
        'm._flatten("n")\nx = "n" in m._flatten_mapping',
        'meshcompat.flatten(m, "n")\nx = "n" in meshcompat.get_flattened_meshes(m)',
    ),
    "all of the table of flattened meshes": (
        "x = list(m._flatten_mapping.items())",
        "x = list(meshcompat.get_flattened_meshes(m).items())",
    ),
    "a root with backends": (
        'x = init_device_mesh("cpu", (8,), backend_override={0: "gloo"})',
        'x = meshcompat.init_device_mesh("cpu", (8,), backend_override={0: "gloo"})',
    ),
    "one call in another": (
        'x = m["dp", "cp"]._flatten("n")._get_root_mesh()',
        'x = meshcompat.get_root_mesh(meshcompat.flatten(m, ("dp", "cp"), "n"))',
    ),
    "lines and comments": (
        "x = m[\n    'dp',  # first\n    'cp'  # last\n]._flatten(\n    'n',  # name\n)",
        "x = meshcompat.flatten(m, (\n    'dp',  # first\n    'cp'  # last\n),\n    'n',  # name\n)",
    ),
    "brackets around the mesh": (
        "x = (m)._get_root_mesh( )",
        "x = meshcompat.get_root_mesh((m) )",
    ),
}


@pytest.mark.parametrize(("before", "after"), REWRITES.values(), ids=REWRITES)
def test_a_call_becomes_that_of_meshcompat(before, after):
    assert rewritten(before) == (after, [])


RESULT = """if m:
\tmeshcompat.register_flattened_axes(m, {"n": ("dp",)}, publish=True)
\tx = meshcompat.get_flat_mesh(m, "n")"""
PUBLISHED = {
    "a statement": (
        'm["dp", "cp"]._flatten("n")',
        'meshcompat.register_flattened_axes(m, {"n": ("dp", "cp")}, publish=True)',
    ),
    "a mesh with a name": (
        "m._flatten(name)",
        "meshcompat.register_flattened_axes(m, {name: m.mesh_dim_names}, publish=True)",
    ),
    "a result": ('if m:\n\tx = m["dp"]._flatten("n")', RESULT),
}


@pytest.mark.parametrize(("before", "after"), PUBLISHED.values(), ids=PUBLISHED)
def test_a_published_name_stays_in_the_registry(before, after):
    assert rewritten(before, publish=True) == (after, [])


def test_a_look_up_in_another_file_is_rewritten_along():
    other = 'import torch\ndef f(mesh):\n    return mesh["n"]\n'
    assert rewritten('m._flatten("n")', b=other) == ('meshcompat.flatten(m, "n")', [])


REFUSED = {
    "a function that is handed on": (
        'import functools\nx = functools.partial(init_device_mesh, "cpu", backend_override={})',
        "init_device_mesh is not called where it stands",
    ),
    "a method that is handed on with a backend": (
        'import functools\nx = functools.partial(m._flatten, "n", backend_override="gloo")',
        "_flatten is not called where it stands",
    ),
    "a name that stands elsewhere": (
        'x = m._flatten("n")\nNAMES = ["n"]',
        "'n' also stands at",
    ),
    "a name that is computed": ("x = m._flatten(NAME)", "its name is no text there"),
    "a slice that something else takes": (
        'x = m._flatten("n")\ny = other["n"]',
        "'n' also stands at",
    ),
    "unpacked arguments": ("x = m._unflatten(*given)", "unpacked"),
    "a method that is handed on": ("x = m._get_root_mesh", "not called where it stands"),
    "getattr": ('x = getattr(m, "_get_root_mesh")()', "getattr"),
    "a write": ('m._flatten_mapping["n"] = m', "there is no rewrite for it"),
    "names for other dims": (
        'm["dp", "cp"]._flatten("n")\nm["cp", "tp"]._flatten("n")',
        "the name is given to other dims too",
    ),
    "a layout": ("x = m._layout", "there is no rewrite for it"),
    "an f-string": ('x = f"{m._get_root_mesh()}"', "f-string"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_safe_stays_and_says_why(text, reason):
    body, reasons = rewritten(text)
    assert "meshcompat.flatten" not in body
    assert "meshcompat.get_root_mesh" not in body
    assert any(reason in one for one in reasons), reasons


@pytest.mark.parametrize("publish", [False, True], ids=["", "published"])
def test_a_slice_stays_with_the_flattening_that_it_is_part_of(publish):
    text = 'x = m["dp", "cp"]._flatten("n")\nNAMES = ["n"]'
    text = text.replace('"n")', '"n", "gloo")') if publish else text
    body, reasons = rewritten(text, publish=publish)
    assert body == text
    assert len(reasons) == 2
    assert "it is what _flatten flattens, which stays" in reasons


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    x = m._get_root_mesh()\n    y = 1\nexcept AttributeError:\n    x = m\n",
        'if hasattr(m, "_get_root_mesh"):\n    x = m._get_root_mesh()\n',
        "def f(tree):\n    return tree._get_root_mesh()\n",
        'CODE = """x = m._get_root_mesh()"""\n',
        "x = m._get_root_mesh()  # meshcompat: ignore\n",
    ],
)
def test_what_is_guarded_unsure_or_text_stays(text):
    plan = planned({"a.py": (HEAD + text).encode()})
    silenced = ignores.find(next(iter(plan.part.survey.sources.values())))
    assert plan.contents == {} or silenced


def test_a_guard_that_lets_more_through_keeps_its_name():
    text = 'if not hasattr(m, "_flatten"):\n    raise RuntimeError\nm._flatten("n")\nm["n"]\n'
    body, _ = rewritten(text)
    assert 'm._flatten("n")' in body


@pytest.mark.parametrize("publish", [False, True], ids=["", "published"])
def test_a_second_run_finds_nothing_to_rewrite_in_any_example(publish):
    examples = [
        {"a.py": text.encode()}
        for rule in RULES
        for text in (*rule.positive, *rule.negative, *rule.guarded)
    ]
    examples += [
        {path: text.encode() for path, text in case.files.items()} for case in corpus.cases()
    ]
    changed = 0
    for files in examples:
        first = planned(files, publish=publish)
        changed += len(first.contents)
        assert planned(files | first.contents, publish=publish).contents == {}
        unsaid = [one.message for one in first.part.findings if not (one.fixable or one.left)]
        assert unsaid == []
    assert changed > 50
