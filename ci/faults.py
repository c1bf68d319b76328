"""The table "what torch does, what meshcompat does": from runs on all releases, and not typed.

`faults.py FILE...` puts what runs of tests/support/native_faults.py wrote (one file a release) into
docs/data/faults.json.
tables.py makes the table in README.md of it; tests/test_native_faults.py holds it against a fresh run.
"""

import itertools
import json
import sys
from pathlib import Path
from typing import Any

STORED = Path(__file__).parent.parent / "docs" / "data" / "faults.json"
HEADER = [
    "ask for this",
    "torch is wrong, or lacks it, on",
    "what it does there",
    "meshcompat, on every release",
]


FEW = (
    "redistribute an uneven DTensor after a flatten",
    "select such a dim beside another one",
    "make an FSDP2 mesh with its three flattened dims",
)
"""The most striking ones, for README.md."""


def order(release: str) -> list[int]:
    """Return what sorts releases: 2.9.1 before 2.10.0."""
    return [int(part) for part in release.split(".")]


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
                verdicts = {**fault[side], run["release"]: row[side]}
                fault[side] = {
                    release: verdicts[release] for release in sorted(verdicts, key=order)
                }
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
    for fault in json.loads(STORED.read_text(encoding="utf-8")):
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


def main(files: list[str]) -> None:
    """Merge the runs in *files* into the stored verdicts."""
    runs = [json.loads(Path(name).read_text(encoding="utf-8")) for name in files]
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else []
    STORED.parent.mkdir(exist_ok=True)
    text = json.dumps(merge(stored, runs), indent=1, ensure_ascii=False)
    STORED.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
