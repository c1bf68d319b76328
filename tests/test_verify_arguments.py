import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshcompat.__main__ import main
from meshcompat.verify import arguments, command
from meshcompat.verify.local import limits
from meshcompat.verify.plan import STANDARD_NAMES

TORCHRUN = {"RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}


def _read(line, environment=None):
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    return arguments.read(parser, parser.parse_args(line.split()), environment or {})


@pytest.mark.parametrize(
    ("line", "environment", "shape"),
    [
        ("", {}, (2, 1, 2, 1, 2)),
        ("-n 16", {}, (2, 2, 2, 1, 2)),
        ("--world-size 7", {}, (1, 1, 7, 1, 1)),
        ("-n 1", {}, (1, 1, 1, 1, 1)),
        ("--shape 1,2,3", {}, (1, 2, 3)),
        ("--shape 2,2 -n 4", {}, (2, 2)),
        ("--names dp,tp", {}, (2, 4)),
        ("", TORCHRUN, (1, 1, 2, 1, 2)),
        ("--world-size 4 --device cuda", TORCHRUN, (1, 1, 2, 1, 2)),
        ("--tp 2", {}, (1, 1, 4, 1, 2)),
        ("--tp 3", {}, (1, 1, 1, 1, 3)),
        ("--tp 2 --pp 2 -n 16", {}, (2, 1, 4, 1, 2)),
        ("--dp-replicate 2 --dp-shard 3 --cp 2", {}, (1, 2, 3, 2, 1)),
        ("--tp 2", TORCHRUN, (1, 1, 2, 1, 2)),
    ],
)
def test_arguments_give_a_shape(line, environment, shape):
    assert _read(line, environment).plan.shape == shape


def test_arguments_name_the_dims_of_a_shape():
    assert _read("--shape 1,1,1,1,2").plan.names == STANDARD_NAMES
    assert _read("--shape 1,2").plan.names == ("dim_0", "dim_1")
    assert _read("--shape 1,2 --names a,b").plan.names == ("a", "b")


def test_arguments_know_a_launcher_by_its_rank():
    assert _read("", TORCHRUN).is_launched
    assert not _read("", {"WORLD_SIZE": "4", "MASTER_ADDR": "node0"}).is_launched


@pytest.mark.parametrize(
    ("line", "environment", "words"),
    [
        ("--shape 2,x", {}, "'2,x' must be whole numbers above 0"),
        ("--shape 2,0", {}, "'2,0' must be whole numbers above 0"),
        ("--shape 2,,2", {}, "such as 2,1,2,1,2"),
        ("--shape 2,-1", {}, "must be whole numbers"),
        ("--names a,a --shape 1,2", {}, "'a,a' must be different names"),
        ("--names a, --shape 1,2", {}, "must be different names"),
        ("--shape 2,2 --names a", {}, "2 sizes, 2,2, but --names has 1 names, a; give one name"),
        ("--shape 2,2 -n 8", {}, "2,2 has 2 * 2 = 4 ranks, but there are 8; give sizes"),
        ("--shape 2,1", TORCHRUN, "but there are 4; give sizes whose product is 4"),
        ("-n 0", {}, "'0' must be a whole number above 0"),
        ("-n many", {}, "'many' must be a whole number"),
        ("-n 8", TORCHRUN, "the launcher started 4 ranks; leave --world-size out"),
        (f"-n {2**61 - 1}", {}, "of at most 7 digits"),  # a prime: its factors took for ever
        ("--shape 10000000,1", {}, "of at most 7 digits"),
        (
            "",
            {**TORCHRUN, "LOCAL_RANK": "9" * 5000},
            "of at most 7 digits",
        ),  # more than int() reads
        ("", {**TORCHRUN, "WORLD_SIZE": "9" * 400}, "of at most 7 digits"),
        ("--timeout 0", {}, "'0' must be seconds, above 0"),
        ("--timeout nan", {}, "'nan' must be seconds"),
        ("--timeout inf", {}, "'inf' must be seconds"),
        ("--timeout soon", {}, "'soon' must be seconds"),
        ("--tp 3 -n 16", {}, ": tp 3 does not divide 16 ranks; give sizes whose product does"),
        ("--tp 3 --pp 2 -n 16", {}, "pp 2 * tp 3 = 6 does not divide 16 ranks; give sizes"),
        ("--dp-shard 3 -n 8", {}, ": dp_shard 3 does not make 8 ranks; give sizes whose product"),
        ("--tp 2 --dp-shard 2 -n 16", {}, "dp_shard 2 * tp 2 = 4 does not make 16 ranks"),
        ("--tp 2 --shape 2,2", {}, ": --tp cannot be given with --shape: sizes by name make"),
        ("--tp 2 --pp 2 --names a", {}, ": --pp and --tp cannot be given with --names: sizes"),
        ("--tp 0", {}, "'0' must be a whole number above 0"),
        ("--ep 3", {}, "--ep 3 does not divide the 4 ranks of a pipeline stage"),
        ("--ep 2 --names a,b", {}, "--ep 2 needs a mesh dim dp_shard, but the mesh has a,b"),
        ("--bandwidth 1T", {}, "'1T' must be sizes in bytes"),
        ("--bandwidth 32G", {}, "each from 1 to 16G"),
        ("--bandwidth 0", {}, "such as 64K,1M,64M"),
        ("--report no/such/folder/r.json", {}, "make the folder 'no/such/folder'"),
        ("-n 100000", {}, "100000 ranks are too many for"),
        ("--device tpu", {}, "invalid choice: 'tpu'"),
        ("--device cuda", {}, "torchrun --nproc-per-node"),
        ("--colour", {}, "unrecognized arguments: --colour"),
        ("", {"RANK": "0"}, "but not WORLD_SIZE, MASTER_ADDR, MASTER_PORT; set all of"),
        ("", {**TORCHRUN, "MASTER_PORT": "http"}, "MASTER_PORT is 'http' in the environment"),
        ("", {**TORCHRUN, "LOCAL_RANK": "-1"}, "LOCAL_RANK is '-1' in the environment"),
        ("", {**TORCHRUN, "WORLD_SIZE": "0"}, "RANK is 0 in the environment, but must be"),
        ("", {**TORCHRUN, "MASTER_PORT": "70000"}, "must be from 1 to 65535; set it right, or"),
    ],
)
def test_arguments_that_do_not_fit_exit_with_2_and_a_message(line, environment, words, capsys):
    with pytest.raises(SystemExit) as raised:
        _read(line, environment)
    assert raised.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in " ".join(captured.err.split())


def test_arguments_are_refused_in_words_on_rank_0_only(capsys):
    with pytest.raises(SystemExit) as raised:
        _read("-n 8", {**TORCHRUN, "RANK": "3"})
    assert raised.value.code == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({**TORCHRUN, "RANK": "a"}, "RANK is 'a' in the environment, but must be a whole number"),
        ({**TORCHRUN, "RANK": ""}, "RANK is '' in the environment, but must be a whole number"),
        ({**TORCHRUN, "RANK": "4"}, "RANK is 4 in the environment, but must be below WORLD_SIZE"),
        ({**TORCHRUN, "RANK": "3", "LOCAL_RANK": "x"}, "LOCAL_RANK is 'x' in the environment"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "but not MASTER_ADDR, MASTER_PORT; set all of"),
    ],
)
def test_a_process_whose_own_variables_are_wrong_says_so_whatever_its_rank(
    environment, words, capsys
):
    with pytest.raises(SystemExit) as raised:
        _read("", environment)
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("error:") == 1


def test_alone_is_refused_in_words_whatever_a_launcher_says(capsys):
    with pytest.raises(SystemExit):
        _read("--alone --tp 3 -n 8", {**TORCHRUN, "RANK": "3"})
    assert "does not divide 8 ranks" in capsys.readouterr().err


def test_arguments_give_the_size_of_the_expert_dim():
    assert _read("--ep 4").plan.expert_sizes == (1, 4)
    assert _read("--ep 2 --pp 2 --tp 2 -n 16").plan.expert_sizes == (4, 2)
    assert _read("").plan.expert_sizes == (2, 2)


def test_arguments_take_sizes_to_measure():
    assert _read("").plan.measured == ()
    plan = _read("--bandwidth 64K,1MiB,1m,512").plan
    assert plan.bandwidth == (2**16, 2**20, 512)
    assert [str(row) for row in plan.measured] == [
        *("fsdp2/pp", "fsdp2/dp_shard", "fsdp2/tp", "flattened/non_pp"),
    ]
    assert plan.steps[-1] == "measuring the bandwidth of flattened/non_pp"
    assert plan.row_at(len(plan.steps) - 1) == plan.measured[-1]


def test_more_ranks_than_the_machine_is_good_for_are_started_where_that_is_asked_for():
    assert _read("-n 100000 --oversubscribe").plan.world_size == 100000


@pytest.mark.parametrize(
    ("cores", "megabytes", "ranks", "words"),
    [
        (2, 100_000, 64, None),
        (2, 100_000, 65, "65 ranks are too many for 2 cores"),
        (64, 1_000_000, 1024, None),
        (64, 1_000_000, 1025, "ask for at most 1024 with -n"),
        (64, 4_000, 100, "100 ranks need about 6.8 GB of memory, and 3.9 GB are free"),
        (64, 4_000, 100, "ask for at most 53 with -n"),
        (64, None, 100, None),
        (64, 10, 8, "ask for at most 1 with -n"),
    ],
)
def test_a_machine_is_good_for_so_many_ranks(monkeypatch, cores, megabytes, ranks, words):
    monkeypatch.setattr(limits, "cores", lambda: cores)
    monkeypatch.setattr(limits, "free_megabytes", lambda: megabytes)
    told = limits.excess(ranks)
    assert (told is None) if words is None else (words in told)


def test_cores_and_memory_are_asked_of_the_system(monkeypatch):
    assert limits.cores() == len(os.sched_getaffinity(0))
    assert 0 < limits.free_megabytes() < 10**9
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert limits.cores() == 3
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "MemFree: 1 kB")
    assert limits.free_megabytes() is None
    monkeypatch.undo()
    monkeypatch.setattr(limits, "MEMORY", Path("no", "such", "file"))
    assert limits.free_megabytes() is None


def test_the_package_is_a_command():
    command_line = [sys.executable, "-m", "meshcompat", "verify", "--timeout", "never"]
    ended = subprocess.run(command_line, check=False, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "meshcompat verify: error: argument --timeout: 'never' must be" in ended.stderr


@pytest.mark.parametrize("line", ["--help", "verify --help"])
def test_help_does_not_wait_for_torch(line):
    code = (
        "import sys\nfrom meshcompat.__main__ import main\n"
        f"try: main({line.split()})\n"
        "except SystemExit as ended: sys.exit(ended.code or 'torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "usage: meshcompat" in ended.stdout


def test_a_command_is_needed(capsys):
    with pytest.raises(SystemExit) as raised:
        main([])
    assert raised.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_interrupted_is_said_and_exits_with_130(capsys, monkeypatch):
    def interrupt(_request):
        raise KeyboardInterrupt

    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(command, "run", interrupt)
    assert main(["verify"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
