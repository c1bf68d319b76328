"""The command is interrupted or ended: it says one word, and leaves no process and no file."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from meshcompat.verify.local import command

pytestmark = [pytest.mark.multiprocess, pytest.mark.processes]


def environment_of(folder):
    try:
        return (folder / "environ").read_bytes()
    except OSError:  # it has ended, or is somebody else's
        return b""


class Command:
    """`meshcompat verify` as a shell starts it, in a process group of its own."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "meshcompat", "verify", *arguments],
            env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A job in the background starts with the signal ignored; a shell's own does not.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        self.told = ""

    def wait_for(self, words):
        while words not in self.told:
            line = self.process.stderr.readline()
            assert line, self.told
            self.told += line
        time.sleep(0.2)  # It tells what it begins with.

    def end(self):
        """Return the exit code, and all that it told."""
        output, told = self.process.communicate(timeout=60)
        return self.process.returncode, output, self.told + told

    def left_over(self):
        """Return the processes of the command that are there, once they had time to go."""
        deadline = time.monotonic() + 10
        while self._processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self._processes()

    def _processes(self):
        mark = f"TMPDIR={self.folder}".encode()
        return [
            folder.name
            for folder in Path("/proc").glob("[0-9]*")
            if mark in environment_of(folder).split(b"\0")
        ]


def test_signals_are_left_alone_where_the_command_runs_in_a_thread():
    def take():
        with command.terminable():
            handlers.append(signal.getsignal(signal.SIGTERM))

    handlers = []
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("moment", ["importing torch", "measuring the bandwidth"])
def test_an_interrupt_is_one_word(tmp_path, moment):
    run = Command(tmp_path, "-n", "8", "--bandwidth", "32M,64M")
    run.wait_for(moment)
    os.killpg(run.process.pid, signal.SIGINT)
    code, output, told = run.end()
    assert (code, output) == (130, "")
    assert told.splitlines()[-1] == "interrupted"
    assert all(line.startswith("meshcompat verify: ") for line in told.splitlines()[:-1])
    assert run.left_over() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("moment", ["importing torch", "measuring the bandwidth"])
def test_an_ended_command_leaves_nothing(tmp_path, moment, number):
    run = Command(tmp_path, "-n", "8", "--bandwidth", "32M,64M")
    run.wait_for(moment)
    run.process.send_signal(number)
    code, output, told = run.end()
    assert code == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    assert output == ""
    assert "Traceback" not in told
    assert run.left_over() == []
    assert list(tmp_path.iterdir()) == []
