"""The tables of docs/nccl.md, from the runs in docs/data/nccl/: what no run has shown says "not run"."""

from collections.abc import Iterator
from typing import Any

from nccl import PARTS, STORED, is_right, those
from records import Table, by_release, read

NOT_RUN = "not run"
FACTS = ("torch", "GPUs", "driver", "CUDA", "NCCL", "python", "meshcompat at")
WHY = ("name", "verdict", "told")

Run = dict[str, Any]


def runs() -> dict[str, Run]:
    """Return the stored runs by their torch, none of them a rehearsal."""
    found = by_release({path.stem: read(path) for path in STORED.glob("*.json")})
    return {release: run for release, run in found.items() if not run["rehearsal"]}


def results(run: Run) -> Iterator[tuple[str, Run]]:
    """Yield each result of a run, with the name of its part."""
    for part in run["parts"]:
        for result in part["results"]:
            yield part["name"], result


def machines() -> Table:
    """Return on what each run was made, one line a run."""
    body = []
    for run in runs().values():
        facts = next(each["figures"] for _, each in results(run) if each["name"] == "machine")
        ranks = str(run["parts"][-1]["ranks"])
        body.append([*(facts.get(fact, "") for fact in FACTS), ranks, run["date"]])
    header = [*FACTS, "ranks", "date"]
    return header, body or [[NOT_RUN, *("" for _ in header[1:])]]


def shown() -> Table:
    """Return what came of each part, one column a run."""
    heads = [f"torch {release}" for release in runs()] or ["verdict"]
    body = [
        [
            part.name,
            part.shows,
            *([verdict(part.name, run) for run in runs().values()] or [NOT_RUN]),
        ]
        for part in PARTS
    ]
    return ["part", "what it shows", *heads], body


def figures() -> Table:
    """Return every figure of every run, without those of the machine."""
    columns = [
        {
            (part, result["name"], figure): str(value)
            for part, result in results(run)
            for figure, value in result["figures"].items()
            if result["name"] != "machine" and figure != "s"
        }
        for run in runs().values()
    ]
    names = dict.fromkeys(name for column in columns for name in column)
    body = [[*name, *(column.get(name, NOT_RUN) for column in columns)] for name in names]
    header = ["part", "what was tried", "figure", *(f"torch {release}" for release in runs())]
    return header, body or [[NOT_RUN, "", ""]]


def amiss() -> Table:
    """Return what was wrong or not asked, and why."""
    body = [
        [release, part, *(result[key].replace("|", r"\|") for key in WHY)]
        for release, run in runs().items()
        for part, result in results(run)
        if result["verdict"] != "right"
    ]
    header = ["torch", "part", "what was tried", "verdict", "why"]
    return header, body or [["none" if runs() else NOT_RUN, "", "", "", ""]]


def summary(releases: list[str]) -> str:
    """Return on which of these releases NCCL was tried, for the table of releases."""
    told = []
    for release, run in runs().items():
        if release in releases:
            count = sum(verdict(part.name, run).startswith("right") for part in PARTS)
            told.append(f"{release}: {count} of {len(PARTS)} parts")
    return ", ".join(told) or NOT_RUN


def table(part: str) -> Table:
    """Return a table of the page by its name."""
    return {"machines": machines, "": shown, "figures": figures, "amiss": amiss}[part]()


def verdict(name: str, run: Run) -> str:
    """Return what came of a part, in the last of its attempts."""
    attempts = [part for part in run["parts"] if part["name"] == name]
    if not attempts:
        return NOT_RUN
    part = attempts[-1]
    right, wrong = len(those("right", part)), len(those("wrong", part))
    if is_right(part):
        return f"right ({right} results, {part['seconds']:g} s)" if right else "not asked"
    return f"{right} results right, {wrong} wrong; ended: {part['ended']}"
