"""What a run found, as a document for machines and as cells for a table."""

from __future__ import annotations

import platform
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from meshcompat import _release
from meshcompat._drawing.words import count_text
from meshcompat._rank_processes.words import ranks_named
from meshcompat._rank_text import ranks_text
from meshcompat.verify.cautions import cautions_of
from meshcompat.verify.pace import Pace, Spread, bandwidths_of, paces_of

if TYPE_CHECKING:
    from meshcompat.verify.cautions import Caution
    from meshcompat.verify.pace import Bandwidth
    from meshcompat.verify.plan import Plan
    from meshcompat.verify.roll import Result, Roll
    from meshcompat.verify.verdict import Failure

SCHEMA = 1
"""Version of the JSON document: higher when a key goes or means something else."""

OK = "ok"
FAILED = "FAILED"
NOT_DONE = "not done"

HEADINGS = (
    *("mesh", "dim", "rank 0 meets", "groups made"),
    *("ms min", "median", "max", "slowest", "ok"),
)
NUMBERS = HEADINGS[3:8]
LEGEND = (
    "groups made: process groups for this mesh dim, over all ranks; 0 shares others.",
    "ms: all-reduce on a rank, connecting and waiting included.",
    "slowest: the rank that the others of its group waited for longest.",
)
BANDWIDTH_HEADINGS = ("mesh", "dim", "bytes", "GB/s min", "median", "max", "slowest group")
BANDWIDTH_NUMBERS = BANDWIDTH_HEADINGS[2:6]
BANDWIDTH_LEGEND = (
    "GB/s: bus bandwidth, size / time * 2 * (n - 1) / n as in nccl-tests, all groups at once.",
)

_SHOWN = 10


class Line(NamedTuple):
    """One mesh dim in the report."""

    mesh: str
    mesh_dim: str
    ranks: tuple[int, ...]
    groups_made: int | None
    milliseconds: Spread | None
    slowest: Pace | None
    state: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The line as text, one cell for each of the headings."""
        made = "-" if self.groups_made is None else str(self.groups_made)
        took = ["-"] * 3
        if self.milliseconds is not None:
            took = [f"{figure:.1f}" for figure in self.milliseconds]
        slowest = "-" if self.slowest is None else str(self.slowest.slowest)
        return (
            *(self.mesh, self.mesh_dim, ranks_text(self.ranks), made),
            *(*took, slowest, self.state),
        )


@dataclass(frozen=True)
class Report:
    """Everything that the user is told.

    Attributes:
        roll: What was heard of all ranks.
        failures: What went wrong.
        device: ``cpu`` or ``cuda``.
        backend: The backend of the groups.
        timeout: Seconds that were waited without progress.
        seconds: How long the run took.
        launcher: Who started the ranks.
        date: When the run began, as ISO 8601 has it.
        is_strict: Whether a warning counts as a failure.
    """

    roll: Roll
    failures: list[Failure]
    device: str
    backend: str
    timeout: float
    seconds: float
    launcher: str = "meshcompat"
    date: str = ""
    is_strict: bool = False

    @property
    def plan(self) -> Plan:
        """What was to be done."""
        return self.roll.plan

    @property
    def is_ok(self) -> bool:
        """Whether all is right on all ranks, and nothing is to be warned of where that counts."""
        is_right = not self.failures and all(line.state == OK for line in self.lines)
        return is_right and not (self.is_strict and self.cautions)

    @cached_property
    def lines(self) -> list[Line]:
        """One line for each mesh dim."""
        return [self._line(index) for index in range(len(self.plan.rows))]

    @cached_property
    def bandwidths(self) -> list[Bandwidth]:
        """One entry for each mesh dim and size that was measured."""
        return bandwidths_of(self.roll)

    @cached_property
    def cautions(self) -> list[Caution]:
        """What to look at, although it is not wrong."""
        return cautions_of(self.roll)

    @property
    def hosts(self) -> dict[str, list[int]]:
        """Which ranks are on which host, as far as ranks have joined."""
        ranks_of: dict[str, list[int]] = {}
        for rank, member in enumerate(self.roll.members):
            if member.identity is not None:
                ranks_of.setdefault(member.identity.host, []).append(rank)
        return ranks_of

    @property
    def torch(self) -> str:
        """The version of torch on the first rank that joined, else the installed one."""
        return next(
            (m.identity.torch for m in self.roll.members if m.identity is not None),
            _release.installed_torch(),
        )

    @property
    def nccl(self) -> str | None:
        """The version of NCCL on the first rank that joined, where it is used."""
        return next((m.identity.nccl for m in self.roll.members if m.identity is not None), None)

    @property
    def title(self) -> str:
        """Who ran, and on what."""
        ranks = "1 rank" if self.plan.world_size == 1 else f"{self.plan.world_size} ranks"
        nccl = "" if self.nccl is None else f" {self.nccl}"
        return (
            f"meshcompat verify: {ranks}, {self.device} ({self.backend}{nccl}), torch {self.torch}"
        )

    @property
    def subtitle(self) -> str:
        """The root's shape."""
        dims = zip(self.plan.names, self.plan.shape, strict=True)
        return ", ".join(f"{name}={size}" for name, size in dims)

    @property
    def circumstances(self) -> str:
        """When, where, and started by whom."""
        hosts = list(self.hosts)
        shown = ", ".join(hosts[:4]) + (f" and {len(hosts) - 4} more" if len(hosts) > 4 else "")
        where = f"{len(hosts)} host{'' if len(hosts) == 1 else 's'}: {shown}" if hosts else ""
        by = f"ranks started by {self.launcher}"
        return "; ".join(filter(None, (self.date, where, by)))

    @property
    def summary(self) -> str:
        """The last line."""
        lines = self.lines
        warned = len(self.cautions)
        told = f"; {count_text(warned, 'warning')}" if warned else ""
        right = sum(line.state == OK for line in lines)
        if not self.is_ok:
            strict = " (--strict)" if self.is_strict and not self.failures and warned else ""
            return (
                f"{FAILED}{strict}: {right} of {len(lines)} mesh dims are right{told}; "
                f"{self.seconds:.1f} s"
            )
        per_rank, over_all = self._groups_made(lines)
        return (
            f"All right: {count_text(len(lines), 'mesh dim')}; "
            f"{count_text(over_all, 'process group')} made, {per_rank} on each rank{told}; {self.seconds:.1f} s"
        )

    @property
    def failure_texts(self) -> list[str]:
        """What went wrong, in as many sentences as one can read."""
        return _shortened([failure.message for failure in self.failures], "failures")

    @property
    def caution_texts(self) -> list[str]:
        """What to look at, in as many sentences as one can read."""
        texts = _shortened([caution.message for caution in self.cautions], "warnings")
        return [f"warning: {text}" for text in texts]

    @property
    def bandwidth_cells(self) -> list[tuple[str, ...]]:
        """The bandwidths as text, one cell for each of their headings."""
        return [
            (
                bandwidth.row.mesh,
                bandwidth.row.mesh_dim,
                bytes_text(bandwidth.size),
                *(f"{rate:.3g}" for rate in bandwidth.rates),
                self._named_with_hosts(bandwidth.slowest),
            )
            for bandwidth in self.bandwidths
        ]

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
            "schema": SCHEMA,
            "ok": self.is_ok,
            "date": self.date,
            "meshcompat": _release.own_version(),
            "torch": self.torch,
            "nccl": self.nccl,
            "python": platform.python_version(),
            "launcher": self.launcher,
            "device": self.device,
            "backend": self.backend,
            "hosts": self.hosts,
            "world_size": self.plan.world_size,
            "mesh_shape": list(self.plan.shape),
            "mesh_dim_names": list(self.plan.names),
            "timeout": self.timeout,
            "seconds": round(self.seconds, 3),
            "groups_made": {"on_each_rank": per_rank, "over_all_ranks": over_all},
            "rows": [self._row(index) for index in range(len(self.plan.rows))],
            "bandwidth": [self._bandwidth(bandwidth) for bandwidth in self.bandwidths],
            "failures": [_failure(failure) for failure in self.failures],
            "warnings": [_caution(caution) for caution in self.cautions],
            "notes": self.notes,
        }

    def _row(self, index: int) -> dict[str, Any]:
        line = self.lines[index]
        groups = paces_of(self.roll, self.plan.rows[index]) if line.state == OK else []
        return {
            "mesh": line.mesh,
            "mesh_dim": line.mesh_dim,
            "ranks": list(line.ranks),
            "groups_made": line.groups_made,
            "milliseconds": None if line.milliseconds is None else _spread(line.milliseconds),
            "groups": [
                {
                    "ranks": list(pace.ranks),
                    "milliseconds": _spread(pace.milliseconds),
                    "slowest": pace.slowest,
                    "host": self._host(pace.slowest),
                    "behind": round(pace.behind, 3),
                }
                for pace in groups
            ],
            "state": line.state,
        }

    def _bandwidth(self, bandwidth: Bandwidth) -> dict[str, Any]:
        return {
            "mesh": bandwidth.row.mesh,
            "mesh_dim": bandwidth.row.mesh_dim,
            "bytes": bandwidth.size,
            "group_size": bandwidth.group_size,
            "gigabytes_per_second": _spread(bandwidth.rates),
            "slowest_group": list(bandwidth.slowest),
            "slowest_group_hosts": self._hosts(bandwidth.slowest),
        }

    def _host(self, rank: int) -> str | None:
        identity = self.roll.members[rank].identity
        return None if identity is None else identity.host

    def _hosts(self, ranks: tuple[int, ...]) -> list[str]:
        return list(dict.fromkeys(filter(None, map(self._host, ranks))))

    def _named_with_hosts(self, ranks: tuple[int, ...]) -> str:
        hosts = self._hosts(ranks)
        if len(self.hosts) < 2 or not hosts:
            return ranks_named(ranks)
        return f"{ranks_named(ranks)} on {', '.join(hosts[:3])}{', ...' if hosts[3:] else ''}"

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
        is_right = state == OK
        paces = paces_of(self.roll, row) if is_right else []
        return Line(
            row.mesh,
            row.mesh_dim,
            self.plan.group_of(row, 0),
            made if heard else None,
            Spread.of(result.milliseconds for result in heard) if is_right else None,
            max(paces, key=lambda pace: pace.behind, default=None),
            state,
        )

    def _groups_made(self, lines: list[Line]) -> tuple[int, int]:
        made = [line.groups_made for line in lines if line.groups_made]
        return len(made), sum(made)


def bytes_text(size: int) -> str:
    """Write a size in the largest unit that gives a whole number: ``64M``, ``1536``."""
    for unit, factor in (("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _shortened(texts: list[str], what: str) -> list[str]:
    more = len(texts) - _SHOWN
    return [*texts[:_SHOWN], *([f"and {more} {what} more, which --json lists"] if more > 0 else [])]


def _spread(spread: Spread) -> dict[str, float]:
    return {
        "min": round(spread.minimum, 3),
        "median": round(spread.median, 3),
        "max": round(spread.maximum, 3),
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "kind": failure.kind,
        "ranks": list(failure.ranks),
        "mesh": failure.row and failure.row.mesh,
        "mesh_dim": failure.row and failure.row.mesh_dim,
        "group": list(failure.group),
        "message": failure.message,
    }


def _caution(caution: Caution) -> dict[str, Any]:
    return {
        "kind": caution.kind,
        "ranks": list(caution.ranks),
        "mesh": caution.row and caution.row.mesh,
        "mesh_dim": caution.row and caution.row.mesh_dim,
        "milliseconds": None if caution.milliseconds is None else round(caution.milliseconds, 3),
        "message": caution.message,
    }
