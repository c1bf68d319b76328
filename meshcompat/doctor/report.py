"""The report: one screen for a person, or one JSON document for a bug report."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from meshcompat import _output
from meshcompat._rank_processes.words import ranks_named
from meshcompat._rank_text import ranks_text
from meshcompat.doctor import ranks as between
from meshcompat.doctor.trial import NOT_TRIED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshcompat.doctor.ranks import Ranks
    from meshcompat.doctor.trial import Outcome, Question

_WIDEST = 100
_LABEL = 14
_LISTED = 6


class Report(NamedTuple):
    """All that the doctor found."""

    facts: dict[str, Any]
    trial: Outcome
    ranks: Ranks | None
    note: str | None
    """Why the ranks of a launcher were not met, where there is one."""

    @property
    def missing(self) -> list[str]:
        """What meshcompat needs, and is not here."""
        return [*self.facts["missing"], *(between.problems(self.ranks) if self.ranks else ())]


def document(report: Report) -> dict[str, Any]:
    """Return the report as JSON has it."""
    return {
        **report.facts,
        "missing": report.missing,
        "faults": [question._asdict() for question in report.trial.questions],
        "faults_error": report.trial.error,
        "ranks": report.ranks and between.document(report.ranks),
        "note": report.note,
    }


def text(report: Report) -> str:
    """Return the report for a terminal, as wide as it is."""
    lines = [*_software(report.facts), ""]
    if report.trial.questions or report.trial.error:
        lines += [*_verdicts(report), ""]
    if report.ranks is not None:
        lines += [*_between_ranks(report.ranks), ""]
    if report.note is not None:
        lines += [*_row("ranks", report.note), ""]
    if not report.missing:
        lines.append("All that meshcompat needs is here.")
    for missing in report.missing:
        lines += _row("missing", missing)
    return "\n".join(lines) + "\n"


def _software(facts: Mapping[str, Any]) -> list[str]:
    torch, era = facts["torch"], facts["era"]
    lines = _row("meshcompat", facts["meshcompat"])
    if torch is not None:
        built = [f"CUDA {torch['cuda']}" if torch["cuda"] else "no CUDA"]
        built += [f"ROCm {torch['hip']}"] if torch["hip"] else []
        built += ["debug build"] if torch["debug"] else []
        commit = f"commit {torch['git'][:12]}" if torch["git"] else "no commit"
        lines += _row("torch", ", ".join([torch["release"], commit, *built]))
    if era is not None:
        span = f"torch {era['oldest']} to {era['newest']}"
        lines += _row("era", f"{era['name']} ({span}), as it has {era['capability']}")
    lines += _row("Python", f"{facts['python']}, {facts['platform']}")
    others = [f"{name} {version or 'none'}" for name, version in facts["libraries"].items()]
    lines += _row("libraries", ", ".join(others))
    if torch is not None:
        nccl = f" (NCCL {facts['nccl']})" if facts["nccl"] else ""
        lines += _row("backends", f"{', '.join(facts['backends']) or 'none'}{nccl}")
        lines += _row("GPUs", _gpus(facts))
    variables = facts["environment"]
    lines += _row("variables", "" if variables else "none of those that matter")
    lines += [_cut(f"    {name}={value}") for name, value in variables.items()]
    return lines


def _gpus(facts: Mapping[str, Any]) -> str:
    if "gpu_error" in facts:
        return f"torch cannot ask for them: {facts['gpu_error']}"
    counts: dict[str, int] = {}
    for gpu in facts["gpus"]:
        kind = f"{gpu['name']} ({gpu['memory_gib']} GiB)"
        counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{count} x {kind}" for kind, count in counts.items()) or "none"


def _verdicts(report: Report) -> list[str]:
    """Return what torch does wrong, a line each; what it lacks and what it does right in numbers."""
    groups: dict[str, list[Question]] = {"right": [], "absent": [], NOT_TRIED: [], "wrong": []}
    for question in report.trial.questions:
        groups.get(question.verdict, groups["wrong"]).append(question)
    count = len(report.trial.questions)
    lines = _row("torch's mesh", f"asked {count} things that some release does wrong:")
    for question in groups["wrong"]:
        thread = question.link.rpartition("/")[2]
        lines += _row("wrong", f"{question.name}: {question.verdict} (pytorch#{thread})")
    for label, of_one, of_several in (
        (
            "absent",
            "is about a call that this torch does not have",
            "are about calls that this torch does not have",
        ),
        (
            NOT_TRIED,
            f"was not tried: {report.trial.error}",
            f"were not tried: {report.trial.error}",
        ),
        ("right", "is right", "are right"),
    ):
        if groups[label]:
            words = of_one if len(groups[label]) == 1 else of_several
            lines += _row(label, f"{len(groups[label])} {words}")
    return lines


def _between_ranks(ranks: Ranks) -> list[str]:
    if ranks.error is not None:
        return _row("ranks", f"{ranks.world_size}, which could not be met")
    hosts = [f"{host} ({ranks_text(members)})" for host, members in ranks.hosts.items()]
    count = ranks.world_size - len(ranks.missing)
    lines = _row("ranks", f"{count} of {ranks.world_size}, on {_few(hosts, ', ')}")
    for difference in ranks.differences:
        if len(difference.values) == count > 2:
            said = "another one on each rank"
        else:
            pairs = difference.values.items()
            said = _few([f"{value} ({ranks_named(members)})" for value, members in pairs], "; ")
        lines += _row("differs", f"{difference.what}: {said}")
    far: dict[str, list[int]] = {}
    for rank, ahead in ranks.clocks.items():
        where = "ahead of" if ahead > 0 else "behind"
        far.setdefault(f"{abs(ahead):g} s {where} that of rank 0", []).append(rank)
    for words, members in far.items():
        lines += _row("differs", f"clock: {ranks_named(members)} {words}")
    if not ranks.differences and not ranks.clocks:
        lines += _row("differs", "nothing")
    return lines


def _few(words: Sequence[str], between_them: str) -> str:
    """Return the first words, and how many there are where these are not all; JSON has all."""
    shown = between_them.join(words[:_LISTED])
    return shown if len(words) <= _LISTED else f"{shown}{between_them}... ({len(words)} in all)"


def _row(label: str, words: str) -> list[str]:
    start = f"{label:<{_LABEL}}"
    return textwrap.wrap(
        words,
        _width(),
        initial_indent=start,
        subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
    ) or [start.rstrip()]


def _cut(line: str) -> str:
    """Return a line that fits, as a value may be a list of a thousand hosts; JSON has all of it."""
    width = _width()
    return line if len(line) <= width else f"{line[: width - 3]}..."


def _width() -> int:
    return min(_output.width(), _WIDEST)
