"""What can go wrong on the ranks of a pool, and how it reads.

Here belong the exceptions of :class:`~meshcompat.testing.GlooPool` and their wording. What
decides which of them is raised is in ``gloo_pool``.
"""

from __future__ import annotations

import re
import signal
from types import MappingProxyType
from typing import TYPE_CHECKING

from meshcompat._rank_processes.words import last_line, ranks_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class RankError(RuntimeError):
    """A case did not end well on every rank of a pool.

    Attributes:
        ranks: The ranks that are to blame, ascending.
        tracebacks: Whole traceback of every rank that raised, the first to raise first.
        stacks: Stack of every rank that was still running when the pool gave up on it; empty
            text where the rank could not say.
    """

    def __init__(
        self,
        summary: str,
        ranks: Iterable[int],
        tracebacks: Mapping[int, str],
        stacks: Mapping[int, str],
        details: Iterable[str] = (),
    ) -> None:
        """Word the error: *summary*, *details*, then what each rank has to say."""
        self.ranks = tuple(sorted(ranks))
        self.tracebacks = dict(tracebacks)
        self.stacks = dict(stacks)
        parts = [summary, *details, *_told_tracebacks(self.tracebacks), *_told_stacks(self.stacks)]
        super().__init__("\n\n".join(parts))


class RankFailure(RankError):  # noqa: N818  ("failure" is the word for a rank that raised)
    """A rank raised an exception."""

    @property
    def rank(self) -> int:
        """The rank that raised first.

        Collective:
            No.
        """
        return next(iter(self.tracebacks))


class RankDied(RankError):  # noqa: N818  (reads as the statement that it is)
    """A rank's process ended in the middle of a case.

    Attributes:
        exit_codes: Exit status of every rank in ``ranks``; ``-9`` for one killed by signal 9,
            None when it could not be learnt.
        outputs: What each of them had printed since the case began: an abort in C++ says why
            there, and so does ``faulthandler`` after a segmentation fault.
    """

    exit_codes: Mapping[int, int | None] = MappingProxyType({})
    outputs: Mapping[int, str] = MappingProxyType({})


class RankTimeout(RankError):  # noqa: N818  (reads as the statement that it is)
    """Ranks were still running when the time of the case was over."""


def told_exit_code(code: int | None) -> str:
    """Say in words how a process ended, given its exit status as ``subprocess`` spells it.

    Args:
        code: Exit status; negative = signal; None = unknown.

    Returns:
        A phrase that follows the name of the rank.

    Collective:
        No.

    Example:
        >>> told_exit_code(-9), told_exit_code(3)
        ('was killed by SIGKILL', 'exited with status 3')
    """
    if code is None:
        return "closed its connection"
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _told_tracebacks(tracebacks: Mapping[int, str]) -> list[str]:
    """Tell the first traceback whole and of the others the last line."""
    told: list[str] = []
    for rank, text in tracebacks.items():
        if not told:
            told.append(f"--- rank {rank} ---\n{text.rstrip()}")
        else:
            told.append(f"--- rank {rank}: {last_line(text)}")
    return told


def _told_stacks(stacks: Mapping[int, str]) -> list[str]:
    """Tell each different stack once: ranks that wait in a collective all look the same."""
    ranks_of: dict[str, list[int]] = {}
    for rank, text in stacks.items():
        ranks_of.setdefault(re.sub(r"0x[0-9a-f]+", "0x…", text).strip(), []).append(rank)
    return [
        f"--- {ranks_named(ranks)}: still running, in ---\n{text or '(the process gave no answer)'}"
        for text, ranks in ranks_of.items()
    ]
