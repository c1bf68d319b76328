"""The README's example prints what the README says."""

import contextlib
import io
import re
from pathlib import Path

from meshcompat.testing import fake_world

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def block_after(mark):
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found, f"README.md has no block marked {mark}"
    return found[1]


def test_the_example_prints_what_the_readme_says():
    printed = io.StringIO()
    with fake_world(16), contextlib.redirect_stdout(printed):
        exec(compile(block_after("example"), "README.md", "exec"), {})  # noqa: S102
    assert printed.getvalue() == block_after("output")


def test_the_example_is_short_enough_to_read():
    lines = [line for line in block_after("example").splitlines() if line.strip()]
    assert len(lines) <= 20
