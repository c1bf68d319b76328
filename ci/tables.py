"""Write the generated tables of README.md and docs/, or check with `--check` that they are what is written there.

A table stands between `<!-- table: NAME -->` and `<!-- /table -->`. `support` comes from torch-matrix.toml, `faults`
from docs/faults.json by way of faults.py, `consumers` and `consumer-limits` from docs/consumers.json by way of
consumers.py, `reliability` and `reliability-SECTION` from docs/reliability.json by way of reliability_page.py; any other
NAME comes from ci/tables/NAME.json, which a run wrote:
{"header": [text, ...], "rows": [[text, ...], ...]}.
"""

import json
import re
import sys
from pathlib import Path

import consumers
import faults
import performance
import reliability_page
from matrix import rows

ROOT = Path(__file__).parent.parent
TABLE = re.compile(
    r"(?P<open><!-- table: (?P<name>[\w-]+) -->\n).*?(?P<close><!-- /table -->)", re.DOTALL
)


def support() -> tuple[list[str], list[list[str]]]:
    """Return the support matrix: per era the releases and interpreters that are tested, and the module behind it."""
    body = []
    for era in dict.fromkeys(row["era"] for row in rows()):
        served = [row for row in rows() if row["era"] == era]
        releases = ", ".join(dict.fromkeys(row["version"] for row in served))
        pythons = sorted(
            {row["python"] for row in served},
            key=lambda text: [int(part) for part in text.split(".")],
        )
        major, minor = era.split("-")[0].rstrip("+").split(".")
        span = era.replace("-", " to ").replace("+", " and later")
        body.append(
            [
                span,
                releases,
                ", ".join(pythons),
                f"`meshcompat/_eras/torch_{major}_{int(minor):02}.py`",
            ]
        )
    return ["torch", "releases tested", "Python", "served by"], body


def markdown(header: list[str], body: list[list[str]]) -> str:
    """Return a table as Markdown, a line break at the end."""
    lines = [header, ["---"] * len(header), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table(name: str) -> str:
    """Return the table called *name* as Markdown."""
    if name == "support":
        return markdown(*support())
    if name == "faults":
        return markdown(*faults.table())
    if name == "consumers":
        return markdown(*consumers.table())
    if name == "consumer-limits":
        return markdown(*consumers.limits())
    if name.partition("-")[0] == "reliability":
        return markdown(*reliability_page.table(name))
    if name.startswith("performance-"):
        of_it = performance.TABLES[name.removeprefix("performance-")]
        return markdown(*of_it(performance.runs()))
    stored = json.loads((ROOT / "ci" / "tables" / f"{name}.json").read_text(encoding="utf-8"))
    return markdown(stored["header"], stored["rows"])


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
