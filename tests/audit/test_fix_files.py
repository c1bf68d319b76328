"""How files are rewritten: to the byte, at once, once, and never over what changed."""

from __future__ import annotations

import ast
import stat
import subprocess
from unittest import mock

import pytest

from meshcompat.audit import fix
from meshcompat.audit.fix import outcome as carrying
from meshcompat.audit.fix.edits import RefusedError
from meshcompat.audit.fix.write import write
from meshcompat.audit.report import audit
from meshcompat.audit.settings import Settings
from tests.support.audited import as_json, run

pytestmark = pytest.mark.once

CODE = b'''"""Text."""
from __future__ import annotations

import os

import torch
from torch.distributed.device_mesh import DeviceMesh


def f(mesh: DeviceMesh):
    return mesh._get_root_mesh()  # why
'''
FIXED = CODE.replace(b"import torch\n", b"import meshcompat\nimport torch\n").replace(
    b"mesh._get_root_mesh()", b"meshcompat.get_root_mesh(mesh)"
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "code.py"
    path.write_bytes(CODE)
    return path


FORMS = {
    "line feeds": lambda code: code,
    "CRLF": lambda code: code.replace(b"\n", b"\r\n"),
    "carriage returns": lambda code: code.replace(b"\n", b"\r"),
    "tabs": lambda code: code.replace(b"    ", b"\t"),
    "a byte order mark": lambda code: b"\xef\xbb\xbf" + code,
    "latin-1": lambda code: b"# -*- coding: latin-1 -*-\n# \xe9\xff\n" + code,
    "wide characters": lambda code: code.replace(b"return ", 'return "é🙂", '.encode()),
    "no last line end": lambda code: code.rstrip(b"\n"),
    "form feeds and blanks": lambda code: code.replace(b"\n\n\ndef", b"  \n\x0c\n\ndef"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_all_else_stays_to_the_byte(file, form):
    file.write_bytes(form(CODE))
    code, out, _ = run(file, "--fix")
    assert (code, file.read_bytes()) == (0, form(FIXED))
    assert out.endswith("rewrote 1 place in 1 file, for 1 finding\n")


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755])
def test_the_mode_stays_and_no_file_is_left_behind(file, mode):
    file.chmod(mode)
    run(file, "--fix")
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert [path.name for path in file.parent.iterdir()] == ["code.py"]


def test_the_findings_that_are_told_of_add_up(file):
    text = CODE.replace(b"mesh._get_root_mesh()", b'mesh["dp", "cp"]._flatten("n"), mesh._layout')
    file.write_bytes(text)
    assert "3 findings in 1 file; --fix rewrites 2 of them\n" in run(file)[1]
    _, out, _ = run(file, "--fix")
    assert "1 finding in 1 file\nrewrote 1 place in 1 file, for 2 findings\n" in out


def test_a_second_run_changes_nothing(file):
    run(file, "--fix")
    before = file.stat().st_mtime_ns, file.stat().st_ino
    code, out, _ = run(file, "--fix")
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before
    assert (code, "rewrote 0 places in 0 files" in out) == (0, True)


def test_a_diff_changes_nothing_and_can_be_applied(file):
    code, out, err = run(file, "--diff")
    assert (code, err, file.read_bytes()) == (1, "", CODE)
    subprocess.run(
        ["/usr/bin/env", "patch", str(file)], input=out.encode(), check=True, capture_output=True
    )
    assert file.read_bytes() == FIXED
    assert run(file, "--diff") == (0, "", "")


def test_the_json_says_what_can_be_rewritten(file):
    assert [one["fixable"] for one in as_json(file)[1]["findings"]] == [True]
    file.write_bytes(CODE.replace(b"mesh._get_root_mesh()", b"mesh._layout"))
    assert [one["fixable"] for one in as_json(file)[1]["findings"]] == [False]


def test_a_file_that_changed_meanwhile_stays(file):
    part = audit(file, Settings())
    file.write_bytes(CODE + b"\n")
    outcome = fix.carry_out(part, publish=False)
    assert file.read_bytes() == CODE + b"\n"
    assert (outcome.places, outcome.files) == (0, 0)
    assert "it changed while it was read" in outcome.problems[0]


def test_a_write_that_fails_leaves_the_file_whole(file, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("meshcompat.audit.fix.write.os.fsync", fail)
    code, out, _ = run(file, "--fix")
    assert (code, file.read_bytes(), [path.name for path in file.parent.iterdir()]) == (
        1,
        CODE,
        ["code.py"],
    )
    assert "    not rewritten: it cannot be written: No space left on device\n" in out
    assert f"{file}: not rewritten: it cannot be written: No space left on device\n" in out
    assert "--fix rewrites" not in out


def test_nothing_is_flattened_otherwise_where_a_look_up_could_not_be_written(tmp_path, monkeypatch):
    maker, taker = tmp_path / "maker.py", tmp_path / "taker.py"
    maker.write_bytes(CODE.replace(b"mesh._get_root_mesh()", b'mesh._flatten("n")'))
    taker.write_bytes(CODE.replace(b"mesh._get_root_mesh()", b'mesh["n"]'))
    kept = maker.read_bytes()

    def refusing(found, content):
        if found.path == "taker.py":
            raise RefusedError("no")
        write(found, content)

    monkeypatch.setattr(carrying, "write", refusing)
    run(tmp_path, "--fix")
    assert maker.read_bytes() == kept
    monkeypatch.undo()
    run(tmp_path, "--fix")
    assert b'meshcompat.flatten(mesh, "n")' in maker.read_bytes()
    assert b'meshcompat.get_flat_mesh(mesh, "n")' in taker.read_bytes()


def test_a_name_in_a_file_beside_the_one_given_is_a_look_up(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    maker = tmp_path / "maker.py"
    maker.write_bytes(CODE.replace(b"mesh._get_root_mesh()", b'mesh._flatten("n")'))
    (tmp_path / "config.py").write_text('NAMES = ("n",)\n')
    code, out, _ = run(maker, "--fix")
    assert (code, b"_flatten" in maker.read_bytes()) == (1, True)
    assert "not rewritten: 'n' also stands in config.py" in out


@pytest.mark.parametrize("given", ["maker.py", "."])
@pytest.mark.parametrize(
    "reading", ["list(m._flatten_mapping)", 'getattr(m, "_flatten_mapping", {})']
)
def test_a_read_of_torchs_registry_in_another_file_keeps_the_flattening(tmp_path, given, reading):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    maker = tmp_path / "maker.py"
    maker.write_bytes(CODE.replace(b"mesh._get_root_mesh()", b'mesh._flatten("n")'))
    (tmp_path / "reader.py").write_text(f"def names(m):\n    return {reading}\n")
    code, out, _ = run(tmp_path / given, "--fix")
    assert (code, b"._flatten(" in maker.read_bytes()) == (1, True)
    assert "not rewritten: torch's registry of flattened names is read at" in out
    run(tmp_path / given, "--fix-published")
    assert b"._flatten(" not in maker.read_bytes()


def test_a_question_for_torchs_registry_keeps_nothing(tmp_path):
    maker = tmp_path / "maker.py"
    asks = b'hasattr(mesh, "_flatten_mapping"), mesh._flatten("n")'
    maker.write_bytes(CODE.replace(b"mesh._get_root_mesh()", asks))
    run(maker, "--fix")
    assert b'meshcompat.flatten(mesh, "n")' in maker.read_bytes()


def test_the_text_after_a_fix_lists_what_stays_and_the_other_fix_still_rewrites_it(file):
    flattens = CODE.replace(b"mesh._get_root_mesh()", b'mesh["dp", "cp"]._flatten("both")')
    file.write_bytes(flattens + b'\n\nNAMES = ["both"]\n')
    for _ in range(2):
        code, out, _ = run(file, "--fix")
        assert (code, "nothing found" in out) == (1, False)
        assert "MC101 DeviceMesh._flatten" in out
        assert "not rewritten: 'both' also stands at" in out
    run(file, "--fix-published")
    assert b"meshcompat.register_flattened_axes(mesh, " in file.read_bytes()


def test_a_name_in_a_file_beside_those_given_is_a_look_up(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    maker, other = tmp_path / "maker.py", tmp_path / "other.py"
    maker.write_bytes(CODE.replace(b"mesh._get_root_mesh()", b'mesh._flatten("n")'))
    other.write_bytes(CODE)
    (tmp_path / "config.py").write_text('NAMES = ("n",)\n')
    _, out, _ = run(maker, other, "--fix")
    assert (b"._flatten(" in maker.read_bytes(), other.read_bytes()) == (True, FIXED)
    assert "not rewritten: 'n' also stands in config.py" in out


@pytest.mark.parametrize("count", [4, 16])
def test_each_file_is_walked_as_often_however_many_names_are_flattened(tmp_path, count):
    for number in range(count):
        flatten = f'    return mesh["dp", "cp"]._flatten("flat{number}")\n'
        names = "".join(
            f'"flat{other}"\n' for other in range(count)
        )  # stands there, looked up by nobody
        text = CODE.decode() + f"\n\ndef g(mesh: DeviceMesh):\n{flatten}\n\n{names}"
        (tmp_path / f"code{number}.py").write_text(text)
    with mock.patch.object(ast, "walk", wraps=ast.walk) as walk:
        run("--exit-zero", str(tmp_path))
    whole = [call for call in walk.call_args_list if isinstance(call.args[0], ast.Module)]
    assert len(whole) <= 8 * count


def test_a_link_stays(file):
    link = file.parent / "link.py"
    link.symlink_to(file)
    run(link, "--fix")
    assert (link.is_symlink(), file.read_bytes()) == (True, CODE)


@pytest.mark.parametrize(
    ("head", "place"),
    [
        ("", "import meshcompat\n\n{}"),
        ('"""Text."""\n', '"""Text."""\n\nimport meshcompat\n{}'),
        (
            "import os\nimport zlib\nimport torch\n",
            "import os\nimport zlib\nimport meshcompat\nimport torch\n{}",
        ),
        ("from os import path\n\nfrom .x import y\n", "from os import path\nimport meshcompat\n\nfrom .x import y\n{}"),
        ("import meshcompat as mc\n", "import meshcompat as mc\n{}"),
        ("#!/usr/bin/python\nimport os\n", "#!/usr/bin/python\nimport os\nimport meshcompat\n{}"),
    ],
)  # fmt: skip
def test_the_import_stands_with_the_others_once(tmp_path, head, place):
    path = tmp_path / "code.py"
    path.write_text(head + "def torch(mesh):\n    return mesh._get_root_mesh()\n")
    run(path, "--fix")
    name = "mc" if "mc" in head else "meshcompat"
    body = f"def torch(mesh):\n    return {name}.get_root_mesh(mesh)\n"
    assert path.read_text() == place.format(body)


@pytest.mark.parametrize(
    "text", ["meshcompat = 1\n", "def f(meshcompat): ...\n", "if 1:\n    import meshcompat\n"]
)
def test_a_file_that_has_the_name_for_something_else_stays(tmp_path, text):
    path = tmp_path / "code.py"
    path.write_text(text + "def torch(mesh):\n    return mesh._get_root_mesh()\n")
    _, out, _ = run(path, "--fix")
    assert "_get_root_mesh()" in path.read_text()
    assert "not rewritten: the name meshcompat is bound in this file" in out


@pytest.mark.parametrize(
    "arguments", [("--fix", "--diff"), ("--fix", "--write-baseline", "x.json")], ids=" ".join
)
def test_options_that_contradict_each_other_are_refused(file, arguments):
    code, out, err = run(file, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_an_archive_is_not_rewritten(tmp_path):
    wheel = tmp_path / "x.whl"
    wheel.write_bytes(b"")
    code, _, err = run(wheel, "--fix")
    assert (code, "which --fix rewrites" in err) == (2, True)
