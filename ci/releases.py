# /// script
# requires-python = ">=3.11"
# dependencies = ["packaging", "requests"]
# ///
"""What `meshcompat matrix` knows: every release of torch from 2.2.0 on, and the Pythons that have a wheel of it.

`uv run ci/releases.py` asks the package index, adds what ci/torch-matrix.toml says of pins and edges, and writes
meshcompat/matrix/releases.json, as a package that is installed cannot read ci/. tests/test_matrix.py compares the two.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import requests
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
STORED = ROOT / "meshcompat" / "matrix" / "releases.json"
OLDEST = Version("2.2.0")
WHEEL = re.compile(r"torch-([\d.]+)-cp3(\d+)-cp3\2-manylinux.*x86_64\.whl")
"""For Linux on x86_64; builds without the interpreter's lock, such as cp313t, have a third part of another kind."""


def pythons(files: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the Pythons that have a wheel of each release, oldest first."""
    found: dict[str, set[int]] = {}
    for file in files:
        match = WHEEL.fullmatch(file["filename"])
        if match and not file.get("yanked") and Version(match[1]) >= OLDEST:
            found.setdefault(match[1], set()).add(int(match[2]))
    return {
        release: [f"3.{minor}" for minor in sorted(found[release])]
        for release in sorted(found, key=Version)
    }


def merge(found: dict[str, list[str]], matrix: dict[str, Any]) -> dict[str, Any]:
    """Return the releases, with the pins that their minor has in the matrix and whether it calls them an edge."""
    pins = {Version(row["version"]).release[:2]: row["pins"] for row in matrix["rows"]}
    edges = {row["version"] for row in matrix["rows"] if "edge" in row["tags"]}
    return {
        "reasons": matrix["reasons"],
        "releases": [
            {
                "torch": release,
                "pythons": list_of_pythons,
                "pins": pins.get(Version(release).release[:2], []),
                "edge": release in edges,
            }
            for release, list_of_pythons in found.items()
        ],
    }


def text_of(document: dict[str, Any]) -> str:
    """Return the document as JSON with one release a line."""
    lines = ",\n".join(f"  {json.dumps(row)}" for row in document["releases"])
    return f'{{\n "reasons": {json.dumps(document["reasons"])},\n "releases": [\n{lines}\n ]\n}}\n'


def main() -> None:
    """Ask the index and write the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", default="https://pypi.org/simple", help="package index")
    index = parser.parse_args().index.rstrip("/")
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    answer = requests.get(f"{index}/torch/", headers=accept, timeout=60)
    answer.raise_for_status()
    matrix = tomllib.loads((ROOT / "ci" / "torch-matrix.toml").read_text(encoding="utf-8"))
    document = merge(pythons(answer.json()["files"]), matrix)
    STORED.write_text(text_of(document), encoding="utf-8")
    print(f"{len(document['releases'])} releases")


if __name__ == "__main__":
    main()
