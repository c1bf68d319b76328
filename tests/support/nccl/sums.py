"""The tests that are marked gpu, but for those of `kinds`: all meshes of one root, split and not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.nccl.setting import NOT_ASKED, RIGHT, WRONG, Result

if TYPE_CHECKING:
    from tests.support.nccl.setting import Tell

ALONE = "every_group_of_a_mesh"
"""What the tests are called that make a world for each kind of mesh."""


def run(tell: Tell) -> None:
    """Run the tests and tell how each ended."""
    run_tests(tell, f"not {ALONE}")


def run_tests(tell: Tell, wanted: str) -> None:
    """Run the tests that are marked gpu and whose names fit."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "gpu", "-k", wanted]
    # Where meshcompat is installed it is a plugin of pytest, and this process has imported it.
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    pytest.main([*options, "tests/collectives/test_nccl.py"], plugins=[Outcomes(tell)])


class Outcomes:
    """A plugin that tells how each test ended, as soon as it has."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell of a test that ran, was skipped, or did not get that far."""
        name = report.nodeid.partition("::test_")[2].replace("_", " ")
        seconds = {"s": round(report.duration, 1)}
        if report.when == "call" and report.passed:
            self.tell(Result(name, RIGHT, "", seconds))
        elif report.skipped:
            # Of a failure that is known there is a traceback instead, and its reason beside it.
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.wasxfail
            self.tell(Result(name, NOT_ASKED, reason, seconds))
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            told = crash.message if crash else str(report.longrepr)
            self.tell(Result(name, WRONG, told.splitlines()[0], seconds))
