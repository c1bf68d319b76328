"""What `meshcompat doctor` says, hides and gives up on; told without asking torch."""

import builtins
import importlib.metadata
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from meshcompat.__main__ import main
from meshcompat._rank_processes.stores import open_store
from meshcompat.doctor import examination, facts, ranks, report
from meshcompat.doctor.masks import masked, of_interest
from meshcompat.doctor.trial import Outcome, Question, Trial

pytestmark = pytest.mark.once

FACTS = {
    "meshcompat": "1.0",
    "python": "3.11.7",
    "platform": "Linux",
    "host": "node-a",
    "libraries": {"packaging": "26.0", "numpy": None},
    "torch": {"release": "2.9.1", "git": "0" * 40, "cuda": "12.8", "hip": None, "debug": True},
    "era": {"name": "root tables", "oldest": "2.5", "newest": "2.9", "capability": "A.b"},
    "backends": ["gloo", "nccl"],
    "nccl": "2.27.5",
    "gpus": [{"name": "H100", "memory_gib": 80}] * 8,
    "environment": {"NCCL_DEBUG": "INFO", "NCCL_IB_HCA": "mlx5_0," * 50},
    "missing": [],
}
OUTCOME = Outcome(
    [
        Question("one", "https://a/1", "wrong ranks"),
        Question("two", "https://b", "right"),
        Question("three", "https://c", "absent"),
    ],
    None,
)


def text(outcome=OUTCOME, met=None, note=None, **changed):
    return report.text(report.Report({**FACTS, **changed}, outcome, met, note))


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_report_is_one_screen_of_any_width(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    met = ranks.compare(
        64,
        {rank: {"host": f"node-{rank}", "torch": str(rank % 2)} for rank in range(64)},
        dict.fromkeys(range(64), 0.0),
    )
    lines = text(met=met).splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines) <= 40
    assert "... (64 in all)" in " ".join(text(met=met).split())


def test_the_report_says_what_was_found():
    said = text()
    for part in (
        "torch         2.9.1, commit 000000000000, CUDA 12.8, debug build",
        "era           root tables (torch 2.5 to 2.9), as it has A.b",
        "backends      gloo, nccl (NCCL 2.27.5)",
        "GPUs          8 x H100 (80 GiB)",
        "    NCCL_DEBUG=INFO",
        "wrong         one: wrong ranks (pytorch#1)",
        "absent        1 is about a call that this torch does not have",
        "right         1 is right",
        "All that meshcompat needs is here.",
    ):
        assert part in said


def test_a_driver_at_fault_is_told_and_the_rest_goes_on():
    said = text(gpus=[], gpu_error="RuntimeError: no driver", environment={})
    assert "GPUs          torch cannot ask for them: RuntimeError: no driver" in said
    assert "variables     none of those that matter" in said


def test_what_was_not_tried_is_told_with_the_reason():
    outcome = Outcome([Question("one", "https://a", "not tried")], "signal 11, SIGSEGV")
    assert "not tried     1 was not tried: signal 11, SIGSEGV" in text(outcome)


def test_what_differs_between_ranks_is_told():
    words = {
        0: {"host": "a", "torch": "2.9.1", "$X": "0"},
        1: {"host": "a", "torch": "2.9.1", "$X": "1"},
        2: {"host": "b", "torch": "2.8.0", "$X": "2", "$Y": "1"},
    }
    met = ranks.compare(4, words, {0: 100.0, 1: 100.5, 2: 88.0})
    said = text(met=met)
    for part in (
        "ranks         3 of 4, on a (0, 1), b (2)",
        "differs       torch: 2.9.1 (ranks 0, 1); 2.8.0 (rank 2)",
        "differs       $X: another one on each rank",
        "differs       $Y: not set (ranks 0, 1); 1 (rank 2)",
        "differs       clock: rank 2 12 s behind that of rank 0",
        "missing       rank 3 of 4 did not come",
    ):
        assert part in said
    assert "differs       nothing" in text(met=ranks.compare(1, {0: {"host": "a"}}, {0: 1.0}))


def test_a_store_that_does_not_answer_is_missing():
    met = ranks.Ranks(2, [], {}, [], {}, "rank 0 of 2 lost the others")
    assert "ranks         2, which could not be met" in text(met=met)
    assert "missing       rank 0 of 2 lost the others" in text(met=met)


def test_json_has_all_of_it():
    met = ranks.compare(2, {0: {"host": "a", "x": "1"}, 1: {"host": "a", "x": "2"}}, {0: 0, 1: 9})
    document = json.loads(json.dumps(report.document(report.Report(FACTS, OUTCOME, met, None))))
    assert document["faults"][0] == {"name": "one", "link": "https://a/1", "verdict": "wrong ranks"}
    assert document["ranks"]["differences"] == [{"what": "x", "values": {"1": [0], "2": [1]}}]
    assert document["ranks"]["clocks_ahead_of_rank_0"] == [{"rank": 1, "seconds": 9}]
    assert document["environment"] == FACTS["environment"]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("NCCL_DEBUG", "INFO", "INFO"),
        ("NCCL_API_KEY", "abc", "***"),
        ("TORCH_HUB_PASSWORD", "abc", "***"),
        ("NCCL_TOKEN", "", ""),
        ("TORCH_HOME", f"{Path.home()}/.cache", "~/.cache"),
        ("TORCH_INDEX", "https://me:secret@host/simple", "https://***@host/simple"),
        ("TORCH_URL", "https://host/a?x=1&token=abc&y=2", "https://host/a?x=1&***&y=2"),
        ("TORCH_X", "hf_abcdefghijklmnopqrstuv", "***"),
        ("TORCH_X", "ghp_abcdefghijklmnopqrstuv", "***"),
        ("TORCH_X", "AKIAABCDEFGHIJKLMNOP", "***"),
        ("TORCH_X", "a" * 40, "***"),
        ("TORCH_CUDA_ARCH_LIST", "7.0;8.0;9.0+PTX", "7.0;8.0;9.0+PTX"),
        ("NCCL_IB_HCA", "=mlx5_0:1,mlx5_1:1", "=mlx5_0:1,mlx5_1:1"),
    ],
)
def test_a_secret_is_masked_and_what_is_none_is_not(name, value, shown):
    assert masked(name, value) == shown


def test_only_variables_that_matter_are_shown():
    environment = {"NCCL_DEBUG": "1", "HOME": "/x", "RANK": "0", "AWS_KEY": "k", "MASTER_ADDR": "h"}
    assert list(of_interest(environment)) == ["MASTER_ADDR", "NCCL_DEBUG", "RANK"]


@pytest.fixture
def no_trial(monkeypatch):
    """Let nothing be tried."""
    monkeypatch.setattr(Trial, "outcome", lambda _self: OUTCOME)
    for name in ("RANK", "WORLD_SIZE", "SLURM_NTASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_trial")
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ImportError("no libcudart.so.13"), "torch cannot be imported: ImportError: no libcudart"),
        (ModuleNotFoundError("No module", name="torch"), "torch is not installed"),
        (ModuleNotFoundError("No module", name="sympy"), "torch cannot be imported: Module"),
    ],
)
def test_without_torch_it_says_so_and_exits_with_1(error, said, capsys, monkeypatch):
    known = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "torch":
            raise error
        return known(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert f"missing       {said}" in out
    assert "backends" not in out


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"torch": {"release": "2.1.0"}}, "torch 2.1.0 is older than 2.2"),
        ({"era": None, "backends": []}, "was built without torch.distributed"),
        ({"era": None}, "none of the DeviceMesh internals"),
        ({}, None),
    ],
)
def test_what_is_missing_is_named(changed, said):
    missing = facts._missing({**FACTS, **changed})  # noqa: SLF001
    assert missing == [] if said is None else said in missing[0]


@pytest.mark.usefixtures("no_trial")
def test_what_is_built_otherwise_is_told(monkeypatch):
    """Without the torch, driver or library at hand, as far as it can be played."""
    known = importlib.metadata.version

    def version(name):
        if name == "packaging":
            raise importlib.metadata.PackageNotFoundError(name)
        return known(name)

    def fail():
        raise RuntimeError("no driver")

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(torch.cuda, "device_count", fail)
    found = facts.gather({})
    assert "packaging is not installed" in found["missing"][0]
    assert found["gpu_error"] == "RuntimeError: no driver"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    gpu = SimpleNamespace(name="H100", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _index: gpu)
    assert facts.gather({})["gpus"] == [{"name": "H100", "memory_gib": 80}] * 2
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)
    assert "built without torch.distributed" in facts.gather({})["missing"][-1]


@pytest.mark.usefixtures("no_trial")
def test_the_ranks_of_a_launcher_meet_at_its_store(monkeypatch):
    store = open_store("127.0.0.1", 0, is_server=True, timeout=30)
    given = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    monkeypatch.setattr(
        facts, "gather", lambda environment: {**FACTS, "host": f"host-{environment['RANK']}"}
    )
    with ThreadPoolExecutor() as threads:
        told = [
            threads.submit(examination.examine, {**given, "RANK": str(rank)}, 30)
            for rank in range(2)
        ]
        first, second = (future.result() for future in told)
    assert second is None
    assert first.ranks.hosts == {"host-0": [0], "host-1": [1]}
    assert first.missing == []


@pytest.mark.usefixtures("no_trial")
def test_rank_0_that_finds_no_store_tells_all_else(monkeypatch):
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "FATAL")
    monkeypatch.setattr(facts, "gather", lambda _environment: FACTS)
    given = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9"}
    found = examination.examine({**given, "TORCHELASTIC_USE_AGENT_STORE": "True"}, 1)
    assert "rank 0 of 2 lost the others" in found.missing[0]
    assert found.trial == OUTCOME


@pytest.mark.parametrize(("local_rank", "lines"), [("0", 1), ("1", 0)])
def test_one_rank_a_machine_says_that_it_lost_the_others(local_rank, lines, capsys, monkeypatch):
    def lose(_environment, _timeout):
        raise ranks.NotMetError("rank 1 of 2 lost the others")

    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "FATAL")
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    monkeypatch.setattr(examination, "examine", lose)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err.count("lost the others") == lines


def test_a_rank_that_has_told_rank_0_prints_nothing(capsys, monkeypatch):
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "FATAL")
    monkeypatch.setattr(examination, "examine", lambda _environment, _timeout: None)
    assert main(["doctor", "--timeout", "1"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("no_trial")
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2", "MASTER_ADDR": "h", "MASTER_PORT": "1"}, "'x'"),
        ({"RANK": "0"}, "but not WORLD_SIZE, MASTER_ADDR, MASTER_PORT; set all of"),
        ({"SLURM_NTASKS": "4"}, "SLURM gives this job 4 tasks"),
    ],
)
def test_a_launcher_that_does_not_say_enough_is_told(environment, said, monkeypatch):
    monkeypatch.setattr(facts, "gather", lambda _environment: FACTS)
    found = examination.examine(environment, 1)
    assert said in found.note
    assert f"ranks         {found.note[:20]}" in text(note=found.note)
    assert found.missing == []


def test_a_crash_in_torch_ends_the_trial_and_not_the_doctor(monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, signal, sys\n"
        "print(json.dumps([['one', 'a'], ['two', 'b'], ['three', 'c']]))\n"
        "print(json.dumps('right'), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    begin = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda _command, **options: begin([sys.executable, program], **options)
    )
    with Trial() as begun:
        questions, error = begun.outcome()
    assert [question.verdict for question in questions] == ["right", "not tried", "not tried"]
    assert error == "signal 11, SIGSEGV"


def test_a_trial_that_hangs_is_ended(monkeypatch):
    begin = subprocess.Popen
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(subprocess, "Popen", lambda _command, **options: begin(command, **options))
    before = time.monotonic()
    with Trial(seconds=0.5) as begun:
        assert begun.outcome() == Outcome([], "not through within 0.5 s")
    assert time.monotonic() - before < 30


def test_ctrl_c_leaves_no_process_behind(monkeypatch):
    begun = []
    begin = subprocess.Popen

    def remember(*arguments, **options):
        begun.append(begin(*arguments, **options))
        return begun[0]

    def interrupt(_environment):
        raise KeyboardInterrupt

    for name in ("RANK", "WORLD_SIZE", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(subprocess, "Popen", remember)
    monkeypatch.setattr(facts, "gather", interrupt)
    assert main(["doctor"]) == 130
    assert begun[0].poll() is not None


def test_the_trial_is_no_rank_of_the_launcher(monkeypatch):
    given = {}
    begin = subprocess.Popen

    def remember(_command, **options):
        given.update(options["env"])
        return begin([sys.executable, "-c", ""], **options)

    monkeypatch.setenv("RANK", "3")
    monkeypatch.setattr(subprocess, "Popen", remember)
    with Trial() as begun:
        assert begun.outcome() == Outcome([], None)
    assert "RANK" not in given
    assert given["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "nan", "4000"])
def test_a_timeout_that_is_none_is_refused(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--timeout", seconds])
    assert ended.value.code == 2
    assert f"{seconds!r} must be seconds" in capsys.readouterr().err
