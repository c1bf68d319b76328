"""The tables of docs/consumers.md: from runs of the tests of consumers on all releases, and not typed.

`consumers.py FILE...` puts what `pytest --consumers-json FILE` wrote (one file a release) into
docs/data/consumers.json.
tables.py makes two tables of it: which consumer works on which release, and why one does not.
"""

import itertools
import sys
from typing import Any

import records
from faults import spans

STORED = records.DATA / "consumers.json"
OK = "ok"


def merge(stored: list[dict[str, Any]], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows in the order of the runs, with the verdicts of stored releases and of new ones."""
    known = {row["name"]: row["releases"] for row in stored}
    merged: dict[str, dict[str, Any]] = {}
    for run in runs:
        for row in run["rows"]:
            releases = merged.setdefault(row["name"], dict(known.get(row["name"], {})))
            releases[run["release"]] = {key: row[key] for key in ("verdict", "reason", "link")}
    return [
        {"name": name, "releases": records.by_release(releases)}
        for name, releases in merged.items()
    ]


def columns(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the runs of releases that agree in every row, each in words with its first release."""
    found = {}
    releases = list(rows[0]["releases"])

    def verdicts(release: str) -> list[tuple[str, str]]:
        return [
            (row["releases"][release]["verdict"], row["releases"][release]["link"]) for row in rows
        ]

    for _, run in itertools.groupby(releases, key=verdicts):
        alike = list(run)
        found[span(alike)] = alike[0]
    return found


def span(releases: list[str]) -> str:
    """Return a run of releases in words: "2.2 to 2.4"."""
    minors = [release.rpartition(".")[0] for release in releases]
    return " to ".join(dict.fromkeys([minors[0], minors[-1]]))


def stored() -> list[dict[str, Any]]:
    """Return the rows that runs recorded."""
    rows: list[dict[str, Any]] = records.read(STORED)
    return rows


def table() -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of verdicts, in Markdown, for tables.py."""
    rows = stored()
    heads = columns(rows)
    body = [
        [row["name"], *(told(row["releases"][release]) for release in heads.values())]
        for row in rows
    ]
    return ["consumer", *heads], body


def told(found: dict[str, str]) -> str:
    """Return a verdict in Markdown: what a release cannot with a link to why."""
    if found["link"]:
        return f"[cannot]({found['link']})"
    return found["verdict"]


def limits() -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table of what releases cannot do, and why."""
    names: dict[tuple[str, str, str], list[str]] = {}
    for row in stored():
        reasons = {
            release: f"{found['reason']} {found['link']}" if found["link"] else "right"
            for release, found in row["releases"].items()
        }
        for why, releases in spans(reasons).items():
            reason, _, link = why.rpartition(" ")
            names.setdefault((releases, reason, link), []).append(row["name"])
    body = [
        [releases, "<br>".join(consumers), f"{reason} ([#{link.rpartition('/')[2]}]({link}))"]
        for (releases, reason, link), consumers in names.items()
    ]
    return ["torch", "consumer", "why"], body


if __name__ == "__main__":
    records.put(sys.argv[1:], STORED, merge, empty=[])
