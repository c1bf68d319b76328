"""The faults of this torch, tried in a process of their own: a crash there ends nothing else.

``python -m meshcompat.doctor.trial`` writes lines of JSON: all questions first, then each verdict.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING, NamedTuple

from meshcompat._rank_processes.words import end_text, last_line

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_ALONE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


NOT_TRIED = "not tried"


class Question(NamedTuple):
    """What torch was asked, where that is discussed, and what it did."""

    name: str
    link: str
    verdict: str


class Outcome(NamedTuple):
    """What a trial gave."""

    questions: list[Question]
    error: str | None
    """How the process ended, if not well."""


class Trial:
    """A trial that runs while the block does other things."""

    def __init__(self, seconds: float = 60) -> None:
        self._ends = time.monotonic() + seconds
        self._seconds = seconds
        environment = {name: value for name, value in os.environ.items() if name not in _ALONE}
        # Meshes of the trial are on CPU: a driver that is slow to wake up shall not be waited for.
        environment |= {"CUDA_VISIBLE_DEVICES": "", "TORCH_CPP_LOG_LEVEL": "FATAL"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "meshcompat.doctor.trial"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave no process behind, whatever happened meanwhile."""
        self._process.kill()
        self._process.communicate()

    def outcome(self) -> Outcome:
        """Wait for the end, and return what came of it."""
        error = None
        try:
            out, said = self._process.communicate(timeout=max(0, self._ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, said = self._process.communicate()
            error = f"not through within {self._seconds:g} s"
        if error is None and self._process.returncode:
            told = last_line(said)
            error = f"{end_text(self._process.returncode)}{told and f': {told}'}"
        asked, *verdicts = [json.loads(line) for line in out.splitlines() if line[:1] in '["'] or [
            []
        ]
        verdicts += [NOT_TRIED] * (len(asked) - len(verdicts))
        questions = [
            Question(name, link, verdict)
            for (name, link), verdict in zip(asked, verdicts, strict=True)
        ]
        return Outcome(questions, error)


def main() -> None:
    """Ask torch every question."""
    warnings.simplefilter("ignore")
    from meshcompat.doctor.faults import FAULTS  # noqa: PLC0415  (imports torch)

    _tell([(fault.name, fault.link) for fault in FAULTS])
    for fault in FAULTS:
        _tell(fault.verdict())


def _tell(value: object) -> None:
    """Write at once, as the next question may end the process."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
