"""`meshcompat matrix`: one list, the same as ours, in any range and format."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from packaging.version import Version

from meshcompat.__main__ import main
from meshcompat.api import table
from meshcompat.matrix import Row, rows

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.once

OURS = tomllib.loads(
    Path(__file__).parent.parent.joinpath("ci", "torch-matrix.toml").read_text(encoding="utf-8")
)


def test_the_list_is_that_of_our_own_matrix():
    """Run ci/releases.py where this fails."""
    known = {row.torch: row for row in rows(every_patch=True)}
    assert tuple(known) == table.releases()
    for ours in OURS["rows"]:
        row = known[ours["version"]]
        assert list(row.pins) == ours["pins"]
        assert list(row.reasons) == [OURS["reasons"][pin] for pin in ours["pins"]]
        pythons = [row.oldest_python, ours["python"], row.newest_python]
        assert sorted(pythons, key=Version) == pythons
    assert {row.torch: row.note for row in known.values() if row.note} == OURS["notes"]
    edges = {row["version"] for row in OURS["rows"] if "edge" in row["tags"]}
    assert {row.torch for row in rows(edges=True, every_patch=True)} == edges | {"2.2.0"}


def test_a_row_is_the_newest_patch_of_a_minor_that_the_range_has():
    assert [row.torch for row in rows(">=2.8,<2.13")] == [
        "2.8.0",
        "2.9.1",
        "2.10.0",
        "2.11.0",
        "2.12.1",
    ]
    assert [row.torch for row in rows(">=2.9,!=2.9.1,<2.10")] == ["2.9.0"]
    assert [row.torch for row in rows("==2.12.*", every_patch=True)] == ["2.12.0", "2.12.1"]
    assert rows(f">{table.releases()[-1]}") == []


def test_edges_are_the_ends_of_the_range_and_where_meshes_changed():
    assert [row.torch for row in rows(">=2.6,<2.13", edges=True)] == [
        "2.6.0",
        "2.9.1",
        "2.10.0",
        "2.12.1",
    ]


def test_a_row_has_the_oldest_python_or_the_one_that_was_asked_for():
    assert rows("==2.15.0") == [Row("2.15.0", "3.11", "3.11", "3.15", (), ())]
    assert [row.python for row in rows("==2.4.*,>=2.4")] == ["3.10"]
    asked = rows(python="3.13.2")
    assert {row.python for row in asked} == {"3.13"}
    assert asked[0].torch == "2.5.1"


def test_a_row_says_what_to_install_and_why():
    (row,) = rows("==2.2.2")
    assert row.requirements == ["torch==2.2.2", "numpy<2"]
    assert "NumPy 1" in row.reasons[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"torch": "2.5"}, "'2.5' is no range"),
        ({"python": "3"}, "'3' is no version of Python"),
        ({"python": "new"}, "'new' is no version of Python"),
        ({"python": "3.9"}, "3.9 is older than 3.10"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said, capsys):
    with pytest.raises(ValueError, match=said):
        rows(**arguments)
    words = [word for key, value in arguments.items() for word in (f"--{key}", value)]
    with pytest.raises(SystemExit) as ended:
        main(["matrix", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def printed(capsys, *words):
    assert main(["matrix", *words]) == 0
    return capsys.readouterr().out


def test_text_has_a_line_for_each_row_and_the_reasons_below(capsys):
    lines = printed(capsys, "--torch", "<2.4", "--python", "3.10").splitlines()
    assert lines[0].split() == ["torch", "python", "has", "wheels", "for", "needs"]
    assert lines[1].split() == ["2.2.2", "3.10", "3.10", "to", "3.12", "numpy<2"]
    assert lines[2].split() == ["2.3.1", "3.10", "3.10", "to", "3.12"]
    assert lines[-1].startswith("numpy<2: torch 2.2 was built")


@pytest.mark.parametrize("words", [["--torch", "==2.3.0"], ["--every-patch"]])
def test_a_release_that_meshcompat_refuses_has_a_note(words, capsys):
    out = " ".join(printed(capsys, *words).split())
    assert "torch 2.3.0: meshcompat refuses this release" in out
    rows_ = json.loads(printed(capsys, *words, "--format", "json"))
    assert [row["torch"] for row in rows_ if row["note"]] == ["2.3.0"]


def test_text_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, printed(capsys, "--every-patch").splitlines())) <= 60
    monkeypatch.setenv("COLUMNS", "200")
    assert len(printed(capsys, "--torch", "==2.2.2").splitlines()) == 4


def test_json_and_toml_say_the_same(capsys):
    as_json = json.loads(printed(capsys, "--format", "json"))
    assert tomllib.loads(printed(capsys, "--format", "toml")) == {"rows": as_json}
    assert [row["torch"] for row in as_json] == list(table.newest_patches())
    assert as_json[0]["requirements"] == ["torch==2.2.2", "numpy<2"]


def test_github_is_one_output_whose_cells_a_shell_takes_as_they_are(capsys):
    line = printed(capsys, "--torch", ">=2.2.2,<2.4", "--format", "github")
    name, _, value = line.partition("=")
    assert (name, line.count("\n")) == ("matrix", 1)
    assert json.loads(value)["include"] == [
        {"torch": "2.2.2", "python": "3.10", "requirements": "torch==2.2.2 'numpy<2'"},
        {"torch": "2.3.1", "python": "3.10", "requirements": "torch==2.3.1"},
    ]


def test_no_release_that_fits_exits_with_1(capsys):
    assert main(["matrix", "--torch", "<2.5", "--python", "3.15"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no release fits torch <2.5 with Python 3.15" in captured.err


def test_the_page_shows_what_the_command_prints(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    page = Path(__file__).parent.parent.joinpath("docs", "matrix.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```console\n\$ meshcompat (.*)\n([^`]*)```", page)
    assert blocks
    for line, shown in blocks:
        assert main(shlex.split(line)) == 0
        assert capsys.readouterr().out == shown
