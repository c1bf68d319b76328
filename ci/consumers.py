"""The tables of docs/consumers.md: from runs of the tests of consumers on all releases, and not typed.

`consumers.py FILE...` puts what `pytest --consumers-json FILE` wrote (one file a release) into
docs/data/consumers.json.
tables.py makes two tables of it: which consumer works on which release, and why one does not.
"""

import sys
from typing import Any

import records

STORED = records.DATA / "consumers.json"


def merge(stored: list[dict[str, Any]], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows in the order of the last run, with the verdicts of stored releases and of new ones."""
    known = {row["name"]: row["releases"] for row in stored}
    for run in runs:
        for row in run["rows"]:
            found = {key: row[key] for key in ("verdict", "reason", "link")}
            known.setdefault(row["name"], {})[run["release"]] = found
    names = [row["name"] for row in runs[-1]["rows"]]
    return [{"name": name, "releases": records.by_release(known[name])} for name in names]


def table(part: str) -> records.Table:
    """Return the table of verdicts, or where *part* is ``limits`` that of what releases cannot do."""
    rows = records.read(STORED)
    return limits(rows) if part else verdicts(rows)


def verdicts(rows: list[dict[str, Any]]) -> records.Table:
    """Return what works, a column for the releases that agree in every row; what does not, with a link to why."""
    columns = records.spans(
        {
            release: tuple(
                f"[cannot]({found['link']})" if found["link"] else found["verdict"]
                for found in (row["releases"][release] for row in rows)
            )
            for release in rows[0]["releases"]
        }
    )
    body = zip((row["name"] for row in rows), *columns, strict=True)
    return ["consumer", *columns.values()], [list(line) for line in body]


def limits(rows: list[dict[str, Any]]) -> records.Table:
    """Return what releases cannot do, and why."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        whys = {on: (found["reason"], found["link"]) for on, found in row["releases"].items()}
        for (reason, link), releases in records.spans(whys).items():
            if link:
                names.setdefault((releases, reason, link), []).append(row["name"])
    body = [
        [releases, "<br>".join(consumers), f"{reason} ([#{link.rpartition('/')[2]}]({link}))"]
        for (releases, reason, link), consumers in names.items()
    ]
    return ["torch", "consumer", "why"], body


if __name__ == "__main__":
    records.put(sys.argv[1:], STORED, merge)
