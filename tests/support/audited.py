"""Sources and folders that are audited, for tests about what is found."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from meshcompat.__main__ import main
from meshcompat.audit.files import Found
from meshcompat.audit.rules import judge
from meshcompat.audit.survey import survey

NOWHERE = Path("/nowhere")


def judged(text, **others):
    """Return the findings of a text, guarded ones included; `others` are more files of the project, by module."""
    files = {
        "a.py": text,
        **{name.replace("__", "/") + ".py": other for name, other in others.items()},
    }
    found = [Found(path, path, content.encode()) for path, content in files.items()]
    read = survey(found, NOWHERE, also_low=True)
    assert read.problems == []
    return [finding for sites in read.sites.values() for finding in judge(sites)]


def run(*arguments):
    """Run the command; return its exit code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code: object = main(["audit", *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
    return code, out.getvalue(), err.getvalue()


def as_json(*arguments):
    """Run the command with JSON; return its exit code and the data."""
    code, out, err = run("--format", "json", *arguments)
    assert err == ""
    return code, json.loads(out)
