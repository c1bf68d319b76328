"""What each consumer did with our meshes in a run of the tests: one verdict a row, as JSON.

``pytest --consumers-json FILE tests/collectives`` writes the verdicts of this release;
ci/consumers.py makes the table in docs/consumers.md of the files of all releases.
"""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    import pytest

OK = "ok"
CANNOT = "the release cannot"
SHORT = "we fall short"

FILES = "tests/collectives/test_consumers"


class Row(NamedTuple):
    """A row of the table: a consumer, and what of it the tests ask."""

    name: str
    tests: tuple[str, ...]
    """Patterns over the ends of test ids; ``[`` is plain."""

    def is_about(self, test_id: str) -> bool:
        """Return whether one of the patterns matches."""
        patterns = (pattern.replace("[", "[[]") for pattern in self.tests)
        return any(fnmatch.fnmatchcase(test_id, f"{FILES}*::{pattern}") for pattern in patterns)


def tp(what: str, *cases: str) -> Row:
    return Row(
        f"`parallelize_module`: {what}",
        tuple(f"test_tensor_parallel_modules_*[{case}]" for case in cases),
    )


def fsdp(what: str, case: str, *others: str) -> Row:
    return Row(f"`fully_shard`: {what}", (f"test_fsdp2_trains_as_one_*[{case}]", *others))


ROWS = (
    Row(
        "`DTensor`: distribute, multiply, `full_tensor`",
        ("test_dtensors_multiply_*", "test_dtensors_on_a_wrong_*"),
    ),
    Row("`DTensor`: redistribute even shards", ("test_dtensors_redistribute_*[*-even]",)),
    Row("`DTensor`: redistribute uneven shards", ("test_dtensors_redistribute_*[*-uneven]",)),
    Row(
        "`torch.distributed.checkpoint`: save on one mesh, load on another",
        ("test_checkpoint_*",),
    ),
    Row(
        "`torch.compile(fullgraph=True)`: a mesh closed over",
        ("test_compiled_*[closed over]", "test_compiled_*_wrong_*"),
    ),
    Row(
        "`torch.compile(fullgraph=True)`: a `DTensor` as an argument",
        ("test_compiled_*[of a DTensor argument]",),
    ),
    Row(
        "`torch.compile(fullgraph=True)`: a mesh as an argument",
        ("test_compiled_*[as an argument]",),
    ),
    Row("`with mesh:` as the current mesh", ("test_a_*current_*",)),
    Row(
        "`parallelize_module`: the innermost dim",
        (
            "test_tensor_parallel_modules_*[innermost dim]",
            "test_tensor_parallel_modules_on_a_wrong_*",
        ),
    ),
    tp(
        "a flattened dim that ends at the innermost one",
        "flattened dim",
        "flattened dim of a composed mesh",
    ),
    tp("a flattened dim of dims that lie apart", "flattened dim, not neighbours"),
    tp("a dim of an unflattened mesh", "dim of an unflattened mesh"),
    tp(
        "an outer dim, as the last of a mesh in another order",
        "last dim of a reversed mesh",
        "flattened outer dims, last of a mesh",
    ),
    tp("an outer dim, straight from the root", "outer dim"),
    tp("outer dims flattened, straight from the root", "outer flattened dim"),
    fsdp("one dim", "one dim"),
    fsdp("a flattened dim", "flattened", "test_fsdp2_on_a_wrong_*"),
    Row("`fully_shard`: in float32 as on a mesh of torch", ("test_fsdp2_trains_in_float32_*",)),
    fsdp(
        "HSDP, `(dp_replicate, dp_shard_cp)`",
        "replicated over one dim, sharded over a flattened one",
    ),
    fsdp(
        "HSDP over dims of an unflattened mesh",
        "replicated and sharded over dims of an unflattened mesh",
    ),
    fsdp(
        "experts on their mesh, the rest on that of data",
        "replicated in part, beside experts on their own mesh",
    ),
    fsdp("one dim, beside TP", "beside tensor parallelism"),
    fsdp("a flattened dim, beside TP", "flattened, beside tensor parallelism"),
    fsdp(
        "beside TP on a flattened dim of the same mesh",
        "beside tensor parallelism on a flattened dim of one view",
    ),
    fsdp(
        "beside TP on an outer dim, the last of the same mesh",
        "beside tensor parallelism on an outer dim, last of one view",
    ),
    fsdp(
        "HSDP beside TP, all dims of one unflattened mesh",
        "replicated, beside tensor parallelism in one unflattened mesh",
    ),
    Row("`torch.distributed.pipelining`: stages over `pp`", ("test_pipelines_*",)),
)


class ConsumerReport:
    """Collects what came of the tests of consumers, and writes it at the end of the run."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.found: dict[str, list[tuple[str, str]]] = {row.name: [] for row in ROWS}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended, and why."""
        if not report.nodeid.startswith(FILES) or (report.when != "call" and report.passed):
            return
        (row,) = (row for row in ROWS if row.is_about(report.nodeid))
        self.found[row.name].append(verdict_of(report))

    def pytest_sessionfinish(self) -> None:
        """Write the verdicts: a row is as good as the worst of its tests."""
        rows = [{"name": name, **told(found)} for name, found in self.found.items()]
        release = torch.__version__.partition("+")[0]
        text = json.dumps({"release": release, "rows": rows}, indent=1)
        self.path.write_text(text + "\n", encoding="utf-8")


def verdict_of(report: pytest.TestReport) -> tuple[str, str]:
    """Return the verdict that one test gives, with the reason of an expected failure."""
    if report.passed:
        return OK, ""
    reason = getattr(report, "wasxfail", None)
    return (SHORT, "") if reason is None else (CANNOT, reason)


def told(found: list[tuple[str, str]]) -> dict[str, str]:
    """Return the worst verdict, with reason and link where the release cannot."""
    worst = max(found, key=lambda verdict: [OK, CANNOT, SHORT].index(verdict[0]))
    reason, _, link = worst[1].removeprefix("reason: ").rpartition(" - ")
    return {"verdict": worst[0], "reason": reason, "link": link}
