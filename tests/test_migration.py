"""The migration guide: what it says to write runs on every rank, and gives what it says."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from meshcompat.testing import each_rank

GUIDE = (Path(__file__).parent.parent / "docs" / "migration.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python( before)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^(?P<value>\S.*?)  # rank 0: (?P<wanted>.+)$", re.MULTILINE)
WORLD_SIZE = 16


class Idiom(NamedTuple):
    """One section of the guide."""

    title: str
    before: list[str]
    after: list[str]


def sections():
    introduction, *rest = re.split(r"^## ", GUIDE, flags=re.MULTILINE)
    idioms = []
    for text in rest:
        blocks = BLOCK.findall(text)
        before = [code for mark, code in blocks if mark]
        after = [code for mark, code in blocks if not mark]
        idioms.append(Idiom(text.splitlines()[0], before, after))
    return introduction, idioms


INTRODUCTION, IDIOMS = sections()
((_, START),) = BLOCK.findall(INTRODUCTION)


def shown(code):
    """Return what a block shows, as (value, wanted) texts, and the block that collects it."""
    return SHOWN.sub(r"shown.append(((\g<value>), (\g<wanted>)))", code)


def run(idiom, rank):
    namespace: dict[str, Any] = {"__name__": "guide", "shown": []}
    for code in (START, *idiom.after):
        exec(compile(shown(code), f"migration.md: {idiom.title}", "exec"), namespace)  # noqa: S102
    if rank == 0:
        for value, wanted in namespace["shown"]:
            assert value == wanted
    return namespace


@pytest.mark.parametrize("idiom", IDIOMS, ids=lambda idiom: idiom.title)
def test_what_the_guide_says_to_write_runs_on_every_rank(idiom):
    for rank in each_rank(WORLD_SIZE):
        namespace = run(idiom, rank)
    for name, value in namespace.items():
        if name.startswith("test_"):
            value()


@pytest.mark.parametrize("idiom", IDIOMS, ids=lambda idiom: idiom.title)
def test_each_idiom_has_a_before_that_is_code_and_an_after_that_uses_nothing_private(idiom):
    assert idiom.before
    assert idiom.after
    for code in idiom.before:
        compile(code, idiom.title, "exec")
    for code in idiom.after:
        assert len(SHOWN.findall(code)) == code.count("# rank 0:")
        assert not re.search(r"\b(?!mc\b)\w+\._[a-z]", code)


def test_the_guide_shows_values_in_every_idiom_but_the_one_of_tests():
    silent = [idiom.title for idiom in IDIOMS if "# rank 0:" not in "".join(idiom.after)]
    assert silent == ["Clearing torch's tables between tests"]
