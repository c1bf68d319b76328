"""What long tests count and measure, for docs/data/reliability.json.

A test tells a figure with the fixture `figure`. At the end of the run those of the tests that
passed are written into the file that MESHCOMPAT_FIGURES names; ci/reliability.py has the shape.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from meshcompat import _release

if TYPE_CHECKING:
    import pytest

PROPERTY = "figure"
"""What a figure is called among the properties of a test, which workers send to the main process."""


class Figures:
    """A plugin that gathers what tests tell; figures that are counts are added up."""

    def __init__(self) -> None:
        self.sections: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take up the figures of a test that passed."""
        if report.when != "call" or not report.passed:
            return
        properties: list[tuple[str, Any]] = report.user_properties
        for section, name, value in [told for kind, told in properties if kind == PROPERTY]:
            figures = self.sections.setdefault(section, {})
            is_count = isinstance(value, int) and name in figures
            figures[name] = figures[name] + value if is_count else value

    def pytest_sessionfinish(self) -> None:
        """Write the file, where it is asked for and this process gathered something."""
        wanted = os.environ.get("MESHCOMPAT_FIGURES")
        if wanted and self.sections:
            release = Version(_release.installed_torch()).base_version
            text = json.dumps({release: self.sections}, indent=1, ensure_ascii=False)
            Path(wanted).write_text(text + "\n", encoding="utf-8")
