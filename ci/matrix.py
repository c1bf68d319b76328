"""Print rows of ci/torch-matrix.toml: what a workflow or a shell script needs to know of it.

`matrix.py [TAG]` prints the ids, one a line, of all rows or of those with a tag. `matrix.py --github` prints the
outputs of a workflow's first job: the rows for the event that started it, and whether these are all rows.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read(name: str) -> dict[str, Any]:
    """Return what a list of this folder says."""
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


def rows(tag: str | None = None) -> list[dict[str, Any]]:
    """Return the rows in the order of the file, those with *tag* where one is given."""
    listed = read("torch-matrix.toml")["rows"]
    return [row for row in listed if tag is None or tag in row["tags"]]


def is_complete(event: str, ref: str) -> bool:
    """Whether a GitHub event asks for all rows: anything but a push to a branch under work or a pull request."""
    return event not in {"push", "pull_request"} or ref == "refs/heads/main"


if __name__ == "__main__":
    if sys.argv[1:] == ["--github"]:
        complete = is_complete(os.environ["GITHUB_EVENT_NAME"], os.environ["GITHUB_REF"])
        print("rows=" + json.dumps([row["id"] for row in rows(None if complete else "edge")]))
        print("complete=" + json.dumps(complete))
    else:
        print("\n".join(row["id"] for row in rows(*sys.argv[1:])))
