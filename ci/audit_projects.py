"""Download and audit the projects of audit-projects.toml, and store what was found in docs/data/audit.json.

Fails where the number of findings is not the one that was read; `--store` writes the figures for docs/audit.md.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import matrix
import records

STORED = records.DATA / "audit.json"


def output(*command: str) -> str:
    """Return what a module of this python prints."""
    command = (sys.executable, "-m", *command)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603


def wheel(row: dict[str, Any], folder: Path) -> Path:
    """Download the wheel of a project, without its dependencies."""
    place = Path(folder, row["project"])
    wanted = f"{row['project']}=={row['version']}"
    options = ("--quiet", "--no-deps", "--only-binary=:all:", f"--dest={place}")
    output("pip", "download", *options, wanted)
    (found,) = place.glob("*.whl")
    return found


def audited(path: Path, *options: str) -> dict[str, Any]:
    """Audit a wheel, by default on the releases that it declares."""
    command = ("meshcompat", "audit", "--exit-zero", "--format", "json", *options, str(path))
    found: dict[str, Any] = json.loads(output(*command))
    return found


def figures(row: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what docs/audit.md tells of a project."""
    everywhere, declared = audited(path, "--torch", ">=2.2"), audited(path)
    (project,) = (one for one in everywhere["projects"] if one["path"] == ".")
    return {
        "project": row["project"],
        "version": row["version"],
        "files": everywhere["files"],
        "declares": project["declares"],
        "runs_on": project["runs_on"],
        "findings": len(everywhere["findings"]),
        "declared": len(declared["findings"]),
        "false": len(row.get("false", ())),
        "because": sorted({one["code"] for one in project["because"]}),
    }


def table() -> records.Table:
    """Return what was found, for tables.py."""
    lines = [_line(one) for one in records.read(STORED)]
    return list(lines[0]), [[str(cell) for cell in line.values()] for line in lines]


def _line(one: dict[str, Any]) -> dict[str, Any]:
    lowest = one["runs_on"][0].rpartition(".")[0] if one["runs_on"] else "nothing"
    return {
        "project": f"{one['project']} {one['version']}",
        "files": one["files"],
        "declares": f"`{one['declares']}`" if one["declares"] else "no range",
        "mesh code runs on": f">={lowest}",
        "decided by": ", ".join(one["because"]) or "-",
        "findings": one["findings"],
        "of them in the declared range": one["declared"],
        "false, by reading": one["false"],
    }


def main() -> int:
    """Audit every project; return how many have another number of findings than was read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="store_true", help="write docs/data/audit.json")
    parser.add_argument("--wheels", type=Path, help="folder to keep the wheels in")
    arguments = parser.parse_args()
    rows = matrix.read("audit-projects.toml")["rows"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.wheels or Path(scratch)
        found = [figures(row, wheel(row, folder)) for row in rows]
    wrong = 0
    for row, one in zip(rows, found, strict=True):
        is_read = one["findings"] == row["read"]
        wrong += not is_read
        said = "" if is_read else f", but {row['read']} were read: read them again"
        print(f"{one['project']} {one['version']}: {one['findings']} findings{said}")
    if arguments.store:
        records.write(STORED, found)
    return wrong


if __name__ == "__main__":
    sys.exit(main())
