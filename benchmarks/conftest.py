"""What all benchmarks share: sides measured in turns, counts noted, and one file of it all."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch

from benchmarks import record, turns

ROWS = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption(
        "--record",
        action="store_true",
        help="write the figures to docs/performance/<release of torch>.json",
    )


def pytest_configure(config):
    config.stash[ROWS] = []


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
        gc.collect()
        note({**about, "sides": turns.in_turns(sides, rounds, drive)})

    return measure


def pytest_sessionfinish(session, exitstatus):
    if session.config.getoption("--record") and exitstatus == pytest.ExitCode.OK:
        release = record.release()
        path = Path(session.config.rootpath, "docs", "performance", f"{release}.json")
        record.write(path, session.config.stash[ROWS])


def pytest_terminal_summary(terminalreporter, config):
    for row in config.stash[ROWS]:
        terminalreporter.write_line(record.line(row))
