import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from meshcompat.__main__ import main
from meshcompat.verify.cautions import cautions_of
from meshcompat.verify.local import ranks as local
from meshcompat.verify.pace import bandwidths_of
from meshcompat.verify.verdict import failures_of
from tests.support.verify_faults import Fault, patient_timeout, standard_plan

pytestmark = pytest.mark.multiprocess

TIMEOUT = patient_timeout()


@pytest.fixture(autouse=True)
def no_process_left_running(monkeypatch):
    """Every rank that was started is gone afterwards, whatever happened to it."""
    monkeypatch.delenv("RANK", raising=False)
    pids = []
    others = set(multiprocessing.active_children())  # torch 2.3 keeps two that compile
    kill = local.Ranks.kill

    def kill_and_note(ranks):
        pids.extend(process.pid for process in ranks.processes.values())
        kill(ranks)

    monkeypatch.setattr(local.Ranks, "kill", kill_and_note)
    yield
    assert not [pid for pid in pids if _is_running(pid)]
    assert set(multiprocessing.active_children()) <= others


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _failures(fault, timeout=60.0):
    roll = local.verify(standard_plan(4), timeout, reduce=fault)
    return failures_of(roll, f"within {timeout:g} s")


def test_verify_is_right_on_eight_ranks(capfd):
    assert main(["verify", "--json"]) == 0
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert document["ok"]
    assert document["failures"] == []
    assert document["mesh_shape"] == [2, 1, 2, 1, 2]
    assert len(document["rows"]) == 13
    assert all(row["state"] == "ok" for row in document["rows"])
    assert document["groups_made"] == {"on_each_rank": 7, "over_all_ranks": 30}
    assert captured.err == ""


@pytest.mark.once
def test_verify_imports_torch_in_its_ranks_only():
    code = (
        "import sys\nfrom meshcompat.__main__ import main\n"
        "sys.exit(main(['verify', '-n', '1', '--json']) or 'torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        == 0
    )


@pytest.mark.processes
def test_verify_names_a_rank_with_a_wrong_sum():
    (failure,) = _failures(Fault("wrong", 3, "fsdp2/tp"))
    assert failure.message == (
        "rank 3 is wrong on fsdp2/tp: the sum came from ranks 0, and should come from 2, 3"
    )


@pytest.mark.processes
def test_verify_names_a_slow_rank_and_measures_the_bandwidth():
    plan = dataclasses.replace(standard_plan(4), bandwidth=(2**12, 2**16))
    roll = local.verify(plan, 60, reduce=Fault("late", 3, "fsdp2/tp"))
    assert failures_of(roll, "") == []
    (caution,) = [caution for caution in cautions_of(roll) if caution.kind == "slow"]
    assert caution.ranks == (3,)
    assert "kept the others waiting for 2." in caution.message
    assert "in the all-reduce on fsdp2/tp, ranks 2, 3" in caution.message
    measured = bandwidths_of(roll)
    assert [(str(found.row), found.size) for found in measured] == [
        (f"{mesh}/{dim}", size)
        for mesh, dim in (("fsdp2", "dp_shard"), ("fsdp2", "tp"), ("flattened", "non_pp"))
        for size in (2**12, 2**16)
    ]
    assert all(0 < found.rates.minimum <= found.rates.maximum for found in measured)


@pytest.mark.processes
def test_verify_names_a_dead_rank_and_where_it_died_and_exits_with_1(capsys, monkeypatch):
    plain_verify = local.verify

    def verify(plan, timeout, *, reduce, watch):
        assert reduce is None
        fault = Fault("SIGKILL", 3, "fsdp2/tp")
        return plain_verify(plan, timeout, reduce=fault, watch=watch)

    monkeypatch.setattr(local, "verify", verify)
    start = time.monotonic()
    assert main(["verify", "-n", "4"]) == 1
    assert time.monotonic() - start < 30, "a dead rank is not waited for"
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "rank 3 died (signal 9, SIGKILL) during the all-reduce on fsdp2/tp, ranks 2, 3" in printed
    )
    assert "fsdp2 tp 0, 1 2 - - - - FAILED" in printed


@pytest.mark.processes
def test_verify_names_a_stopped_rank_within_the_timeout_and_five_seconds():
    stopped_at = []

    def note(roll):
        if not stopped_at and roll.members[1].step == roll.plan.steps.index(
            "the all-reduce on flattened/dp"
        ):
            stopped_at.append(time.monotonic())

    fault = Fault("SIGSTOP", 1, "flattened/dp")
    roll = local.verify(standard_plan(4), TIMEOUT, reduce=fault, watch=note)
    assert time.monotonic() - stopped_at[0] < TIMEOUT + 5
    first, *_ = failures_of(roll, "")
    assert first.kind == "silent"
    assert first.message == (
        "rank 1 died or is stopped: no sign of life from it during the all-reduce on "
        "flattened/dp, ranks 1, 3"
    )


@pytest.mark.processes
def test_verify_tells_the_error_of_a_rank():
    first, *_ = _failures(Fault("raise", 2, "expert/ep"))
    assert (first.kind, first.group) == ("error", (2, 3))
    assert "in the all-reduce on expert/ep, ranks 2, 3: " in first.message


@pytest.mark.processes
def test_verify_names_a_rank_that_is_counted_twice():
    roll = local.verify(standard_plan(2), 60, reduce=Fault("twice", 1, "expert/ep"))
    (failure,) = failures_of(roll, "")
    assert "the sum came from ranks 2 x 0, 2 x 1, and should come from 0, 1" in failure.message


@pytest.mark.processes
def test_verify_names_a_rank_that_cannot_be_started():
    roll = local.verify(standard_plan(2), 60, reduce=lambda *_: None)
    first, missing = failures_of(roll, "")
    assert first.message.startswith("rank 0 died (could not be started, ")
    assert missing.ranks == (1,)


@pytest.mark.processes
def test_ranks_leave_when_nobody_listens_to_them(tmp_path):
    ranks = local.Ranks(standard_plan(2), 60, tmp_path, Fault("SIGSTOP", 0, "hsdp/dp_replicate"))
    ranks.start()
    _wait_for(lambda: len(ranks.processes) == 2)
    for pipe in ranks.pipes.values():
        pipe.close()
    try:
        ranks.processes[1].join(60)
        assert ranks.processes[1].exitcode == 1
    finally:
        ranks.kill()


@pytest.mark.processes
def test_ranks_that_start_after_the_end_are_ended(tmp_path):
    ranks = local.Ranks(standard_plan(1), 60, tmp_path, None)
    ranks.is_over = True
    ranks.start()
    _wait_for(lambda: len(ranks.processes) == 1)
    ranks.processes[0].join(60)
    ranks.kill()
    assert ranks.processes[0].exitcode is not None


@pytest.mark.processes
def test_the_environment_is_left_as_it_was(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("TORCH_CPP_LOG_LEVEL", raising=False)
    local.verify(standard_plan(1), 60)
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "TORCH_CPP_LOG_LEVEL" not in os.environ


def _wait_for(is_so):
    deadline = time.monotonic() + 60
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_so()


@pytest.mark.processes
def test_verify_takes_any_shape_and_names(capsys):
    assert main(["verify", "--shape", "3,1", "--names", "x,dp_shard"]) == 0
    printed = capsys.readouterr().out
    assert "x=3, dp_shard=1" in printed
    assert "All right" in printed


@pytest.mark.processes
def test_verify_is_right_on_one_rank(capsys):
    assert main(["verify", "-n", "1"]) == 0
    assert "1 rank," in capsys.readouterr().out
