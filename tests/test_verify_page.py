"""docs/verify.md tells of every key of the JSON document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshcompat.verify.plan import Plan
from meshcompat.verify.report import Report
from meshcompat.verify.roll import Identity, Rate, Result, Roll
from meshcompat.verify.verdict import failures_of

pytestmark = pytest.mark.once

PAGE = Path(__file__).parent.parent / "docs" / "verify.md"


def test_the_page_tells_of_every_key_of_the_document():
    roll = Roll.of(Plan((2, 2), ("pp", "tp"), bandwidth=(1024,)))
    for rank, member in enumerate(roll.members):
        member.step = len(roll.plan.steps) - 1
        member.identity = Identity("node0", "cpu", f"2.{15 - rank // 3}.0", None, 0.0)
        fault = "it is wrong" if rank == 2 else None
        member.results = [Result(1.0, is_new=True, fault=None), Result(1.0, True, fault)]
        member.rates = [Rate(index, 1024, 1e-3) for index in range(2)]
        member.has_ended = True
    document = Report(roll, failures_of(roll, ""), "cpu", "gloo", 60.0, 1.0).document()
    told = set(re.findall(r"`(\w+)`", PAGE.read_text()))
    found = set(document)
    for key in ("rows", "bandwidth", "failures", "warnings"):
        assert document[key], f"the example has no {key}"
        found |= set(document[key][0])
    found |= set(document["rows"][0]["groups"][0]) | set(document["rows"][0]["milliseconds"])
    assert found <= told
