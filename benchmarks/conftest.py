"""What all benchmarks share: sides measured in turns, counts noted, and one file of it all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import record, turns

BENCHMARKS = Path(__file__).parent
ROWS = pytest.StashKey[list]()
IS_PART = pytest.StashKey[bool]()


def pytest_addoption(parser):
    parser.addoption(
        "--record",
        action="store_true",
        help="write the figures to docs/data/performance/<release of torch>.json",
    )


def pytest_configure(config):
    config.stash[ROWS] = []
    wanted = [(config.invocation_params.dir / argument).resolve() for argument in config.args]
    config.stash[IS_PART] = wanted != [BENCHMARKS]
    # What it would report is the time of a turn, all sides together.
    config.option.benchmark_quiet = True


def pytest_deselected(items):
    items[0].config.stash[IS_PART] = True


def pytest_report_header():
    return f"torch {torch.__version__}"


@pytest.fixture
def note(request):
    """Keep a row of counts."""
    return request.config.stash[ROWS].append


@pytest.fixture
def in_turns(benchmark, note):
    """Measure sides in turns, each turn a round of pytest-benchmark, and keep a row."""

    def drive(turn, rounds):
        benchmark.pedantic(turn, rounds=rounds)

    def measure(sides, rounds, **about):
        note({**about, "sides": turns.in_turns(sides, rounds, drive)})

    return measure


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    for row in config.stash[ROWS]:
        terminalreporter.write_line(record.line(row))
    if not config.getoption("--record"):
        return
    if exitstatus != pytest.ExitCode.OK or config.stash[IS_PART]:
        terminalreporter.write_line("not recorded: a record is of all benchmarks, all passed")
        return
    path = config.rootpath / "docs" / "data" / "performance" / f"{record.release()}.json"
    record.write(path, config.stash[ROWS])
    terminalreporter.write_line(f"recorded: {path.relative_to(config.rootpath)}")
