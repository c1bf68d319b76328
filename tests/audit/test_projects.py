"""Projects: the range of torch that each declares, in any file where projects do, and the verdict against it."""

from __future__ import annotations

import zipfile

import pytest

from meshcompat.audit.releases import ORDER
from tests.support.audited import as_json, run

pytestmark = pytest.mark.once

CODE = """\
from torch.distributed.device_mesh import DeviceMesh


def f(mesh: DeviceMesh):
    return mesh._flatten("x")
"""

POETRY = '[tool.poetry]\nname = "mine"\n[tool.poetry.dependencies]\n'
SETUP = "from setuptools import setup\n"

DECLARATIONS = {
    "project": (
        "pyproject.toml",
        '[project]\nname = "mine"\ndependencies = ["torch>=2.3,<3"]\n',
        "<3,>=2.3",
    ),
    "no range": ("pyproject.toml", '[project]\nname = "mine"\ndependencies = ["torch"]\n', None),
    "no torch": ("pyproject.toml", '[project]\nname = "mine"\ndependencies = ["numpy>=2"]\n', None),
    "extra": (
        "pyproject.toml",
        '[project]\nname = "mine"\n[project.optional-dependencies]\ngpu = ["torch>=2.4"]\n',
        ">=2.4",
    ),
    "marker": (
        "pyproject.toml",
        '[project]\nname = "mine"\ndependencies = ["torch>=2.4; sys_platform == \'linux\'"]\n',
        ">=2.4",
    ),
    "poetry": ("pyproject.toml", POETRY + 'torch = ">=2.3"\n', ">=2.3"),
    "poetry caret": ("pyproject.toml", POETRY + 'torch = "^2.4"\n', "<3,>=2.4"),
    "poetry tilde": (
        "pyproject.toml",
        POETRY + 'torch = {version = "~2.4.1", optional = true}\n',
        "<2.5,>=2.4.1",
    ),
    "poetry exact": ("pyproject.toml", POETRY + 'torch = "2.4.1"\n', "==2.4.1"),
    "poetry any": ("pyproject.toml", POETRY + 'torch = "*"\n', None),
    "poetry nonsense": ("pyproject.toml", POETRY + 'torch = "latest"\n', None),
    "setup.cfg": (
        "setup.cfg",
        "[metadata]\nname = mine\n[options]\ninstall_requires =\n    numpy\n    torch>=2.3\n",
        ">=2.3",
    ),
    "setup.cfg extra": (
        "setup.cfg",
        "[metadata]\nname = mine\n[options.extras_require]\ngpu =\n    torch>=2.4\n",
        ">=2.4",
    ),
    "setup.cfg broken": ("setup.cfg", "no section\n", None),
    "setup.py": (
        "setup.py",
        SETUP + 'setup(name="mine", install_requires=["torch>=2.3", "numpy"])\n',
        ">=2.3",
    ),
    "setup.py list": (
        "setup.py",
        SETUP + 'DEPS = ["torch>=2.4", "torchvision>=9"]\nsetup(name="mine")\n',
        ">=2.4",
    ),
    "setup.py broken": ("setup.py", SETUP + "setup(\n", None),
    "toml broken": ("pyproject.toml", "[project]\nname = \n", None),
    "requirement broken": (
        "pyproject.toml",
        '[project]\nname = "mine"\ndependencies = ["torch >= = 2"]\n',
        None,
    ),
}


@pytest.mark.parametrize(
    ("name", "text", "declares"), DECLARATIONS.values(), ids=DECLARATIONS.keys()
)
def test_what_a_project_declares_is_read(tmp_path, name, text, declares):
    (tmp_path / name).write_text(text)
    (tmp_path / "a.py").write_text(CODE)
    _, data = as_json(tmp_path)
    assert [one["declares"] for one in data["projects"]] == [declares]


def test_requirements_of_a_file_count_where_the_project_names_it(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\ndynamic = ["dependencies"]\n[tool.setuptools.dynamic]\n'
        'dependencies = {file = ["requirements.txt"]}\n'
    )
    (tmp_path / "requirements.txt").write_text("numpy\ntorch>=2.4  # for meshes\n")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text(CODE)
    assert as_json(tmp_path / "src")[1]["projects"][0]["declares"] == ">=2.4"


def test_the_project_above_the_folder_counts(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\ndependencies = ["torch>=2.4"]\n'
    )
    (tmp_path / "src" / "inner").mkdir(parents=True)
    (tmp_path / "src" / "inner" / "a.py").write_text(CODE)
    for path in (tmp_path / "src", tmp_path / "src" / "inner" / "a.py"):
        (project,) = as_json(path)[1]["projects"]
        assert (project["name"], project["declares"]) == ("mine", ">=2.4")


def test_an_installed_package_declares_by_its_metadata(tmp_path):
    package = tmp_path / "site-packages" / "my_package"
    package.mkdir(parents=True)
    (package / "a.py").write_text(CODE)
    info = tmp_path / "site-packages" / "my_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: my-package\nRequires-Dist: torch>=2.4\n")
    (project,) = as_json(package)[1]["projects"]
    assert (project["name"], project["declares"]) == ("my-package", ">=2.4")


def test_each_project_of_a_folder_has_its_own_verdict(tmp_path):
    for name, floor in {"old": "2.2", "new": "2.6"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\ndependencies = ["torch>={floor}"]\n'
        )
        (tmp_path / name / "a.py").write_text(CODE)
    code, out, _ = run(tmp_path)
    assert code == 1
    assert "new: nothing found; declares torch>=2.6" in out
    assert "old: declares torch>=2.2, runs on >=2.5" in out
    assert [one["code"] for one in as_json(tmp_path)[1]["findings"]] == ["MC101"]


def test_a_file_that_only_configures_tools_makes_no_project(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\ndependencies = ["torch>=2.2"]\n'
    )
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "pyproject.toml").write_text("[tool.ruff]\nline-length = 99\n")
    (tmp_path / "scripts" / "setup.py").write_text("def setup():\n    pass\n")
    (tmp_path / "scripts" / "a.py").write_text(CODE)
    assert [one["name"] for one in as_json(tmp_path)[1]["projects"]] == ["mine"]


def test_tests_and_raises_do_not_narrow_the_verdict(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(CODE)
    (tmp_path / "a.py").write_text(
        CODE.replace("return mesh._flatten", "raise KeyError(mesh.size(), mesh._flatten").replace(
            '"x")', '"x"))'
        )
    )
    code, data = as_json(tmp_path)
    assert code == 1
    assert len(data["findings"]) == 2
    assert data["projects"][0]["runs_on"] == data["releases"]
    assert data["projects"][0]["because"] == []


def test_a_hole_in_the_range_is_told_with_what_makes_it(tmp_path):
    (tmp_path / "a.py").write_text(CODE.replace('mesh._flatten("x")', 'mesh["dp"]["tp"]'))
    _, out, _ = run(tmp_path, "--torch", ">=2.4")
    assert "runs on 2.4 and from 2.9" in out
    assert "works on 2.4 and from 2.9" in out


NEWEST = ORDER[-1].rpartition(".")[0]
RUNS_EVERYWHERE = {
    "nothing": ("torch", (), "every known release of torch"),
    "what is declared": ("torch>=2.6", (), "every known release in that range"),
    "what is asked": ("torch", ("--torch", ">=2.6"), "every known release in the range >=2.6"),
    "what is asked beside what is declared": (
        "torch>=2.9",
        ("--torch", ">=2.6"),
        "every known release in the range >=2.6",
    ),
    "what is to come": ("torch", ("--torch", ">=9"), f"{NEWEST}, the newest release that is known"),
    "what is to come, declared": ("torch>=9", (), f"{NEWEST}, the newest release that is known"),
}


@pytest.mark.parametrize(
    ("declared", "arguments", "told"), RUNS_EVERYWHERE.values(), ids=RUNS_EVERYWHERE
)
def test_the_verdict_names_the_range_that_it_is_about(tmp_path, declared, arguments, told):
    (tmp_path / "pyproject.toml").write_text(
        f'[project]\nname = "mine"\ndependencies = ["{declared}"]\n'
    )
    (tmp_path / "a.py").write_text(CODE.replace('mesh._flatten("x")', 'mesh["dp"]'))
    _, out, _ = run(tmp_path, *arguments)
    assert f", and its mesh code runs on {told}\n" in out


def test_the_verdict_says_where_no_release_is_known(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "mine"\ndependencies = ["torch<2"]\n'
    )
    (tmp_path / "a.py").write_text(CODE)
    assert "declares torch<2, and no release in that range is known\n" in run(tmp_path)[1]


@pytest.fixture
def two(tmp_path):
    """A project of two files, one of which flattens for the other, beside another project."""
    for name in ("mine", "theirs"):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\ndependencies = ["torch>=2.2"]\n'
        )
        (tmp_path / name / "src" / "build.py").write_text(CODE)
        (tmp_path / name / "src" / "use.py").write_text(CODE.replace("mesh._flatten(", "(mesh, "))
    return tmp_path


def test_files_of_one_project_have_one_verdict_and_paths_in_their_common_folder(two, monkeypatch):
    files = two / "mine" / "src" / "build.py", two / "mine" / "src" / "use.py"
    _, data = as_json(*files)
    assert [one["name"] for one in data["projects"]] == ["mine"]
    assert ([one["path"] for one in data["findings"]], data["files"]) == (["build.py"], 2)
    _, out, _ = run(*files)
    assert f"{files[0]}:5:17: MC101" in out
    assert out.count("mine: ") == 1
    monkeypatch.chdir(two / "mine")
    _, out, _ = run("src/build.py", "src/use.py")
    assert out.startswith("src/build.py:5:17: MC101")


def test_paths_of_several_projects_have_a_verdict_each(two):
    _, data = as_json(two / "mine" / "src" / "build.py", two / "theirs" / "src")
    assert [(one["name"], one["declares"]) for one in data["projects"]] == [
        ("mine", ">=2.2"),
        ("theirs", ">=2.2"),
    ]
    assert [one["path"] for one in data["findings"]] == ["mine/src/build.py", "theirs/src/build.py"]


@pytest.mark.parametrize("again", ["mine", "mine/src", "mine/src/build.py"])
def test_a_path_that_is_given_twice_is_read_once(two, again):
    _, data = as_json(two / "mine" / "src" / "build.py", two / again)
    assert len(data["findings"]) == 1


def test_an_archive_beside_files_has_a_verdict_of_its_own(two):
    with zipfile.ZipFile(two / "x.whl", "w") as wheel:
        wheel.writestr("a.py", CODE)
    code, data = as_json(
        two / "mine" / "src" / "build.py", two / "mine" / "src" / "use.py", two / "x.whl"
    )
    assert code == 1
    assert [one["path"] for one in data["findings"]] == ["build.py", "a.py"]


def test_a_setup_script_that_was_not_given_only_tells_of_its_project(two):
    script = (
        "from setuptools import setup\nsetup(name='mine')\ndef f(mesh):\n    mesh._flatten('x')\n"
    )
    (two / "mine" / "setup.py").write_text(script)
    _, data = as_json(two / "mine" / "src", two / "theirs" / "src")
    assert (data["files"], len(data["findings"])) == (4, 2)
