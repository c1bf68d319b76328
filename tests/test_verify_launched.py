import contextlib
import json
import multiprocessing
import signal
import socket
import subprocess
import sys
import time
from multiprocessing import forkserver

import pytest

from tests.support.verify_faults import Fault, Launch, patient_timeout, quiet_environment

pytestmark = [pytest.mark.multiprocess, pytest.mark.processes]

TIMEOUT = patient_timeout()


class Job:
    """Ranks started as torchrun starts them, but from one import of torch."""

    def __init__(self, folder, world_size=4, *, arguments=(), fault=None, absent=()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch.distributed", "meshcompat.verify.launched.command"])
        with quiet_environment():
            forkserver.ensure_running()
        arguments = ("--timeout", str(TIMEOUT), "--device", "cpu", *arguments)
        self.launches = [
            Launch(rank, world_size, port, str(folder), arguments, fault)
            for rank in range(world_size)
        ]
        self.processes = [
            context.Process(target=launch, daemon=True)
            for launch in self.launches
            if launch.rank not in absent
        ]

    def __enter__(self):
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.join()

    def exit_codes(self, ranks=None):
        chosen = [self.processes[rank] for rank in ranks or range(len(self.processes))]
        deadline = time.monotonic() + 60
        for process in chosen:
            process.join(max(0, deadline - time.monotonic()))
        return [process.exitcode for process in chosen]

    def printed(self, rank):
        return " ".join(self.launches[rank].output().split())


def test_verify_under_a_launcher_prints_on_rank_0_only(tmp_path):
    with Job(tmp_path, arguments=("--json", "--bandwidth", "4K")) as job:
        assert job.exit_codes() == [0, 0, 0, 0]
        document = json.loads(job.launches[0].output())
        assert document["ok"]
        assert document["world_size"] == 4
        assert [entry["mesh_dim"] for entry in document["bandwidth"]] == [
            "dp_shard",
            "tp",
            "non_pp",
        ]
        assert document["launcher"] == "RANK, WORLD_SIZE"
        assert [launch.output() for launch in job.launches[1:]] == ["", "", ""]
        assert [launch.output("err") for launch in job.launches] == ["", "", "", ""]


def test_verify_under_a_launcher_names_a_wrong_sum_and_fails_on_all_ranks(tmp_path):
    with Job(tmp_path, fault=Fault("wrong", 3, "fsdp2/tp")) as job:
        assert job.exit_codes() == [1, 1, 1, 1]
        assert "rank 3 is wrong on fsdp2/tp" in job.launches[0].output()


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """Jobs that lose a rank, all at once: what they do is wait."""
    jobs = {
        "killed": Job(tmp_path_factory.mktemp("killed"), fault=Fault("SIGKILL", 3, "fsdp2/tp")),
        "stopped": Job(
            tmp_path_factory.mktemp("stopped"), fault=Fault("SIGSTOP", 1, "flattened/dp")
        ),
        "absent": Job(tmp_path_factory.mktemp("absent"), world_size=3, absent=(2,)),
        "first killed": Job(
            tmp_path_factory.mktemp("first-killed"),
            fault=Fault("SIGKILL", 0, "fsdp2/dp_shard"),
        ),
        "first stopped": Job(
            tmp_path_factory.mktemp("first-stopped"),
            world_size=2,
            fault=Fault("SIGSTOP", 0, "fsdp2/dp_shard"),
        ),
        "told to stop": Job(
            tmp_path_factory.mktemp("told"),
            world_size=2,
            arguments=("--timeout", "60"),
            fault=Fault("SIGSTOP", 1, "expert/ep"),
        ),
    }
    with contextlib.ExitStack() as stack:
        for job in jobs.values():
            stack.enter_context(job)
        yield jobs


def test_verify_under_a_launcher_names_a_killed_rank(lost):
    job = lost["killed"]
    assert job.exit_codes() == [1, 1, 1, -signal.SIGKILL]
    assert "rank 3 died or is stopped: no sign of life from it during" in job.printed(0)
    assert "the all-reduce on fsdp2/tp, ranks 2, 3" in job.printed(0)


def test_verify_under_a_launcher_names_a_stopped_rank_in_time(lost):
    job = lost["stopped"]
    assert job.exit_codes(ranks=(0, 2, 3)) == [1, 1, 1]
    assert "rank 1 died or is stopped" in job.printed(0)
    assert "the all-reduce on flattened/dp, ranks 1, 3" in job.printed(0)
    stopped_at = float(job.launches[1].output("err"))
    assert job.launches[0].written_at() - stopped_at < TIMEOUT + 5


def test_verify_under_a_launcher_names_a_rank_that_never_came(lost):
    job = lost["absent"]
    assert job.exit_codes() == [1, 1]
    assert f"rank 2 never came within {TIMEOUT:g} s" in job.printed(0)


def test_verify_under_a_launcher_speaks_on_another_rank_when_rank_0_is_gone(lost):
    job = lost["first killed"]
    assert job.exit_codes() == [-signal.SIGKILL, 1, 1, 1]
    assert "rank 1 lost the store at 127.0.0.1:" in job.printed(1)
    assert "process of rank 0" in job.printed(1)
    assert job.launches[2].output("err").startswith("rank 2 lost the store")
    assert job.launches[3].output("err") == "", "one message a machine"


def test_verify_under_a_launcher_gives_up_a_store_that_is_stopped_in_time(lost):
    job = lost["first stopped"]
    assert job.exit_codes(ranks=(1,)) == [1]
    assert "lost the store at" in job.printed(1)
    progress, *_, stopped_at = job.launches[0].output("err").splitlines()
    assert progress == "meshcompat verify: waiting for the ranks"
    assert job.launches[1].written_at() - float(stopped_at) < TIMEOUT + 5


def test_verify_under_a_launcher_says_where_it_was_when_told_to_stop(lost):
    job = lost["told to stop"]
    deadline = time.monotonic() + 30
    while not job.launches[1].output("err") and time.monotonic() < deadline:
        time.sleep(0.1)
    job.processes[0].terminate()
    assert job.exit_codes(ranks=(0,)) == [1]
    assert "rank 1 died or is stopped" in job.printed(0)


@pytest.mark.soak
def test_verify_runs_under_torchrun():
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["-m", "meshcompat", "verify", "--device", "cpu", "--json"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["ok"]
