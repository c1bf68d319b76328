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
from pathlib import Path

import matrix
import requests
from packaging.version import Version

STORED = Path(__file__).parent.parent / "meshcompat" / "matrix" / "releases.json"
OLDEST = Version("2.2.0")
WHEEL = re.compile(r"torch-([\d.]+)-cp3(\d+)-cp3\2-manylinux.*x86_64\.whl")
"""For Linux on x86_64; builds without the interpreter's lock, such as cp313t, have a third part of another kind."""


def wheels(description: str | None) -> dict[str, dict[str, str]]:
    """Ask the index, which the command line may name: return the wheels' addresses by release and Python."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--index", default="https://pypi.org/simple", help="package index")
    index = parser.parse_args().index.rstrip("/")
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    answer = requests.get(f"{index}/torch/", headers=accept, timeout=60)
    answer.raise_for_status()
    found: dict[str, dict[int, str]] = {}
    for file in answer.json()["files"]:
        match = WHEEL.fullmatch(file["filename"])
        if match and not file.get("yanked") and Version(match[1]) >= OLDEST:
            found.setdefault(match[1], {})[int(match[2])] = file["url"]
    return {
        release: {f"3.{minor}": address for minor, address in sorted(found[release].items())}
        for release in sorted(found, key=Version)
    }


def main() -> None:
    """Ask the index and write the list as JSON with one release a line."""
    pins = {Version(row["version"]).release[:2]: row["pins"] for row in matrix.rows()}
    edges = {row["version"] for row in matrix.rows("edge")}
    rows = [
        {
            "torch": release,
            "pythons": list(addresses),
            "pins": pins.get(Version(release).release[:2], []),
            "edge": release in edges,
        }
        for release, addresses in wheels(__doc__).items()
    ]
    told = matrix.read("torch-matrix.toml")
    words = ",\n".join(f' "{key}": {json.dumps(told[key])}' for key in ("reasons", "notes"))
    lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
    text = f'{{\n{words},\n "releases": [\n{lines}\n ]\n}}\n'
    STORED.write_text(text, encoding="utf-8")
    print(f"{len(rows)} releases")


if __name__ == "__main__":
    main()
