"""torchrun over several hosts: all is right, and a cable that is unplugged is an error in time.

Behind `soak`, as starting torchrun on four hosts takes a minute, and the tests need root.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import several_hosts_rank
from tests.support.several_hosts import Hosts, NoHostsError

pytestmark = [pytest.mark.multiprocess, pytest.mark.soak]

TIMEOUT = 5.0
ALLOWANCE = 5
STARTING = 180
"""Seconds that torchrun may take to start on all hosts of a busy machine."""


@pytest.fixture(params=[2, 4], ids=lambda count: f"{count} hosts")
def hosts(request):
    try:
        made = Hosts(request.param)
    except NoHostsError as error:
        pytest.skip(f"no hosts can be made here: {error}")
    with made:
        yield made


def verify(hosts, port):
    """Return the document that rank 0 printed, and the exit codes of all hosts."""
    arguments = ["-m", "meshcompat", "verify", "--device", "cpu", "--json", "--timeout", "60"]
    job = hosts.start(*arguments, port=port)
    printed = [process.communicate(timeout=STARTING)[0] for process in job]
    return json.loads(printed[0]), [process.returncode for process in job]


def test_verify_is_right_on_all_hosts(hosts):
    document, codes = verify(hosts, 29400)
    assert codes == [0] * hosts.count
    assert (document["ok"], document["world_size"]) == (True, 2 * hosts.count)


def wait_for(folder, name, count, seconds, job=()):
    """Wait for a file of every rank."""
    deadline = time.monotonic() + seconds
    while len(list(folder.glob(f"{name}-*"))) < count and time.monotonic() < deadline:
        assert not any(process.poll() for process in job), job[0].communicate()[1]
        time.sleep(0.1)
    return {int(path.name.partition("-")[2]): path for path in folder.glob(f"{name}-*")}


@pytest.mark.parametrize("kind", ["build", "collective"])
def test_an_unplugged_cable_is_an_error_in_time_and_a_new_run_works(hosts, tmp_path, figure, kind):
    size = 2 * hosts.count
    program = str(Path(several_hosts_rank.__file__))
    job = hosts.start(program, str(tmp_path), kind, str(TIMEOUT), port=29400)
    assert len(wait_for(tmp_path, "begun", size, STARTING, job)) == size
    hosts.unplug(1)
    ends = wait_for(tmp_path, "end", size, TIMEOUT + 10 * ALLOWANCE)
    told = {rank: json.loads(path.read_text()) for rank, path in sorted(ends.items())}
    assert set(told) == set(range(size))
    worst = max(words["seconds"] for words in told.values())
    assert worst < TIMEOUT + ALLOWANCE
    if kind == "build":
        assert {words["kind"] for words in told.values()} == {"MeshMismatchError"}
        # Beyond the cable is no store; on the side of the store the ranks behind the cable are
        # missing. Who had its groups and went on misses also those who gave up for want of theirs.
        assert all("cannot be reached" in told.pop(rank)["text"] for rank in (2, 3))
        assert all({2, 3} <= set(words["missing"]) for words in told.values())
        gave_up = [words for words in told.values() if "had agreed" in words["text"]]
        assert all(words["missing"] == [2, 3] for words in gave_up)
    what = f"{hosts.count} hosts, a cable unplugged during a {kind}: s after the timeout"
    figure("faults", what, round(worst - TIMEOUT, 1))
    figure("faults", "survived", 1)
    for process in job:
        process.kill()
    hosts.plug_in(1)
    document, codes = verify(hosts, 29500)
    assert (document["ok"], codes) == (True, [0] * hosts.count)


KILLED = """
import os, signal, subprocess
from tests.support.several_hosts import Hosts
hosts = Hosts(2)
subprocess.Popen([*hosts.enter, "sleep", "1000"])
print(hosts.first, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("hosts")
def test_nothing_is_left_of_hosts_whose_test_was_killed():
    here = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(here)}
    command = [sys.executable, "-c", KILLED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # With the first process of a namespace the kernel ends all others, and then the networks.
    deadline = time.monotonic() + 30
    while Path(f"/proc/{done.stdout.strip()}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{done.stdout.strip()}").exists()
