"""No input makes it fail with a traceback: bytes, nesting, links, folders, archives."""

from __future__ import annotations

import io
import os
import random
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import meshcompat
from meshcompat.audit.files import Found, find
from meshcompat.audit.rules import judge
from meshcompat.audit.survey import survey
from tests.support.audited import NOWHERE, as_json, run

pytestmark = pytest.mark.once

CODE = b"""\
import torch
from torch.distributed.device_mesh import DeviceMesh
def f(mesh: DeviceMesh):
    return mesh._layout
"""


def read(content):
    result = survey([Found("a.py", "a.py", content)], NOWHERE, also_low=True)
    return result.problems, [finding for sites in result.sites.values() for finding in judge(sites)]


def reasons(content):
    problems, _ = read(content)
    assert all("please report" not in problem.reason for problem in problems)
    return [problem.code for problem in problems]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_told_of(content):
    assert set(reasons(b"import torch, mesh\n" + content)) <= {"MC001", "MC002"}


WORDS = [
    *CODE.decode().split(),
    *(
        "if",
        "else:",
        "try:",
        "except AttributeError:",
        "mesh",
        "hasattr(mesh, '_layout')",
        "\n",
        "\n    ",
        ":",
        "(",
        ")",
    ),
    *(
        "[",
        "]",
        "'dp', 'tp'",
        "=",
        ".",
        ",",
        "_flatten",
        "lambda x:",
        "for",
        "in",
        "*",
        "**",
        "match mesh:",
        "case _:",
    ),
    *(
        "@",
        "async",
        "await",
        "torch.__version__ >=",
        "(2, 10)",
        "not",
        "and",
        "is None",
        "1",
        "{",
        "}",
        ":=",
        "del mesh",
    ),
    *(
        "f'{mesh._layout!r}'",
        "global mesh",
        "with",
        "as",
        "class A(DeviceMesh):",
        "return",
        "yield",
        "raise",
        "import",
    ),
]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_any_words_of_python_are_read_or_told_of(words):
    assert set(reasons(b"import torch\nmesh = 1\n" + " ".join(words).encode())) <= {
        "MC001",
        "MC002",
    }


def test_its_own_sources_with_pieces_exchanged_are_read():
    chance = random.Random(0)  # noqa: S311  (pieces of code, no secret)
    texts = [path.read_text() for path in sorted(Path(meshcompat.__file__).parent.rglob("*.py"))]
    for _ in range(40):
        lines = [line for text in chance.sample(texts, 2) for line in text.splitlines()]
        at, length = chance.randrange(len(lines)), chance.randrange(60)
        reasons(
            ("import torch  # mesh\n" + "\n".join(lines[at : at + length] + lines[:at])).encode()
        )


@pytest.mark.parametrize(
    "deep",
    [
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "[" * 150 + "mesh._layout" + "]" * 150,
        "x = " + "-" * 20000 + "1",
        "x = " + " + ".join(["mesh"] * 20000),
        "x = mesh" + "._layout" * 20000,
        "x = mesh" + "['a']" * 3000,
        "x = " + "lambda: " * 3000 + "1",
        "if x:\n  pass\n" + "elif x:\n  pass\n" * 5000,
        "\n".join(" " * depth + "if mesh:" for depth in range(99)) + "\n" + " " * 99 + "pass",
        "x = " + "a if b else " * 5000 + "c",
        "x = not " * 1 + "not " * 10000 + "mesh",
        "x = 'a' * 10**9 * 10**9",
        "x = 9 ** 9 ** 9 ** 9\ny = 1 << 10**12\nz = '%0999999999d' % 1",
        "x = " + "9" * 5000,
    ],
    ids=range(14),
)
def test_what_is_deep_or_huge_is_read_or_told_of(deep):
    assert set(
        reasons(
            f"import torch\nfrom torch.distributed.device_mesh import DeviceMesh\nmesh = 1\n{deep}\n".encode()
        )
    ) <= {"MC001", "MC002"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"import torch  # mesh\n\0", "MC001"),
        (b"import torch  # mesh \xff\n", "MC001"),
        ("# -*- coding: utf-16 -*-\nimport torch  # mesh ä\n".encode("utf-16"), "MC001"),
        (b"# coding: nonsense\nimport torch  # mesh \xff\n", "MC001"),
        (b"import torch  # mesh\ndef f(:\n", "MC002"),
        (b"import torch  # mesh\n  x = 1\n", "MC002"),
        (b"import torch  # mesh\nx = '''\n", "MC002"),
        (b"import torch  # mesh\nx = 1 \xc2\xa0\n", "MC002"),
    ],
    ids=range(8),
)
def test_what_cannot_be_read_is_a_finding(content, code):
    assert reasons(content) == [code]


def test_a_syntax_error_names_the_python_that_parsed_it():
    ((problem,), _) = read(b"import torch  # mesh\ndef f(:\n")
    assert "syntax error for Python 3." in problem.reason
    assert problem.span.line == 2


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + CODE,
        CODE.replace(b"\n", b"\r\n"),
        CODE.replace(b"\n", b"\r"),
        b"# coding: latin-1\n# \xe4\n" + CODE,
        CODE.rstrip(b"\n"),
        b"\x0c\n" + CODE,
    ],
    ids=["mark", "crlf", "cr", "latin-1", "no end", "form feed"],
)
def test_any_encoding_and_line_end_is_read(content):
    problems, findings = read(content)
    assert problems == []
    assert [finding.code for finding in findings] == ["MC101"]


def test_a_long_ladder_is_read_to_its_end():
    ladder = b"    if x == 0:\n        pass\n" + b"".join(
        b"    elif x == %d:\n        pass\n" % number for number in range(700)
    )
    problems, findings = read(
        CODE.replace(b"    return", b"    x = mesh.ndim\n" + ladder + b"    return")
    )
    assert problems == []
    assert [finding.code for finding in findings] == ["MC101"]


def test_an_idle_ignore_is_found_in_a_file_without_meshes(tmp_path):
    (tmp_path / "a.py").write_text("x = 1  # meshcompat: ignore\n")
    assert [one["code"] for one in as_json(tmp_path)[1]["findings"]] == ["MC003"]


def test_a_file_of_100000_lines_is_read():
    body = (
        b"def g(size):\n"
        + b"    size += 1\n" * 90_000
        + b"def h(mesh):\n"
        + b"    mesh.size()\n" * 10_000
    )
    problems, findings = read(CODE + body)
    assert problems == []
    assert [finding.code for finding in findings] == ["MC101"]


def test_links_in_circles_and_what_is_no_file_are_passed_by(tmp_path):
    (tmp_path / "a.py").write_bytes(CODE)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.py").symlink_to(tmp_path / "self.py")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    code, data = as_json(tmp_path)
    assert code == 1
    assert data["files"] == 1
    assert {one["path"] for one in data["skipped"]} == {"gone.py", "pipe.py", "self.py"}


def test_a_folder_that_cannot_be_opened_is_told_of(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_bytes(CODE)
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def refused(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refused)
    _, data = as_json(tmp_path)
    assert data["skipped"] == [{"path": "closed", "reason": "cannot be opened: Permission denied"}]
    assert {one["code"] for one in data["findings"]} == {"MC001", "MC101"}


def wheel(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def test_a_wheel_is_read_with_its_metadata(tmp_path):
    metadata = "Metadata-Version: 2.1\nName: mine\nRequires-Dist: torch>=2.6; extra == 'gpu'\n"
    wheel(
        tmp_path / "mine-1.whl",
        {"mine/a.py": CODE, "mine-1.dist-info/METADATA": metadata, "mine/b.txt": b"mesh"},
    )
    code, data = as_json(tmp_path / "mine-1.whl")
    assert code == 1
    assert [(one["path"], one["line"]) for one in data["findings"]] == [("mine/a.py", 4)]
    assert [(one["name"], one["declares"]) for one in data["projects"]] == [("mine", ">=2.6")]


def test_an_sdist_is_read_without_its_outer_folder(tmp_path):
    with tarfile.open(tmp_path / "mine-1.tar.gz", "w:gz") as archive:
        for name, content in {
            "mine-1/src/a.py": CODE,
            "mine-1/pyproject.toml": b'[project]\nname = "mine"\n',
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    _, data = as_json(tmp_path / "mine-1.tar.gz")
    assert [one["path"] for one in data["findings"]] == ["src/a.py"]
    assert [(one["name"], one["declares"]) for one in data["projects"]] == [("mine", None)]


@pytest.mark.parametrize("name", ["broken.whl", "broken.tar.gz"])
def test_a_broken_archive_is_told_of(tmp_path, name):
    wheel(tmp_path / "good.whl", {"a.py": CODE * 50})
    (tmp_path / name).write_bytes((tmp_path / "good.whl").read_bytes()[:40])
    code, out, err = run(tmp_path / name)
    assert (code, err) == (1, "")
    assert "MC001" in out


def test_a_folder_without_meshes_is_nearly_free(tmp_path):
    for number in range(200):
        (tmp_path / f"m{number}.py").write_text("import torch\nx = torch.zeros(3)\n" * 100)
    read_files = list(find(tmp_path, []))
    result = survey(read_files, tmp_path)
    assert result.files == 200
    assert result.sources == {}
