"""What the pages show is what happens: their examples print what stands below them."""

import contextlib
import io
import re
from pathlib import Path

import pytest

import meshcompat as mc

pytestmark = pytest.mark.once

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ["start", "concepts", "adopt"]
"""Pages of which every block of Python is run; the other pages have tests of their own."""

BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_examples_print_what_the_page_says(page):
    namespace = {}
    found = BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
    assert found
    for (kind, code), (below, text) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page, "exec"), namespace)  # noqa: S102
        assert (below, printed.getvalue()) == ("text", text)


def test_the_reference_has_every_public_name():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\.\. auto(?:function|class):: meshcompat\.(\w+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(set(mc.__all__) - {"__version__"})


def test_every_page_is_in_the_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^[\w-]+$", index, re.MULTILINE)
    assert sorted(listed) == sorted(page.stem for page in DOCS.glob("*.md") if page.stem != "index")
