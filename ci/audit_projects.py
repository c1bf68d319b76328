"""Download and audit the projects of audit-projects.toml, and store what was found in docs/data/audit.json.

Fails where the number of findings is not the one that was read; `--store` writes the figures for docs/audit.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
STORED = HERE.parent / "docs" / "data" / "audit.json"


def rows() -> list[dict[str, Any]]:
    """Return the list of projects."""
    listed: list[dict[str, Any]] = tomllib.loads((HERE / "audit-projects.toml").read_text("utf-8"))[
        "rows"
    ]
    return listed


def wheel(row: dict[str, Any], folder: Path) -> Path:
    """Download the wheel of a project, without its dependencies."""
    place = folder / row["project"]
    wanted = f"{row['project']}=={row['version']}"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]
    subprocess.run([*command, "--dest", str(place), wanted], check=True)  # noqa: S603  (versions of our list)
    (found,) = place.glob("*.whl")
    return Path(found)


def audited(path: Path, *options: str) -> dict[str, Any]:
    """Audit a wheel, by default on the releases that it declares."""
    command = [
        sys.executable,
        "-m",
        "meshcompat",
        "audit",
        "--exit-zero",
        "--format",
        "json",
        *options,
    ]
    done = subprocess.run([*command, str(path)], check=True, capture_output=True, text=True)  # noqa: S603
    found: dict[str, Any] = json.loads(done.stdout)
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
        "high": sum(one["confidence"] == "high" for one in everywhere["findings"]),
        "declared": len(declared["findings"]),
        "false": len(row.get("false", ())),
        "because": sorted({one["code"] for one in project["because"]}),
    }


def main() -> int:
    """Audit every project; return how many have another number of findings than was read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="store_true", help="write docs/data/audit.json")
    parser.add_argument("--wheels", type=Path, help="folder to keep the wheels in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.wheels or Path(scratch)
        found = [figures(row, wheel(row, folder)) for row in rows()]
    wrong = 0
    for row, one in zip(rows(), found, strict=True):
        is_read = one["findings"] == row["read"]
        wrong += not is_read
        said = "" if is_read else f", but {row['read']} were read: read them again"
        print(f"{one['project']} {one['version']}: {one['findings']} findings{said}")
    if arguments.store:
        STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
