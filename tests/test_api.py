"""`meshcompat api` and the table behind it, told without torch: what it knows, and how it says so."""

import json
import re
import shlex
from pathlib import Path

import pytest

import meshcompat as mc
from meshcompat import _release
from meshcompat.__main__ import main
from meshcompat.api import answer, table
from meshcompat.api.replacements import REPLACEMENTS

pytestmark = pytest.mark.once

NEWEST = table.releases()[-1]
PAGE = Path(__file__).parent.parent.joinpath("docs", "names.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "since", "until"),
    [
        ("DeviceMesh._flatten", "2.5.0", None),
        ("DeviceMesh._unflatten", "2.10.0", None),
        ("DeviceMesh._parent_mesh", "2.4.0", "2.4.1"),
        ("DeviceMesh._dim_group_infos", "2.2.0", "2.7.1"),
        ("_mesh_resources.child_to_root_mapping", "2.5.0", "2.9.1"),
        ("torch.distributed.DeviceMesh", "2.4.0", None),
        ("torch.distributed.DeviceMesh._flatten", "2.5.0", None),
        ("torch.distributed._tensor.device_mesh", "2.2.0", None),
        ("torch.distributed._tensor.device_mesh.DeviceMesh", "2.2.0", None),
        ("_MeshLayout.cosize", "2.10.0", None),
        ("_MeshLayout.index", "2.13.0", None),
        ("_FlatLayout", "2.13.0", None),
        ("DeviceMesh.__getitem__", "2.2.0", None),
        ("torch.distributed.DeviceMesh.__init__", "2.4.0", None),
    ],
)
def test_a_name_has_its_releases_by_every_path(name, since, until):
    found = table.lookup(name).releases
    assert (found[0], found[-1]) == (since, until or table.releases()[-1])


@pytest.mark.parametrize(
    ("function", "parameter", "since"),
    [
        ("DeviceMesh", "_init_backend", "2.3.1"),
        ("DeviceMesh", "_rank", "2.10.0"),
        ("DeviceMesh._flatten", "backend_override", "2.9.0"),
        ("torch.distributed.new_group", "device_id", "2.6.0"),
        ("_mesh_resources.get_root_mesh", "device_mesh", "2.5.0"),
    ],
)
def test_a_parameter_has_its_releases(function, parameter, since):
    assert table.lookup(function).parameters[parameter][0] == since


def test_a_special_method_that_the_table_leaves_out_is_not_denied(capsys):
    assert main(["api", "DeviceMesh.__len__"]) == 1
    error = capsys.readouterr().err
    assert "'DeviceMesh.__len__' is not in the table, which does not say whether torch" in error
    assert "__enter__, __eq__, __exit__, __getitem__, __hash__, __init__" in error
    assert error.count("\n") == 1


def test_a_call_warns_since_a_release():
    assert table.lookup("_mesh_resources.get_root_mesh").warns[0] == "2.10.0"
    assert table.lookup("DeviceMesh._flatten").warns == ()


def test_what_is_not_torchs_is_not_known():
    for name in (
        "flatten",
        "DeviceMesh.nonsense",
        "torch.distributed.DeviceMesh.nonsense",
        "DeviceMesh.mesh.shape",
        "",
        "torch",
    ):
        assert table.lookup(name) is None


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("2.9.1+cu128", "2.9.1"),
        ("2.9.7", "2.9.1"),
        ("2.99.0.dev20270101", NEWEST),
        ("3.0", NEWEST),
        ("2.15.0a0+git123", "2.15.0"),
        ("1.13", "2.2.0"),
    ],
)
def test_a_version_counts_as_a_release_that_is_known(version, release):
    assert table.known_release(version) == release
    assert table.is_newer(version) == version.startswith(("2.99", "3"))


def test_every_patch_is_known_and_the_newest_of_each_minor():
    assert {"2.3.0", "2.3.1", "2.9.0", "2.9.1", "2.12.1"} < set(table.releases())
    assert table.newest_patches()[0] == "2.2.2"
    minors = [_release.minor_of(release) for release in table.newest_patches()]
    assert minors == [(2, minor) for minor in range(2, 2 + len(minors))]


def test_releases_are_told_in_few_words():
    assert table.spans(table.releases()) == "2.2+"
    assert table.spans(("2.2.2", "2.3.0", "2.10.0")) == "2.2.2-2.3.0, 2.10"
    assert table.spans(()) == "none"


def test_a_replacement_is_about_a_name_of_torch_and_calls_what_there_is():
    names = {table.short_of(name.name) for name in table.matching("")}
    assert set(REPLACEMENTS) <= names
    ours = re.findall(r"meshcompat\.(\w+)", " ".join(REPLACEMENTS.values()))
    assert set(ours) <= set(mc.__all__)


def test_every_name_fits_the_terminal_but_for_addresses(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    for name in table.matching(""):
        lines = answer.in_full(name, NEWEST).splitlines()
        assert max(len(line) for line in lines if "://" not in line) <= 60
        assert "".join("".join(lines).split()).startswith(f"{name.name}({name.kind})")


def test_one_name_is_told_in_full(capsys):
    assert main(["api", "get_root_mesh()"]) == 0
    out = capsys.readouterr().out
    for said in (
        "_MeshEnv.get_root_mesh  (method)",
        "exists on   torch 2.5+",
        "missing on  torch 2.2-2.4",
        "warns on    torch 2.10+",
        "instead     meshcompat.get_root_mesh(mesh)",
        f"source      https://github.com/pytorch/pytorch/blob/v{NEWEST}/torch/distributed/",
        "exists, and warns",
    ):
        assert said in out


@pytest.mark.parametrize("columns", [60, 120])
def test_several_names_are_a_line_each(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["api", "torch.distributed.tensor."]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert any("torch.distributed.tensor.DeviceMesh" in line for line in lines)


def test_a_private_name_is_found_without_its_underscore(capsys):
    assert main(["api", "flatten"]) == 0
    assert "DeviceMesh._flatten  " in capsys.readouterr().out


def test_a_name_that_no_release_has_exits_with_1_and_says_what_comes_near(capsys):
    assert main(["api", "DeviceMesh.flaten"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "did you mean DeviceMesh._flatten" in captured.err
    assert main(["api", "zzz"]) == 1
    assert "lists all" in capsys.readouterr().err


def test_json_says_the_same(capsys):
    assert main(["api", "--json", "DeviceMesh._parent_mesh"]) == 0
    document = json.loads(capsys.readouterr().out)
    (name,) = document["names"]
    assert name["releases"] == ["2.4.0", "2.4.1"]
    assert sorted([*name["releases"], *name["missing"]]) == sorted(document["releases"])
    assert main(["api", "--json", "zzz"]) == 1
    assert json.loads(capsys.readouterr().out)["names"] == []


def test_a_torch_that_is_newer_than_the_table_counts_as_the_newest(capsys, monkeypatch):
    monkeypatch.setattr("meshcompat._release.installed_torch", lambda: "2.99.0")
    main(["api", "DeviceMesh._flatten"])
    assert f"torch 2.99.0: exists (read as {NEWEST}" in capsys.readouterr().out


def test_the_page_shows_what_the_command_prints(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("meshcompat._release.installed_torch", lambda: NEWEST)
    blocks = re.findall(r"```console\n\$ meshcompat (.*)\n([^`]*)```", PAGE)
    assert blocks
    for line, shown in blocks:
        assert main(shlex.split(line)) == 0
        assert capsys.readouterr().out == shown


def test_the_page_says_what_the_table_answers():
    (block,) = re.findall(r"```python\n([^`]*)```", PAGE)
    given = {}
    exec(block, given)  # noqa: S102
    answers = re.findall(r"^(\S.*?)  # (.*)$", block, re.MULTILINE)
    assert len(answers) == 4
    for expression, shown in answers:
        assert repr(eval(expression, given)) == shown  # noqa: S307
