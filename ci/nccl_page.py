"""The tables of docs/nccl.md, from the runs in docs/data/nccl/: what no run has shown says "not run"."""

from typing import Any

from nccl import PARTS, STORED, is_right, those
from records import Table, order, read

NOT_RUN = "not run"
FACTS = ("torch", "GPUs", "driver", "CUDA", "NCCL", "python", "meshcompat at")
WHY = ("name", "verdict", "told")


def runs() -> list[dict[str, Any]]:
    """Return the stored runs, none of them a rehearsal, by their torch."""
    found = [read(path) for path in STORED.glob("*.json")]
    return sorted(
        (run for run in found if not run["rehearsal"]),
        key=lambda run: order(release(run)),
    )


def release(run: dict[str, Any]) -> str:
    """Return the release of torch of a run: 2.11.0."""
    return str(machine(run)["torch"]).partition("+")[0]


def machine(run: dict[str, Any]) -> dict[str, Any]:
    """Return what the first part told of the machine."""
    results = [result for part in run["parts"] for result in part["results"]]
    facts: dict[str, Any] = next(each for each in results if each["name"] == "machine")["figures"]
    return facts


def where() -> Table:
    """Return on what each run was made, one line a run."""
    body = [
        [
            *(machine(run).get(fact, "") for fact in FACTS),
            str(run["parts"][-1]["ranks"]),
            run["date"],
        ]
        for run in runs()
    ]
    header = [*FACTS, "ranks", "date"]
    return header, body or [[NOT_RUN, *("" for _ in header[1:])]]


def shown() -> Table:
    """Return what came of each part, one column a run."""
    columns = runs()
    heads = [f"torch {release(run)}" for run in columns] or ["verdict"]
    body = [
        [part.name, part.shows, *([_verdict(part.name, run) for run in columns] or [NOT_RUN])]
        for part in PARTS
    ]
    return ["part", "what it shows", *heads], body


def figures() -> Table:
    """Return every figure of every run, without those of the machine."""
    columns = [(release(run), _figures(run)) for run in runs()]
    names = dict.fromkeys(name for _, told in columns for name in told)
    body = [[*name, *(str(told.get(name, NOT_RUN)) for _, told in columns)] for name in names]
    header = ["part", "what was tried", "figure", *(f"torch {name}" for name, _ in columns)]
    return header, body or [[NOT_RUN, "", ""]]


def amiss() -> Table:
    """Return what was wrong or not asked, and why."""
    body = [
        [release(run), part["name"], *(result[key].replace("|", r"\|") for key in WHY)]
        for run in runs()
        for part in run["parts"]
        for result in part["results"]
        if result["verdict"] != "right"
    ]
    header = ["torch", "part", "what was tried", "verdict", "why"]
    return header, body or [["none" if runs() else NOT_RUN, "", "", "", ""]]


def summary(releases: list[str]) -> str:
    """Return on which of these releases NCCL was tried, for the table of releases."""
    told = []
    for run in runs():
        verdicts = [_verdict(part.name, run) for part in PARTS]
        count = sum(verdict.startswith("right") for verdict in verdicts)
        told += [f"{release(run)}: {count} of {len(PARTS)} parts"] * (release(run) in releases)
    return ", ".join(told) or NOT_RUN


def table(part: str) -> Table:
    """Return a table of the page by its name."""
    return {"machines": where, "": shown, "figures": figures, "amiss": amiss}[part]()


def _verdict(name: str, run: dict[str, Any]) -> str:
    told = [part for part in run["parts"] if part["name"] == name]
    if not told:
        return NOT_RUN
    part = told[-1]
    right, false = len(those("right", part)), len(those("wrong", part))
    if is_right(part):
        return f"right ({right} results, {part['seconds']:g} s)" if right else "not asked"
    return f"{right} results right, {false} wrong; ended: {part['ended']}"


def _figures(run: dict[str, Any]) -> dict[tuple[str, str, str], Any]:
    return {
        (part["name"], result["name"], figure): value
        for part in run["parts"]
        for result in part["results"]
        if result["name"] != "machine"
        for figure, value in result["figures"].items()
        if figure != "s"
    }
