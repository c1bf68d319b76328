"""Write the generated tables of README.md and docs/, or check with `--check` that they are what is written there.

A table stands between `<!-- table: NAME -->` and `<!-- /table -->`; NAME is a kind, or `KIND-PART`.
`support` comes from torch-matrix.toml, each other kind from what runs recorded in docs/, by way of a module of its own.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import audit_projects
import consumers
import faults
import nccl_page
import performance
import performance_page
import reliability
from matrix import rows
from records import Table, order

ROOT = Path(__file__).parent.parent
TABLE = re.compile(
    r"(?P<open><!-- table: (?P<name>[\w-]+) -->\n).*?(?P<close><!-- /table -->)", re.DOTALL
)


def support() -> Table:
    """Return the support matrix: per era the releases and interpreters tested, the runs on GPUs, the module."""
    body = []
    for era in dict.fromkeys(row["era"] for row in rows()):
        served = [row for row in rows() if row["era"] == era]
        releases = ", ".join(dict.fromkeys(row["version"] for row in served))
        pythons = sorted({row["python"] for row in served}, key=order)
        major, minor = era.split("-")[0].rstrip("+").split(".")
        span = era.replace("-", " to ").replace("+", " and later")
        body.append(
            [
                span,
                releases,
                ", ".join(pythons),
                nccl_page.summary([row["version"] for row in served]),
                f"`meshcompat/_eras/torch_{major}_{int(minor):02}.py`",
            ]
        )
    return ["torch", "releases tested", "Python", "NCCL", "served by"], body


def table(name: str) -> str:
    """Return the table called *name* as Markdown, a line break at the end."""
    kind, _, part = name.partition("-")
    header, body = MAKERS[kind](part)
    lines = [header, ["---"] * len(header), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


MAKERS: dict[str, Callable[[str], Table]] = {
    "audit": lambda _: audit_projects.table(),
    "support": lambda _: support(),
    "faults": faults.table,
    "consumers": consumers.table,
    "nccl": nccl_page.table,
    "performance": performance_page.table,
    "reliability": reliability.table,
}


def main(*, check: bool) -> int:
    """Rewrite every page that has tables; return how many are out of date when only checking, pictures too."""
    stale = 0
    for picture in performance.stale_pictures() if check else ():
        stale += 1
        print(
            f"{picture.relative_to(ROOT)}: shows other figures, run: python ci/pictures.py",
            file=sys.stderr,
        )
    for page in [*ROOT.glob("README.md"), *sorted(ROOT.glob("docs/**/*.md"))]:
        before = page.read_text(encoding="utf-8")
        after = TABLE.sub(
            lambda found: found["open"] + table(found["name"]) + found["close"], before
        )
        if before == after:
            continue
        if check:
            stale += 1
            print(
                f"{page.relative_to(ROOT)}: generated tables are out of date, run: nox -s tables",
                file=sys.stderr,
            )
        else:
            page.write_text(after, encoding="utf-8")
            print(f"{page.relative_to(ROOT)}: tables written")
    return stale


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
