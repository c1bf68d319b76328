"""The table "what torch does, what meshcompat does": from runs on all releases, and not typed.

`faults.py FILE...` puts what runs of tests/support/native_faults.py wrote (one file a release) into
docs/data/faults.json.
tables.py makes the table in README.md of it; tests/test_native_faults.py holds it against a fresh run.
"""

import itertools
import sys
from typing import Any

import records

STORED = records.DATA / "faults.json"
HEADER = [
    "ask for this",
    "torch is wrong, or lacks it, on",
    "what it does there",
    "meshcompat, on every release",
]


FEW = (
    "redistribute an uneven DTensor after a flatten",
    "select a flattened dim and a dim between its dims",
    "make an FSDP2 mesh with its three flattened dims",
)
"""The most striking ones, for README.md."""


def merge(stored: list[dict[str, Any]], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the faults in the order of the runs, with the verdicts of stored releases and of new ones."""
    known = {fault["name"]: fault for fault in stored}
    merged: dict[str, dict[str, Any]] = {}
    for run in runs:
        for row in run["rows"]:
            name = row["name"]
            old = known.get(name, {"torch": {}, "meshcompat": {}})
            fault = merged.setdefault(
                name, {**old, "name": name, "link": row["link"], "does": row["does"]}
            )
            for side in ("torch", "meshcompat"):
                fault[side] = records.by_release({**fault[side], run["release"]: row[side]})
    return list(merged.values())


def spans(verdicts: dict[str, str]) -> dict[str, str]:
    """Return each verdict but "right" with its releases in words: {"wrong ranks": "2.5 to 2.9"}."""
    minors: dict[str, set[str]] = {}
    for release, verdict in verdicts.items():
        minors.setdefault(release.rpartition(".")[0], set()).add(verdict)
    found: dict[str, list[str]] = {}
    for verdict, run in itertools.groupby(verdicts, key=lambda release: verdicts[release]):
        # A minor whose patches differ is told by its patches.
        labels = [
            minor if len(minors[minor]) == 1 else release
            for release in run
            for minor in [release.rpartition(".")[0]]
        ]
        ends = list(dict.fromkeys([labels[0], labels[-1]]))
        if verdict != "right":
            found.setdefault(verdict, []).append(" to ".join(ends))
    return {verdict: ", ".join(parts) for verdict, parts in found.items()}


def told(verdict: str) -> str:
    """Return a verdict in Markdown: the names of errors as code."""
    return f"`{verdict}`" if verdict.endswith("Error") else verdict


def table(part: str) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table, in Markdown, for tables.py; *part* ``few`` is for README.md."""
    body = []
    for fault in records.read(STORED):
        if part == "few" and fault["name"] not in FEW:
            continue
        wrong = spans(fault["torch"])
        either = {
            release: "right" if verdict == "right" else "wrong"
            for release, verdict in fault["torch"].items()
        }
        if len(wrong) == 1:
            does = told(next(iter(wrong)))
        else:
            does = ", ".join(f"{told(verdict)} ({where})" for verdict, where in wrong.items())
        number = fault["link"].rpartition("/")[2]
        body.append(
            [
                f"{fault['name']} ([#{number}]({fault['link']}))",
                spans(either).get("wrong", ""),
                does,
                fault["does"],
            ]
        )
    return HEADER, body


if __name__ == "__main__":
    records.put(sys.argv[1:], STORED, merge, empty=[])
