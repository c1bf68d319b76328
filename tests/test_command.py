"""The manners of the command: help, errors, pipes, interruptions; the same for every sub-command."""

import importlib
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from meshcompat import _output
from meshcompat.__main__ import COMMANDS, main

pytestmark = pytest.mark.once

PROGRAM = [sys.executable, "-m", "meshcompat"]
LINES = [[], *([name] for name in COMMANDS)]


def run(*words, **environment):
    return subprocess.run(
        [*PROGRAM, *words],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.fixture
def broken(monkeypatch):
    """Let `api` raise an error."""

    def break_with(error):
        def fail(_parser, _arguments):
            raise error

        monkeypatch.setattr(importlib.import_module("meshcompat.api.cli"), "run", fail)

    return break_with


@pytest.mark.parametrize("words", LINES, ids=lambda words: " ".join(words) or "meshcompat")
@pytest.mark.parametrize("columns", ["60", "100"])
def test_help_has_examples_and_exit_codes_and_fits_the_terminal(
    words, columns, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.split("\n")
    assert max(map(len, lines)) <= int(columns)
    examples = lines[lines.index("examples:") + 1 : lines.index("exit codes:") - 1]
    assert any(line.startswith(f"  {' '.join(['meshcompat', *words])}") for line in examples)
    assert any(line.startswith("  0    ") for line in lines[lines.index("exit codes:") :])


@pytest.mark.parametrize("words", LINES, ids=lambda words: " ".join(words) or "meshcompat")
def test_help_imports_little(words):
    """That is what makes it quick: torch would bring 1,500 modules."""
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom meshcompat.__main__ import main\n"
        f"try: main({[*words, '--help']})\n"
        "except SystemExit: print('modules:', *set(sys.modules) - before)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    modules = ended.stdout.rpartition("modules:")[2].split()
    assert not {"torch", "rich", "numpy", "asyncio"} & set(modules)
    assert len(modules) < 250


def test_every_command_works_without_torch_installed(tmp_path):
    """All but those whose subject is torch itself."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch')")
    code = (
        "import importlib.metadata as metadata, sys\n"
        "known = metadata.version\n"
        "def version(name):\n"
        "    if name == 'torch': raise metadata.PackageNotFoundError(name)\n"
        "    return known(name)\n"
        "metadata.version = version\n"
        "from meshcompat.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    for words in (["--help"], ["api", "_flatten"], ["plan", "--world-size", "8"]):
        command = [sys.executable, "-c", code, *words]
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment
        )
        assert (ended.returncode, ended.stderr) == (0, "")


def test_version_is_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("meshcompat ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["api"], "meshcompat api: error: the following arguments are required: NAME"),
        (["api", "x", "--bad"], "meshcompat api: error: unrecognized arguments: --bad"),
    ],
)
def test_a_wrong_call_is_said_in_one_line(words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "--help" in error
    assert error.count("\n") == 1


def test_an_error_is_one_line(broken, capsys):
    broken(OSError("no\nspace"))
    assert main(["api", "x"]) == 3
    assert (
        capsys.readouterr().err
        == "meshcompat api: error: OSError: no space (--debug shows where)\n"
    )


@pytest.mark.parametrize("kind", [ModuleNotFoundError, metadata.PackageNotFoundError])
def test_torch_that_is_missing_is_one_line(broken, capsys, kind):
    broken(ModuleNotFoundError(name="torch") if kind is ModuleNotFoundError else kind("torch"))
    assert main(["api", "x"]) == 3
    assert "meshcompat api: error: torch is not installed" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--debug", "api", "x"], ["api", "x", "--debug"]])
def test_debug_shows_where_an_error_came_from(broken, words, capsys):
    broken(OSError("no space"))
    assert main(words) == 3
    error = capsys.readouterr().err
    assert error.startswith("Traceback")
    assert error.endswith("OSError: no space\n")


def test_a_closed_pipe_ends_quietly():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        ended = subprocess.run(
            [*PROGRAM, "api", ""], check=False, stdout=closed, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (141, "")


SHELL = "/bin/sh"
UNWRITABLE = [
    *(["api", ""], ["audit", "."], ["plan", "--world-size", "8"], ["matrix"]),
    *(["audit", "--rules"], ["--help"], ["plan", "--help"], ["--version"]),
]


@pytest.mark.parametrize("words", UNWRITABLE, ids=" ".join)
@pytest.mark.parametrize(
    ("way", "unbuffered"), [(">/dev/full", ""), (">/dev/full", "1"), (">&-", "")]
)
def test_output_that_cannot_be_written_is_one_line(words, way, unbuffered, tmp_path):
    if way == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "a.py").write_text("import torch\n\nmesh._flatten()\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["PYTHONUNBUFFERED"] = unbuffered
    ended = subprocess.run(
        [SHELL, "-c", f'"$@" {way}', "sh", *PROGRAM, *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 2
    assert "error: cannot write the output: " in last
    assert last.endswith("; send it elsewhere")
    assert "Error" not in ended.stderr
    assert "--debug" not in ended.stderr


def test_nobody_need_hear_what_is_not_printed():
    for line in ('"$@" plan --world-size 8 --check >&-', '"$@" plan --world-size 8 2>&-'):
        ended = subprocess.run(
            [SHELL, "-c", line, "sh", *PROGRAM], check=False, capture_output=True, text=True
        )
        assert (ended.returncode, ended.stderr) == (0, "")
    unheard = subprocess.run([SHELL, "-c", '"$@" api nothing 2>&-', "sh", *PROGRAM], check=False)
    assert unheard.returncode == 1


def test_a_file_that_cannot_be_written_is_one_line(broken, capsys):
    broken(_output.OutputError("r.json", OSError(13, "Permission denied")))
    assert main(["api", "x"]) == 2
    error = capsys.readouterr().err
    assert error == (
        "meshcompat api: error: cannot write 'r.json': Permission denied; name another file\n"
    )


@pytest.mark.parametrize(("value", "is_coloured"), [(None, True), ("", True), ("1", False)])
def test_an_empty_no_color_does_not_count(value, is_coloured, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    assert _output.wants_colour() == is_coloured


def test_ctrl_c_exits_with_130(broken, capsys):
    broken(KeyboardInterrupt())
    assert main(["api", "x"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_signal_exits_with_130():
    code = (
        "import importlib, os, signal, sys, time\nfrom meshcompat import __main__\n"
        # A job in the background starts with the signal ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "cli = importlib.import_module('meshcompat.api.cli')\n"
        "cli.run = lambda parser, arguments: (print('up', flush=True), time.sleep(60))\n"
        "sys.exit(__main__.main(['api', 'x']))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as begun:
        assert begun.stdout.readline() == "up\n"
        begun.send_signal(signal.SIGINT)
        _, error = begun.communicate(timeout=30)
    assert (begun.returncode, error) == (130, "interrupted\n")


def test_nothing_is_coloured_where_nobody_asked_for_it():
    assert "\x1b" not in run("api", "DeviceMesh.", NO_COLOR="1").stdout


def test_a_shell_can_complete(tmp_path):
    pytest.importorskip("argcomplete", reason="completion is optional")
    found = tmp_path / "found"
    line = "meshcompat api --js"
    environment = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(found),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
    }
    run(**environment)
    assert found.read_text().strip() == "--json"
