"""The one table of what a torch release cannot do: each row is a strict xfail there.

A row whose pattern matches no test is stale, and so is one whose test passes: both fail.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class KnownDifference(NamedTuple):
    """Tests that fail on some releases, for a reason that is not ours to mend."""

    oldest: tuple[int, int]
    """First torch minor that differs."""
    newest: tuple[int, int]
    """Last torch minor that differs."""
    tests: str
    """Pattern over test ids, such as ``tests/test_select.py::test_name[*]``; ``[`` is plain."""
    reason: str
    link: str
    """Where upstream says so."""

    def holds_on(self, minor: tuple[int, int] | None) -> bool:
        """Return whether the row is about this torch minor."""
        return minor is not None and self.oldest <= minor <= self.newest

    def is_about(self, test_id: str) -> bool:
        """Return whether the pattern matches."""
        return fnmatch.fnmatchcase(test_id, self.tests.replace("[", "[[]"))


TRAINING = "tests/collectives/test_consumers_training.py"

KNOWN_DIFFERENCES: tuple[KnownDifference, ...] = (
    KnownDifference(
        (2, 2),
        (2, 2),
        "tests/collectives/test_redistribute.py::*_after_flatten[2x2 of four ranks]",
        "DTensor itself aborts: it pads by the wrong size where shards of shards are uneven",
        "https://github.com/pytorch/pytorch/pull/115525",
    ),
    KnownDifference(
        (2, 2),
        (2, 4),
        "tests/collectives/test_redistribute.py::*_after_torch_flattened",
        "torch flattens nothing",
        "https://github.com/pytorch/pytorch/pull/132632",
    ),
    KnownDifference(
        (2, 11),
        (2, 15),
        "tests/collectives/test_redistribute.py::*_after_torch_flattened",
        "DTensor gathers uneven shards wrong through a flattened mesh that torch knows",
        "https://github.com/pytorch/pytorch/pull/194457",
    ),
    KnownDifference(
        (2, 4),
        (2, 8),
        f"{TRAINING}::test_tensor_parallel_*[outer dim]",
        "TP takes only the innermost dim of a mesh, of torch's own meshes too",
        "https://github.com/pytorch/pytorch/pull/111001",
    ),
    KnownDifference(
        (2, 4),
        (2, 4),
        f"{TRAINING}::test_tensor_parallel_*[last dim of a reversed mesh]",
        "TP takes only the innermost dim of a mesh, and 2.4 compares the parents of meshes: a dim "
        "keeps that of the root",
        "https://github.com/pytorch/pytorch/pull/131636",
    ),
    KnownDifference(
        (2, 5),
        (2, 8),
        f"{TRAINING}::test_tensor_parallel_*[outer flattened dim]",
        "TP takes only the innermost dim of a mesh, and FSDP2 beside TP needs the root of both",
        "https://github.com/pytorch/pytorch/pull/111001",
    ),
    KnownDifference(
        (2, 2),
        (2, 5),
        f"{TRAINING}::test_fsdp2_*",
        "FSDP2 is not public",
        "https://github.com/pytorch/pytorch/pull/141868",
    ),
    KnownDifference(
        (2, 6),
        (2, 6),
        f"{TRAINING}::test_fsdp2_*",
        "FSDP2 needs CUDA streams",
        "https://github.com/pytorch/pytorch/pull/145935",
    ),
    KnownDifference(
        (2, 7),
        (2, 7),
        f"{TRAINING}::test_fsdp2_*[replicated*",
        "FSDP2 with replication needs CUDA events",
        "https://github.com/pytorch/pytorch/pull/150316",
    ),
    KnownDifference(
        (2, 2),
        (2, 3),
        f"{TRAINING}::test_pipelines_*",
        "torch.distributed.pipelining came with 2.4",
        "https://github.com/pytorch/tutorials/pull/2962",
    ),
    KnownDifference(
        (2, 2),
        (2, 4),
        "tests/test_builder_errors.py::test_a_published_axis_*",
        "torch has no registry of flattened meshes to publish in",
        "https://github.com/pytorch/pytorch/pull/133195",
    ),
    KnownDifference(
        (2, 2),
        (2, 4),
        "tests/test_mesh_utils.py::test_torch_finds_*",
        "torch has no registry of flattened meshes to publish in",
        "https://github.com/pytorch/pytorch/pull/133195",
    ),
    KnownDifference(
        (2, 4),
        (2, 4),
        "tests/test_defers.py::test_selection_equals_and_hashes_as_two_slices_of_torch_do"
        "[*select tp pp]",
        "2.4 compares the parents of meshes, and its TP refuses a parent with dims in another "
        "order: our mesh has none",
        "https://github.com/pytorch/pytorch/pull/131636",
    ),
    KnownDifference(
        (2, 4),
        (2, 4),
        "tests/test_defers.py::test_selection_equals_and_hashes_as_two_slices_of_torch_do"
        "[*select of a selection]",
        "2.4 compares the parents of meshes: torch's is the first selection, ours the root",
        "https://github.com/pytorch/pytorch/pull/131636",
    ),
)


def stale(rows: Iterable[KnownDifference], test_ids: Iterable[str]) -> list[KnownDifference]:
    """Return the rows that match none of *test_ids*."""
    ids = list(test_ids)
    return [row for row in rows if not any(row.is_about(test_id) for test_id in ids)]
