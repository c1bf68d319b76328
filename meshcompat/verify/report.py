"""What a run found, as a document for machines and as cells for a table."""

from __future__ import annotations

import importlib.metadata
import platform
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from meshcompat import _release
from meshcompat._rank_processes.words import ranks_text

if TYPE_CHECKING:
    from meshcompat.verify.plan import Plan
    from meshcompat.verify.roll import Result, Roll
    from meshcompat.verify.verdict import Failure

OK = "ok"
FAILED = "FAILED"
NOT_DONE = "not done"

HEADINGS = ("mesh", "dim", "ranks with rank 0", "groups made", "ms", "ok")
NUMBERS = ("groups made", "ms")
LEGEND = (
    "groups made: process groups for this mesh dim, over all ranks; 0 shares others.",
    "ms: all-reduce on the slowest rank, connecting and waiting included.",
)

_SHOWN = 10


class Line(NamedTuple):
    """One mesh dim in the report; *milliseconds* are those of the slowest rank."""

    mesh: str
    mesh_dim: str
    ranks: tuple[int, ...]
    groups_made: int | None
    milliseconds: float | None
    state: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The line as text, one cell for each of the headings."""
        made = "-" if self.groups_made is None else str(self.groups_made)
        took = "-" if self.milliseconds is None else f"{self.milliseconds:.1f}"
        return (self.mesh, self.mesh_dim, ranks_text(self.ranks), made, took, self.state)


@dataclass(frozen=True)
class Report:
    """Everything that the user is told."""

    roll: Roll
    failures: list[Failure]
    device: str
    backend: str
    timeout: float
    seconds: float

    @property
    def plan(self) -> Plan:
        """What was to be done."""
        return self.roll.plan

    @property
    def is_ok(self) -> bool:
        """Whether all is right on all ranks."""
        return not self.failures and all(line.state == OK for line in self.lines)

    @property
    def lines(self) -> list[Line]:
        """One line for each mesh dim."""
        return [self._line(index) for index in range(len(self.plan.rows))]

    @property
    def title(self) -> str:
        """Who ran, and on what."""
        ranks = "1 rank" if self.plan.world_size == 1 else f"{self.plan.world_size} ranks"
        return (
            f"meshcompat verify: {ranks}, {self.device} ({self.backend}), "
            f"torch {_release.installed_torch()}"
        )

    @property
    def subtitle(self) -> str:
        """The root's shape."""
        dims = zip(self.plan.names, self.plan.shape, strict=True)
        return ", ".join(f"{name}={size}" for name, size in dims)

    @property
    def summary(self) -> str:
        """The last line."""
        lines = self.lines
        if not self.is_ok:
            right = sum(line.state == OK for line in lines)
            return f"{FAILED}: {right} of {len(lines)} mesh dims are right; {self.seconds:.1f} s"
        per_rank, over_all = self._groups_made(lines)
        return (
            f"All right: {len(lines)} mesh dims; {over_all} process groups made, {per_rank} on "
            f"each rank; {self.seconds:.1f} s"
        )

    @property
    def failure_texts(self) -> list[str]:
        """What went wrong, in as many sentences as one can read."""
        more = len(self.failures) - _SHOWN
        shown = [failure.message for failure in self.failures[:_SHOWN]]
        return [*shown, *([f"and {more} failures more, which --json lists"] if more > 0 else [])]

    @property
    def notes(self) -> list[str]:
        """What there is to know besides."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _release.warn_if_untested(_release.installed_torch())
        return [f"note: {warning.message}" for warning in caught]

    def document(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        per_rank, over_all = self._groups_made(self.lines)
        return {
            "ok": self.is_ok,
            "meshcompat": _version(),
            "torch": _release.installed_torch(),
            "python": platform.python_version(),
            "device": self.device,
            "backend": self.backend,
            "world_size": self.plan.world_size,
            "mesh_shape": list(self.plan.shape),
            "mesh_dim_names": list(self.plan.names),
            "timeout": self.timeout,
            "seconds": round(self.seconds, 3),
            "groups_made": {"on_each_rank": per_rank, "over_all_ranks": over_all},
            "rows": [line._asdict() for line in self.lines],
            "failures": [_document_of(failure) for failure in self.failures],
            "notes": self.notes,
        }

    def _line(self, index: int) -> Line:
        row = self.plan.rows[index]
        results: list[Result | None] = [
            member.results[index] if index < len(member.results) else None
            for member in self.roll.members
        ]
        heard = [result for result in results if result is not None]
        made = self.plan.group_count(row) if any(result.is_new for result in heard) else 0
        state = NOT_DONE
        if len(heard) == len(results):
            state = OK
        if any(failure.row == row for failure in self.failures):
            state = FAILED
        return Line(
            row.mesh,
            row.mesh_dim,
            self.plan.group_of(row, 0),
            made if heard else None,
            round(max(result.milliseconds for result in heard), 3) if state == OK else None,
            state,
        )

    def _groups_made(self, lines: list[Line]) -> tuple[int, int]:
        made = [line.groups_made for line in lines if line.groups_made]
        return len(made), sum(made)


def _document_of(failure: Failure) -> dict[str, Any]:
    return {
        "kind": failure.kind,
        "ranks": list(failure.ranks),
        "mesh": failure.row and failure.row.mesh,
        "mesh_dim": failure.row and failure.row.mesh_dim,
        "group": list(failure.group),
        "message": failure.message,
    }


def _version() -> str | None:
    try:
        return importlib.metadata.version("meshcompat")
    except importlib.metadata.PackageNotFoundError:
        return None
