"""The command: exit codes, formats, configuration, baseline, ignores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.audited import as_json, run

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.once

CODE = """\
from torch.distributed.device_mesh import DeviceMesh


def f(mesh: DeviceMesh):
    return mesh._get_root_mesh()
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "mesh.py").write_text(CODE)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\ndependencies = ["torch>=2.6.0"]\n'
    )
    return tmp_path


def configure(folder, text):
    path = folder / "pyproject.toml"
    path.write_text(path.read_text() + "[tool.meshcompat.audit]\n" + textwrap.dedent(text))


def test_findings_exit_with_one_and_the_verdict_comes_last(folder):
    code, out, err = run(folder)
    assert (code, err) == (1, "")
    assert f"{folder}/src/mesh.py:5:17: MC101 DeviceMesh._get_root_mesh" in out
    assert (
        "mine: declares torch>=2.6.0, runs on >=2.10: DeviceMesh._get_root_mesh at"
        in out.splitlines()[-2]
    )
    assert out.splitlines()[-2].endswith("mesh.py:5 needs 2.10")


def test_nothing_found_exits_with_zero_and_says_so(folder):
    code, out, _ = run(folder, "--torch", ">=2.10")
    assert code == 0
    assert "mine: nothing found" in out


def test_a_release_newer_than_the_table_counts_as_the_newest_and_is_told_of(folder):
    code, out, _ = run(folder, "--torch", ">=2.99")
    assert code == 0
    assert "torch 2.99 is newer than what this meshcompat knows: it counts as" in out
    code, out, err = run(folder, "--torch", "==2.99.1", "--format", "json")
    assert len(json.loads(out)["releases"]) == 1
    assert "torch 2.99.1 is newer" in err


def test_a_local_version_counts_as_its_release(folder):
    assert as_json(folder, "--torch", "==2.9.1+cpu")[1]["releases"] == ["2.9.1"]


def test_exit_zero(folder):
    assert run(folder, "--exit-zero")[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere.py",),
        (".", "--torch", "two"),
        (".", "--torch", "<2.2"),
        (".", "--select", "MC9"),
        (".", "--confidence", "some"),
        (".", "--baseline", "nowhere.json"),
        ("--explain", "MC999"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_exits_with_two_in_one_line(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("meshcompat audit: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["n.ipynb", "t.txt", "script", "pyproject.toml"])
def test_a_named_file_of_a_kind_that_is_not_read_is_a_wrong_call(tmp_path, name):
    (tmp_path / name).write_text("{}")
    code, out, err = run(tmp_path / name)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "give a folder, a .py file, a wheel or an sdist" in err


@pytest.mark.parametrize("name", ["x.tar.gz", "x.whl"])
def test_a_broken_archive_is_told_of_in_one_line(tmp_path, name):
    (tmp_path / name).write_bytes(b"broken")
    code, out, _ = run(tmp_path / name)
    assert code == 1
    (finding, rest) = out.split("\n\n")
    assert "MC001 no archive that can be read: " in finding
    assert (finding.count("\n"), finding.endswith(":")) == (0, False)
    assert rest == "1 finding in 0 files\n"


@pytest.mark.parametrize("arguments", [("--rules",), ("--explain", "MC204"), (".",)], ids=" ".join)
def test_a_closed_pipe_ends_as_with_the_other_commands(folder, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "meshcompat", "audit", *arguments],
            check=False,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (ended.returncode, ended.stderr) == (141, "")


def test_the_json_has_the_fields_of_the_contract(folder):
    code, data = as_json(folder)
    assert code == 1
    assert list(data) == [
        "meshcompat",
        "torch",
        "releases",
        "findings",
        "projects",
        "files",
        "skipped",
    ]
    assert data["torch"] == ">=2.6.0"
    assert data["releases"][0] == "2.6.0"
    (finding,) = data["findings"]
    assert {key: finding[key] for key in ("path", "line", "column", "end_line", "end_column", "code", "name")} == {
        "path": "src/mesh.py", "line": 5, "column": 17, "end_line": 5, "end_column": 31, "code": "MC101",
        "name": "DeviceMesh._get_root_mesh",
    }  # fmt: skip
    assert (
        finding["confidence"],
        finding["guarded"],
        finding["warns_on"],
        finding["wrong_on"],
    ) == ("high", False, [], [])
    assert finding["fails_on"] == ["2.6.0", "2.7.1", "2.8.0", "2.9.1"]
    assert finding["link"].startswith("https://github.com/pytorch/pytorch/")
    (project,) = data["projects"]
    assert project["path"] == "."
    assert project["runs_on"][0] == "2.10.0"
    assert project["because"] == [{"path": "src/mesh.py", "line": 5, "code": "MC101"}]
    assert (data["files"], data["skipped"]) == (1, [])


def test_guarded_sites_are_listed_in_json_with_low_confidence_only(folder):
    (folder / "src" / "mesh.py").write_text(
        CODE.replace("    return", '    if hasattr(mesh, "_get_root_mesh"):\n        return')
    )
    assert as_json(folder)[1]["findings"] == []
    code, data = as_json(folder, "--confidence", "low")
    assert code == 0
    assert [finding["guarded"] for finding in data["findings"]] == [True]


def test_an_ignore_silences_its_line_and_an_idle_one_is_found(folder):
    path = folder / "src" / "mesh.py"
    path.write_text(CODE.rstrip() + "  # meshcompat: ignore[MC101]\n")
    assert run(folder)[0] == 0
    path.write_text(CODE.rstrip() + "  # meshcompat: ignore\n")
    assert run(folder)[0] == 0
    path.write_text(
        CODE.rstrip()
        + "  # meshcompat: ignore[MC101, MC205]\nx = 1  # meshcompat: ignore\ny = '# meshcompat: ignore'\n"
    )
    _, data = as_json(folder)
    assert [(one["code"], one["line"], one["name"]) for one in data["findings"]] == [
        ("MC003", 5, "MC205"),
        ("MC003", 6, "ignore"),
    ]


def test_an_ignore_takes_prefixes_of_codes(folder):
    path = folder / "src" / "mesh.py"
    path.write_text(CODE.rstrip() + "  # meshcompat: ignore[MC1]\n")
    assert run(folder)[0] == 0
    path.write_text(CODE.rstrip() + "  # meshcompat: ignore[MC1, MC2]\n")
    _, data = as_json(folder)
    assert [(one["code"], one["name"]) for one in data["findings"]] == [("MC003", "MC2")]


def test_the_file_configures_and_the_command_line_wins(folder):
    configure(folder, 'torch = ">=2.10"\n')
    assert run(folder)[0] == 0
    assert run(folder, "--torch", ">=2.9")[0] == 1
    assert as_json(folder)[1]["torch"] == ">=2.10"


@pytest.mark.parametrize(
    "line", ['ignore = ["MC1"]', 'select = ["MC2"]', 'exclude = ["src"]', 'exclude = ["src/*.py"]']
)
def test_the_file_takes_findings_away(folder, line):
    configure(folder, line + "\n")
    assert run(folder)[0] == 0


def test_an_unknown_key_is_an_error_that_names_it(folder):
    configure(folder, 'confidnce = "high"\n')
    code, _, err = run(folder)
    assert code == 2
    assert "confidnce" in err
    assert "confidence" in err


def test_a_baseline_holds_where_lines_move_and_counts_each_once(folder):
    path, known = folder / "src" / "mesh.py", folder / "known.json"
    assert run(folder, "--write-baseline", known)[0] == 0
    path.write_text("\n\n" + CODE)
    assert run(folder, "--baseline", known)[0] == 0
    path.write_text(
        "\n\n"
        + CODE
        + "    return mesh._get_root_mesh()\n\n\ndef g(mesh: DeviceMesh):\n    return mesh._get_root_mesh()\n"
    )
    assert len(as_json(folder, "--baseline", known)[1]["findings"]) == 1
    configure(folder, 'baseline = "known.json"\n')
    path.write_text(CODE)
    assert run(folder)[0] == 0


def test_a_file_that_is_no_baseline_is_said_to_be_none(folder):
    (folder / "known.json").write_text("[1]")
    code, _, err = run(folder, "--baseline", folder / "known.json")
    assert code == 2
    assert "no baseline" in err


def test_output_goes_to_a_file(folder):
    code, out, _ = run(folder, "--format", "json", "--output", folder / "out.json")
    assert (code, out) == (1, "")
    assert json.loads((folder / "out.json").read_text())["files"] == 1


def test_github_annotations_are_escaped(folder):
    _, out, _ = run(folder, "--format", "github")
    first = out.splitlines()[0]
    assert first.startswith("::error file=")
    assert ",line=5," in first
    assert "\n" not in first
    (folder / "src" / "a,b:c%.py").write_text(CODE)
    assert "a%2Cb%3Ac%25.py" in run(folder, "--format", "github")[1]


def test_sarif_names_its_rules_and_places(folder):
    _, out, _ = run(folder, "--format", "sarif")
    (only,) = json.loads(out)["runs"]
    (result,) = only["results"]
    assert only["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "MC101"
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 5, "startColumn": 17, "endLine": 5, "endColumn": 31}


def test_rules_are_listed_and_explained():
    code, out, _ = run("--rules")
    assert code == 0
    assert out.startswith("MC001")
    assert run("--explain", "mc201")[0] == 0


def test_torch_is_never_imported(folder):
    script = (
        "import sys; from meshcompat.__main__ import main; "
        f"code = main(['audit', {str(folder)!r}]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
