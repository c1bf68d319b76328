"""What the tests of other projects' wheels share: real ranks, and what their row of the list says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tomllib

from meshcompat.testing import GlooPool

LIST = tomllib.loads(Path("ci/downstream.toml").read_text(encoding="utf-8"))
ROWS = {f"{row['project']}-{row['torch']}": row for row in LIST["rows"]}
ROW = ROWS.get(os.environ.get("MESHCOMPAT_DOWNSTREAM", ""), {})
SAID = LIST["said"].get(ROW.get("project"), [])
TORCH = ("torch.distributed.tensor.parallel", "torch.distributed.fsdp", "torch._dynamo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect what this row cannot do, strictly: a release that can do it makes the list wrong."""
    names = {item.originalname for item in items}
    unknown = [name for name in ROW.get("cannot", {}) if name not in names]
    if unknown:
        raise pytest.UsageError(f"ci/downstream.toml says that there are tests {unknown}")
    for item in items:
        if item.originalname in ROW.get("cannot", {}):
            reason = ROW["cannot"][item.originalname]
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was run, and what these wheels cannot do here."""
    if ROW:
        name = f"{ROW['project']} {ROW['version']} on torch {ROW['torch']}"
        terminalreporter.section(name)
        lines = [f"cannot: {line}" for line in (*SAID, *ROW.get("cannot", {}).values())]
        for line in lines or ["can do all that these tests ask"]:
            terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def pool(request):
    """Eight real ranks that have imported the project."""
    preload = (*TORCH, *request.module.PRELOAD)
    with GlooPool(world_size=8, timeout=240, preload=preload) as pool:
        yield pool
