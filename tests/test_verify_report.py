import json
import signal
import subprocess
import sys

import pytest

from meshcompat._rank_processes.words import end_text, one_line, ranks_text
from meshcompat.verify import screen
from meshcompat.verify.report import HEADINGS, LEGEND, Report
from meshcompat.verify.roll import Result, Roll
from meshcompat.verify.verdict import failures_of
from tests.support.verify_faults import standard_plan


def _roll(world_size=4):
    """Return the roll of ranks that are all through, with nothing wrong."""
    roll = Roll.of(standard_plan(world_size))
    for rank, member in enumerate(roll.members):
        member.step = len(roll.plan.steps) - 1
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
    assert report.lines[0].cells == ("fsdp2", "pp", "0", "4", "3.5", "ok")
    assert report.summary == (
        "All right: 13 mesh dims; 8 process groups made, 2 on each rank; 1.2 s"
    )


def test_json_has_every_key_and_only_plain_values(capsys):
    roll = _roll()
    roll.members[3].results[4] = Result(1.0, is_new=False, fault="the sum came from ranks 1")
    screen.show(_report(roll), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {
        *("ok", "meshcompat", "torch", "python", "device", "backend", "world_size"),
        *("mesh_shape", "mesh_dim_names", "timeout", "seconds", "groups_made", "rows"),
        *("failures", "notes"),
    }
    assert not document["ok"]
    assert document["rows"][2] == {
        "mesh": "fsdp2",
        "mesh_dim": "dp_shard",
        "ranks": [0, 2],
        "groups_made": 0,
        "milliseconds": 3.5,
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
    screen.show(report, as_json=False)
    plain = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "200")
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
    assert max(map(len, plain.splitlines())) < 80


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


def test_without_rich_there_is_plain_text():
    code = (
        "import sys\nsys.modules['rich'] = None\n"
        "from meshcompat.verify import screen\n"
        "sys.exit(screen.HAS_RICH or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_progress_bar_is_for_a_terminal(capsys, monkeypatch):
    rich_screen = pytest.importorskip("meshcompat.verify.rich_screen")
    assert isinstance(screen.bar(10, "waiting", is_shown=True), screen.NoBar)
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
