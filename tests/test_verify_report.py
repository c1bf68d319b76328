import dataclasses
import json
import signal
import subprocess
import sys

import pytest

from meshcompat._rank_processes.words import end_text, one_line
from meshcompat._rank_text import ranks_text
from meshcompat.verify import screen
from meshcompat.verify.plan import Plan
from meshcompat.verify.report import HEADINGS, LEGEND, Report
from meshcompat.verify.roll import Identity, Rate, Result, Roll
from meshcompat.verify.verdict import failures_of
from tests.support.verify_faults import standard_plan


def _roll(world_size=4):
    """Return the roll of ranks that are all through, with nothing wrong."""
    roll = Roll.of(standard_plan(world_size))
    for rank, member in enumerate(roll.members):
        member.step = len(roll.plan.steps) - 1
        host = f"node{rank // (world_size // 2)}"
        member.identity = Identity(host, "cpu", "2.15.0+cpu", None, 5.0)
        member.results = [Result(rank + 0.5, index < 2, None) for index in range(13)]
        member.has_ended = True
    return roll


def _report(roll):
    return Report(roll, failures_of(roll, "within 5 s"), "cpu", "gloo", 5.0, 1.25)


def _unfinished(roll, rank, row, **facts):
    """Have a rank stand in the all-reduce on the given row."""
    member = roll.members[rank]
    member.step = roll.plan.first_row_step + row
    member.results = member.results[:row]
    member.has_ended = False
    for name, fact in facts.items():
        setattr(member, name, fact)


def test_report_of_a_good_run():
    report = _report(_roll())
    assert report.is_ok
    assert report.lines[0].cells == ("fsdp2", "pp", "0", "4", "0.5", "2.0", "3.5", "-", "ok")
    assert report.summary == (
        "All right: 13 mesh dims; 8 process groups made, 2 on each rank; 1.2 s"
    )


def test_one_mesh_dim_and_one_group_are_told_in_the_singular():
    roll = Roll.of(Plan((2,), ("dp",)))
    for member in roll.members:
        member.step = len(roll.plan.steps) - 1
        member.results = [Result(1.0, is_new=True, fault=None)]
        member.has_ended = True
    assert _report(roll).summary == (
        "All right: 1 mesh dim; 1 process group made, 1 on each rank; 1.2 s"
    )


def test_json_has_every_key_and_only_plain_values(capsys):
    roll = _roll()
    roll.members[3].results[4] = Result(1.0, is_new=False, fault="the sum came from ranks 1")
    screen.show(_report(roll), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {
        *("schema", "ok", "date", "meshcompat", "torch", "nccl", "python", "launcher"),
        *("device", "backend", "hosts", "world_size", "mesh_shape", "mesh_dim_names", "timeout"),
        *("seconds", "groups_made", "rows", "bandwidth", "failures", "warnings", "notes"),
    }
    assert not document["ok"]
    assert document["rows"][2] == {
        "mesh": "fsdp2",
        "mesh_dim": "dp_shard",
        "ranks": [0, 2],
        "groups_made": 0,
        "milliseconds": {"min": 0.5, "median": 2.0, "max": 3.5},
        "groups": [
            {
                "ranks": [0, 2],
                "milliseconds": {"min": 0.5, "median": 1.5, "max": 2.5},
                "slowest": 2,
                "host": "node1",
                "behind": 2.0,
            },
            {
                "ranks": [1, 3],
                "milliseconds": {"min": 1.5, "median": 2.5, "max": 3.5},
                "slowest": 3,
                "host": "node1",
                "behind": 2.0,
            },
        ],
        "state": "ok",
    }
    assert document["failures"] == [
        {
            "kind": "wrong",
            "ranks": [3],
            "mesh": "fsdp2",
            "mesh_dim": "tp",
            "group": [2, 3],
            "message": "rank 3 is wrong on fsdp2/tp: the sum came from ranks 1",
        }
    ]


def test_ranks_that_wait_together_are_named_together():
    roll = _roll()
    for rank in (1, 3):
        _unfinished(roll, rank, 2)
    (failure,) = failures_of(roll, "within 5 s")
    assert failure.kind == "stuck"
    assert failure.ranks == (1, 3)
    assert failure.message == (
        "ranks 1, 3 did not finish within 5 s: the all-reduce on fsdp2/dp_shard, ranks 1, 3"
    )


def test_a_silent_rank_explains_those_who_wait_for_it():
    roll = _roll()
    _unfinished(roll, 1, 2, is_silent=True)
    _unfinished(roll, 3, 2, has_ended=True, error="RuntimeError: Timed out")
    _unfinished(roll, 0, 5)
    first, second = failures_of(roll, "within 5 s")
    assert (first.kind, first.ranks, first.group) == ("silent", (1,), (1, 3))
    assert second.message == (
        "rank 3 gave up in the all-reduce on fsdp2/dp_shard, ranks 1, 3: RuntimeError: Timed out"
    )


def test_ranks_that_never_came_are_named_in_one_sentence():
    roll = Roll.of(standard_plan(16))
    roll.members[0].step = 1
    missing, _ = failures_of(roll, "within 5 s")
    assert missing.ranks == tuple(range(1, 16))
    assert missing.message.startswith("ranks 1-15 never came within 5 s; look whether")


def test_a_dead_rank_is_quoted():
    roll = _roll()
    _unfinished(roll, 2, 0, end="signal 11, SIGSEGV", last_words="Fatal: no")
    (failure,) = failures_of(roll, "")
    assert failure.message == (
        "rank 2 died (signal 11, SIGSEGV) during the all-reduce on fsdp2/pp, rank 2; its last "
        "words: Fatal: no"
    )


def test_a_rank_that_dies_at_the_end_waited_for_the_others():
    roll = _roll()
    roll.members[2].end = "exit code 1"
    (failure,) = failures_of(roll, "")
    assert failure.message == "rank 2 died (exit code 1) during the wait for the others"


def test_rows_that_were_not_reached_are_not_called_right():
    roll = _roll()
    _unfinished(roll, 1, 2, end="exit code 1")
    states = [line.state for line in _report(roll).lines]
    assert states == ["ok", "ok", "FAILED", *["not done"] * 10]


def test_many_failures_are_cut_short_for_a_reader():
    roll = _roll(16)
    for member in roll.members:
        member.results[0] = Result(1.0, is_new=True, fault="all wrong")
    texts = _report(roll).failure_texts
    assert len(texts) == 11
    assert texts[-1] == "and 6 failures more, which --json lists"


def test_plain_table_has_what_the_coloured_one_has(capsys, monkeypatch):
    rich_screen = pytest.importorskip("meshcompat.verify.rich_screen")
    monkeypatch.setattr("meshcompat._release.installed_torch", lambda: "unknown")
    roll = _roll()
    _unfinished(roll, 1, 2, end="exit code 1")
    report = _report(roll)
    monkeypatch.setenv("COLUMNS", "100")
    screen.show(report, as_json=False)
    plain = capsys.readouterr().out
    rich_screen.show(report)
    coloured = capsys.readouterr().out
    texts = [report.title, report.subtitle, report.summary, *HEADINGS, *LEGEND]
    texts += [*report.failure_texts, *(cell for line in report.lines for cell in line.cells)]
    for text in texts:
        assert text in plain
        assert text in coloured
    for note in report.notes:
        assert note in " ".join(plain.replace("- ", "").split())
        assert note in " ".join(coloured.split())
    assert max(map(len, plain.splitlines())) <= 100


def test_colour_is_for_a_terminal_with_rich(capsys, monkeypatch):
    rich_screen = pytest.importorskip("meshcompat.verify.rich_screen")
    shown = []
    monkeypatch.setattr(rich_screen, "show", shown.append)
    report = _report(_roll())
    screen.show(report, as_json=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    screen.show(report, as_json=False)
    monkeypatch.setattr(screen, "HAS_RICH", False)
    screen.show(report, as_json=False)
    assert shown == [report]
    assert capsys.readouterr().out.count("All right") == 2


@pytest.mark.parametrize("is_coloured", [False, True])
@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_screen_hides_no_name_and_no_verdict(capsys, monkeypatch, columns, is_coloured):
    names = ("a_longer_name", "dp_shard", "another_one")
    roll = Roll.of(Plan((2, 2, 1), names, bandwidth=(2**20,)))
    for member in roll.members:
        member.step = len(roll.plan.steps) - 1
        member.results = [Result(1.0, is_new=True, fault=None) for _ in roll.plan.rows]
        member.rates = [Rate(index, 2**20, 0.01) for index in range(len(roll.plan.measured))]
        member.has_ended = True
    monkeypatch.setenv("COLUMNS", str(columns))
    if is_coloured:
        pytest.importorskip("meshcompat.verify.rich_screen").show(_report(roll))
    else:
        screen.show(_report(roll), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    for name in names:
        assert [line for line in lines if f" {name} " in line and line.rstrip().endswith(" ok")]
    assert not [line for line in lines if "…" in line]


def _behind(roll, rank, row, milliseconds):
    """Have a rank come to an all-reduce late, while its group waits."""
    for member, results in ((m, m.results) for m in roll.members):
        del member
        for index in range(row, len(results)):
            shift = milliseconds if index > row or results is roll.members[rank].results else 0
            results[index] = results[index]._replace(began=results[index].began + shift)
    for other in roll.plan.group_of(roll.plan.rows[row], rank):
        if other != rank:
            results = roll.members[other].results
            waited = results[row].milliseconds + milliseconds
            results[row] = results[row]._replace(milliseconds=waited)


def _even_roll():
    """Return the roll of ranks that all took the same time for everything."""
    roll = _roll()
    for member in roll.members:
        member.results = [Result(1.0, index < 2, None, 2.0 * index) for index in range(13)]
    return roll


def test_ranks_that_are_alike_are_not_warned_of():
    report = _report(_even_roll())
    assert report.cautions == []
    assert "warning" not in report.summary


def test_a_slow_rank_is_named_with_its_host_and_those_that_waited_are_not():
    roll = _even_roll()
    _behind(roll, 3, 4, 6000.0)
    report = _report(roll)
    (caution,) = report.cautions
    assert (caution.kind, caution.ranks, caution.milliseconds) == ("slow", (3,), 6000.0)
    assert caution.message == (
        "rank 3 on node1 kept the others waiting for 6.0 s in the all-reduce on fsdp2/tp, "
        "ranks 2, 3"
    )
    assert report.lines[4].slowest.slowest == 3
    assert report.is_ok
    assert "; 1 warning; " in report.summary


def test_a_rank_that_ends_its_all_reduce_late_is_named():
    roll = _even_roll()
    roll.members[2].results[4] = Result(5001.0, is_new=False, fault=None, began=8.0)
    (caution, *_) = _report(roll).cautions
    assert (caution.ranks, caution.milliseconds) == ((2,), 5000.0)


def test_a_rank_that_joins_late_is_named():
    roll = _even_roll()
    for rank in (0, 1, 3):
        roll.members[rank].identity = roll.members[rank].identity._replace(waited=8005.0)
    (caution,) = _report(roll).cautions
    assert (caution.kind, caution.ranks) == ("late", (2,))
    assert caution.message.startswith("rank 2 on node1 joined 8.0 s after the first rank")


def test_ranks_with_another_torch_are_named():
    roll = _even_roll()
    roll.members[1].identity = roll.members[1].identity._replace(torch="2.14.0+cpu")
    (caution,) = _report(roll).cautions
    assert (caution.kind, caution.ranks) == ("versions", (1,))
    assert caution.message == (
        "the ranks differ: torch 2.15.0+cpu on ranks 0, 2, 3; torch 2.14.0+cpu on ranks 1"
    )


def test_a_warning_fails_where_that_is_asked_for():
    roll = _even_roll()
    _behind(roll, 3, 4, 6000.0)
    report = dataclasses.replace(_report(roll), is_strict=True)
    assert not report.is_ok
    assert report.summary == ("FAILED (--strict): 13 of 13 mesh dims are right; 1 warning; 1.2 s")


def _measured_roll():
    roll = Roll.of(Plan((2, 2), ("pp", "tp"), bandwidth=(2**20,)))
    for rank, member in enumerate(roll.members):
        member.step = len(roll.plan.steps) - 1
        member.identity = Identity(f"node{rank // 2}", "cpu", "2.15.0", None, 0.0)
        member.results = [Result(1.0, is_new=True, fault=None) for _ in roll.plan.rows]
        # Rank 3 takes twice as long; both of its groups are as slow as it is.
        seconds = 2e-3 if rank == 3 else 1e-3
        member.rates = [Rate(index, 2**20, seconds) for index in range(2)]
        member.has_ended = True
    return roll


def test_bandwidth_is_that_of_the_slowest_rank_and_the_slowest_group_is_named():
    first, second = _report(_measured_roll()).document()["bandwidth"]
    # 2^20 bytes in a millisecond; half of the ranks of a pair: 2 * (2 - 1) / 2 = 1.
    assert first == {
        "mesh": "root",
        "mesh_dim": "pp",
        "bytes": 2**20,
        "group_size": 2,
        "gigabytes_per_second": {"min": 0.524, "median": 0.786, "max": 1.049},
        "slowest_group": [1, 3],
        "slowest_group_hosts": ["node0", "node1"],
    }
    assert second["slowest_group"] == [2, 3]
    assert second["slowest_group_hosts"] == ["node1"]


def test_bandwidth_is_drawn_beside_the_groups(capsys):
    screen.show(_report(_measured_roll()), as_json=False)
    printed = capsys.readouterr().out
    assert "root  pp      1M     0.524   0.786  1.05  ranks 1, 3 on node0, node1" in printed
    assert "GB/s: bus bandwidth, size / time * 2 * (n - 1) / n" in printed


@pytest.mark.parametrize("suffix", ["json", "html", "txt"])
def test_a_report_is_written_to_a_file(tmp_path, suffix):
    roll = _roll()
    roll.members[3].results[4] = Result(1.0, is_new=False, fault="<b> & not 'right'")
    report = dataclasses.replace(_report(roll), launcher="SLURM", date="2026-01-02T03:04:05+00:00")
    path = tmp_path / f"report.{suffix}"
    screen.write(report, str(path))
    text = path.read_text()
    assert "rank 3 is wrong on fsdp2/tp" in text
    assert ("<b>" in text) == (suffix != "html")
    for told in ("SLURM", "2026-01-02T03:04:05+00:00", "node0", "2.15.0+cpu"):
        assert told in text
    if suffix == "json":
        assert json.loads(text) == report.document()


def test_a_report_as_a_page_asks_no_other_host(tmp_path):
    screen.write(_report(_roll()), str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text()
    for request in ("<script", "src=", "href=", "url(", "@import"):
        assert request not in text
    assert "<svg" in text
    assert 'aria-label="mesh (pp=1, dp_replicate=1, dp_shard=2, cp=1, tp=2), 4 ranks"' in text


def test_without_rich_there_is_plain_text():
    code = (
        "import sys\nsys.modules['rich'] = None\n"
        "from meshcompat.verify import screen\n"
        "sys.exit(screen.HAS_RICH or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_progress_bar_is_for_a_terminal(capsys, monkeypatch):
    rich_screen = pytest.importorskip("meshcompat.verify.rich_screen")
    assert isinstance(screen.bar(10, "waiting", is_shown=True), screen.LineBar)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(screen.bar(10, "waiting", is_shown=False), screen.NoBar)
    bar = screen.bar(10, "waiting", is_shown=True)
    assert isinstance(bar, rich_screen.Bar)
    bar.advance(3, "the all-reduce on [fsdp2/tp]")
    bar.close()
    bar.close()
    assert capsys.readouterr().out == ""


def test_an_untested_torch_is_noted(monkeypatch):
    monkeypatch.setattr("meshcompat._release.installed_torch", lambda: "2.99.0")
    (note,) = _report(_roll()).notes
    assert note.startswith("note: torch 2.99.0 is newer than")


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        ((0,), "0"),
        ((0, 1), "0, 1"),
        ((4, 5, 6), "4-6"),
        ((0, 2, 4, 6), "0, 2, 4, 6"),
        (tuple(range(0, 64, 4)), "0, 4, ..., 60 (16)"),
        ((0, 1, 2, 3, 8, 9, 10, 11, 16, 17), "0, 1, 2, 3, 8, 9, ..., 17 (10)"),
    ],
)
def test_ranks_fit_into_a_cell(ranks, text):
    assert ranks_text(ranks) == text


def test_ends_and_errors_are_put_in_words():
    assert end_text(3) == "exit code 3"
    assert end_text(-signal.SIGKILL) == "signal 9, SIGKILL"
    assert end_text(-200) == "signal 200"
    assert one_line(KeyError()) == "KeyError"
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert one_line(OSError("[../gloo/tcp/pair.cc:525] Read [::1]")) == "OSError: Read [::1]"
    assert len(one_line(ValueError("x" * 900))) < 330
