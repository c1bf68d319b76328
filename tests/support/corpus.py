"""The labelled corpus of tests/audit/corpus: snippets in which every site says what is to be found there.

A case begins with ``#: name``, another file of it with ``#@ path``. ``# +MC101`` at the end of a line asks for a
finding, at high confidence unless ``+MC101:medium`` says otherwise; ``# -`` is a look-alike that must stay silent,
once for each that the line has.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from meshcompat.audit.files import Found
from meshcompat.audit.rules import judge
from meshcompat.audit.survey import survey
from meshcompat.audit.values import Confidence

FOLDER = Path(__file__).parent.parent / "audit" / "corpus"
_LABEL = re.compile(r"#((?: (?:\+MC\d{3}(?::\w+)?|-))+)$")


class Label(NamedTuple):
    """What is expected, or was found."""

    case: str
    path: str
    line: int
    code: str
    confidence: Confidence


class Case(NamedTuple):
    """One project of the corpus."""

    name: str
    files: dict[str, str]


def cases():
    """Return every case of the corpus."""
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for block in re.split(r"^#: ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            name, _, text = block.partition("\n")
            first, *others = re.split(r"^#@ ", text, flags=re.MULTILINE)
            files = {"a.py": first}
            for other in others:
                where, _, content = other.partition("\n")
                files[where.strip()] = content
            found.append(Case(f"{path.stem}: {name}", files))
    return found


def labels(case):
    """Return what a case asks for, and how many look-alikes it has."""
    wanted, silent = [], 0
    for path, text in case.files.items():
        for number, line in enumerate(text.splitlines(), 1):
            matched = _LABEL.search(line)
            for word in matched[1].split() if matched else ():
                if word == "-":
                    silent += 1
                    continue
                code, _, confidence = word[1:].partition(":")
                wanted.append(
                    Label(case.name, path, number, code, Confidence[(confidence or "high").upper()])
                )
    return wanted, silent


def findings(case):
    """Return what the audit finds in a case at medium confidence and above."""
    found = [Found(path, path, text.encode()) for path, text in case.files.items()]
    read = survey(found, Path("/nowhere"))
    assert read.problems == [], case.name
    return [
        Label(case.name, one.path, one.span.line, one.code, one.confidence)
        for sites in read.sites.values()
        for one in judge(sites)
        if not one.is_guarded and one.confidence >= Confidence.MEDIUM
    ]


def compared():
    """Return labels with their findings, labels that were missed, findings of no label, and how many are silent."""
    hits, missed, surplus, silent = [], [], [], 0
    for case in cases():
        wanted, quiet = labels(case)
        silent += quiet
        left = findings(case)
        for label in wanted:
            match = next((one for one in left if one[:4] == label[:4]), None)
            if match is None:
                missed.append(label)
            else:
                left.remove(match)
                hits.append((label, match))
        surplus += left
    return hits, missed, surplus, silent
