"""The script that is run where a GPU is: a part that does not report is a failure, a cut-off run still tells."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ROOT / "tests" / "support" / "nccl"

pytestmark = pytest.mark.once


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    script = importlib.import_module("nccl")
    yield script
    for name in ("nccl", "nccl_page"):
        sys.modules.pop(name, None)


@pytest.fixture
def page(script, monkeypatch, tmp_path):
    page = importlib.import_module("nccl_page")
    monkeypatch.setattr(page, "PARTS", script.PARTS)
    monkeypatch.setattr(page, "STORED", tmp_path)
    return page


@pytest.fixture
def run_of(script, tmp_path, monkeypatch):
    """Run a part that is this text, and return what the file tells of it."""

    def run(text, limit=60):
        package = tmp_path / "tests" / "support" / "nccl"
        package.mkdir(parents=True)
        # A folder with __init__.py comes before one without, wherever the two stand.
        for folder in (package, *package.parents[:2]):
            (folder / "__init__.py").touch()
        (package / "__main__.py").write_text((PARTS / "__main__.py").read_text())
        (package / "part.py").write_text(text)
        monkeypatch.setattr(script, "ROOT", tmp_path)
        runner = script.Runner(tmp_path / "new" / "run.json", 100, is_rehearsal=False)
        is_right = runner.run(script.Part("part", limit, ""))
        (told,) = json.loads((tmp_path / "new" / "run.json").read_text())["parts"]
        return is_right, told

    return run


RESULT = """
from typing import NamedTuple
class Result(NamedTuple):
    name: str
    verdict: str
    told: str = ""
    figures: dict = {}
def run(tell):
"""


def test_a_part_that_reports_and_ends_is_right(run_of):
    is_right, told = run_of(f"{RESULT}    tell(Result('a', 'right', '', {{'s': 1}}))")
    assert is_right
    assert told["ended"] == "all"
    assert told["results"] == [{"name": "a", "verdict": "right", "told": "", "figures": {"s": 1}}]


@pytest.mark.parametrize(
    ("body", "ended", "count"),
    [
        pytest.param("pass", "all", 0, id="silent"),
        pytest.param("tell(Result('a', 'wrong', 'why'))", "all", 1, id="wrong"),
        pytest.param("tell(Result('a', 'right')); raise OSError", "exit status 1", 1, id="raises"),
    ],
)
def test_a_part_that_is_silent_wrong_or_broken_is_not_right(run_of, body, ended, count):
    is_right, told = run_of(f"{RESULT}    {body}")
    assert not is_right
    assert (told["ended"], len(told["results"])) == (ended, count)


def test_a_part_that_is_cut_off_keeps_what_it_told(run_of):
    body = "tell(Result('a', 'right')); import time; time.sleep(60)"
    is_right, told = run_of(f"{RESULT}    {body}", limit=4)
    assert not is_right
    assert told["ended"] == "cut off after 4 s"
    assert [result["name"] for result in told["results"]] == ["a"]


def test_a_part_without_time_is_not_begun(script, tmp_path):
    runner = script.Runner(tmp_path / "run.json", 0, is_rehearsal=True)
    assert not runner.run(script.PARTS[0])
    (told,) = json.loads((tmp_path / "run.json").read_text())["parts"]
    assert told["ended"] == "not begun: no time was left"


def test_every_part_is_a_module_and_every_module_a_part(script):
    modules = {path.stem for path in PARTS.glob("*.py")} - {"__main__", "setting"}
    assert {part.name for part in script.PARTS} == modules


def a_run(script, **others):
    machine = {"torch": "2.11.0+cu130", "GPUs": "1 x GPU", "NCCL": "2.28"}
    results = [{"name": "machine", "verdict": "right", "told": "", "figures": machine}]
    parts = [
        {"name": part.name, "ranks": 4, "ended": "all", "results": [], "seconds": 1.0}
        for part in script.PARTS
    ]
    parts[0]["results"] = results
    parts[1]["results"] = [
        {"name": "sum", "verdict": "wrong", "told": "3 instead of 4", "figures": {"ms": 5}}
    ]
    parts[2]["results"] = [
        {"name": "launch", "verdict": "not asked", "told": "no ranks", "figures": {}}
    ]
    return {"date": "2026-01-01", "rehearsal": False, "parts": parts, **others}


def test_the_page_says_what_ran_and_what_did_not(script, page, tmp_path):
    assert page.table("")[1][0][-1] == "not run"
    assert page.summary(["2.11.0"]) == "not run"
    (tmp_path / "2.11.0.json").write_text(json.dumps(a_run(script)))
    header, body = page.table("")
    assert header[-1] == "torch 2.11.0"
    assert body[0][-1] == "right (1 results, 1 s)"
    assert body[1][-1] == "0 results right, 1 wrong; ended: all"
    assert body[2][-1] == "not asked"
    assert body[3][-1] == "0 results right, 0 wrong; ended: all"
    assert page.table("amiss")[1] == [
        ["2.11.0", "sums", "sum", "wrong", "3 instead of 4"],
        ["2.11.0", "verify", "launch", "not asked", "no ranks"],
    ]
    assert page.table("figures")[1] == [["sums", "sum", "ms", "5"]]
    assert page.table("machines")[1][0][:2] == ["2.11.0+cu130", "1 x GPU"]
    assert page.summary(["2.11.0"]) == f"2.11.0: 1 of {len(script.PARTS)} parts"
    assert page.summary(["2.12.0"]) == "not run"


def test_a_rehearsal_is_on_no_page(script, page, tmp_path):
    (tmp_path / "2.11.0.json").write_text(json.dumps(a_run(script, rehearsal=True)))
    assert page.table("figures")[1][0][0] == "not run"


@pytest.mark.parametrize(
    ("gpus", "most", "ranks"),
    [
        pytest.param(1, 4, [4, 4], id="they share it"),
        pytest.param(1, 1, [4, 1, 1], id="they cannot share it"),
        pytest.param(2, 2, [2, 2], id="they need not share it"),
    ],
)
def test_ranks_share_one_gpu_where_nccl_takes_that(script, monkeypatch, gpus, most, ranks):
    used = []

    def run(runner, _):
        used.append(runner.ranks)
        return runner.ranks <= most

    monkeypatch.setattr(script, "gpus", lambda: gpus)
    monkeypatch.setattr(script.Runner, "run", run)
    assert script.main(["verify"]) == 0
    assert used == ranks


def test_without_a_gpu_it_says_what_can_be_done(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "gpus", lambda: 0)
    with pytest.raises(SystemExit):
        script.main([])
    assert "--rehearse runs every part on CPU" in capsys.readouterr().err
