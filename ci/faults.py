"""The table "what torch does, what meshcompat does": from runs on all releases, and not typed.

`faults.py FILE...` puts what runs of tests/support/native_faults.py wrote (one file a release) into
docs/data/faults.json.
tables.py makes the table in README.md of it; tests/test_native_faults.py holds it against a fresh run.
"""

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
RIGHT = "right"
FEW = (
    "redistribute an uneven DTensor after a flatten",
    "select a flattened dim and a dim between its dims",
    "make an FSDP2 mesh with its three flattened dims",
)
"""The most striking ones, for README.md."""


def merge(stored: list[dict[str, Any]], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the faults in the order of the last run, with the verdicts of stored releases and of new ones."""
    known = {fault["name"]: fault for fault in stored}
    for run in runs:
        for row in run["rows"]:
            fault = known.setdefault(row["name"], {"torch": {}, "meshcompat": {}})
            fault |= {key: row[key] for key in ("name", "link", "does")}
            for side in ("torch", "meshcompat"):
                fault[side] = records.by_release({**fault[side], run["release"]: row[side]})
    return [known[row["name"]] for row in runs[-1]["rows"]]


def told(verdict: str) -> str:
    """Return a verdict in Markdown: the names of errors as code."""
    return f"`{verdict}`" if verdict.endswith("Error") else verdict


def table(part: str) -> records.Table:
    """Return the table, for tables.py; *part* ``few`` is for README.md."""
    body = []
    for fault in records.read(STORED):
        if part == "few" and fault["name"] not in FEW:
            continue
        verdicts = fault["torch"]
        wrong = records.spans(verdicts)
        wrong.pop(RIGHT, None)
        does = [f"{told(verdict)} ({where})" for verdict, where in wrong.items()]
        body.append(
            [
                f"{fault['name']} ([#{fault['link'].rpartition('/')[2]}]({fault['link']}))",
                records.spans({on: verdicts[on] == RIGHT for on in verdicts}).get(False, ""),
                ", ".join(does) if len(does) > 1 else told(next(iter(wrong))),
                fault["does"],
            ]
        )
    return HEADER, body


if __name__ == "__main__":
    records.put(sys.argv[1:], STORED, merge)
