"""The list of other projects' wheels names what is there: rows, tests, releases."""

import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
LIST = tomllib.loads((ROOT / "ci" / "downstream.toml").read_text(encoding="utf-8"))
MATRIX = tomllib.loads((ROOT / "ci" / "torch-matrix.toml").read_text(encoding="utf-8"))["rows"]
PROJECTS = {row["project"] for row in LIST["rows"]}


def test_every_row_is_one_project_on_one_row_of_the_matrix():
    pairs = [(row["project"], row["torch"]) for row in LIST["rows"]]
    assert len(set(pairs)) == len(pairs)
    assert {torch for _, torch in pairs} <= {row["id"] for row in MATRIX}


def test_every_project_has_its_tests_and_every_file_of_tests_its_project():
    files = {f"test_{project.replace('-', '_')}.py" for project in PROJECTS}
    assert {path.name for path in (ROOT / "downstream").glob("test_*.py")} == files
    assert set(LIST["said"]) == PROJECTS


@pytest.mark.parametrize("project", sorted(PROJECTS))
def test_every_project_runs_on_the_newest_torch_and_on_an_older_one(project):
    releases = [row["torch"] for row in LIST["rows"] if row["project"] == project]
    order = [row["id"] for row in MATRIX]
    newest = [row["id"] for row in MATRIX if "edge" in row["tags"]][-1]
    assert releases[0] == newest
    assert len(releases) > 1
    assert sorted(releases, key=order.index, reverse=True) == releases


@pytest.mark.parametrize("row", LIST["rows"], ids=lambda row: f"{row['project']}-{row['torch']}")
def test_what_a_row_cannot_do_is_a_test_with_a_reason(row):
    tests = (ROOT / "downstream" / f"test_{row['project'].replace('-', '_')}.py").read_text()
    for name, reason in row.get("cannot", {}).items():
        assert f"def {name}(" in tests
        assert reason
