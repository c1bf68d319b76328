"""Each kind of mesh in a world of its own: the tests marked gpu that `sums` leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.nccl.sums import ALONE, run_tests

if TYPE_CHECKING:
    from tests.support.nccl.setting import Tell


def run(tell: Tell) -> None:
    """Run the tests and tell how each ended."""
    run_tests(tell, ALONE)
