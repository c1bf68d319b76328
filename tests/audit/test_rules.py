"""Every rule finds its positive examples, and neither its negative nor its guarded ones."""

from __future__ import annotations

import re

import pytest

import meshcompat as mc
from meshcompat.audit import explain
from meshcompat.audit.rules import RULES
from meshcompat.testing import fake_world
from tests.support.audited import judged

pytestmark = pytest.mark.once


def examples(kind):
    return [
        pytest.param(rule, text, id=f"{rule.code}-{number}")
        for rule in RULES
        for number, text in enumerate(getattr(rule, kind))
    ]


def found(rule, text):
    return [finding for finding in judged(text) if finding.code == rule.code]


@pytest.mark.parametrize(("rule", "text"), examples("positive"))
def test_a_positive_example_is_found(rule, text):
    assert [finding for finding in found(rule, text) if not finding.is_guarded]


@pytest.mark.parametrize(("rule", "text"), examples("negative"))
def test_a_look_alike_is_no_finding(rule, text):
    assert found(rule, text) == []


@pytest.mark.parametrize(("rule", "text"), examples("guarded"))
def test_a_guarded_site_is_known_and_no_finding(rule, text):
    sites = found(rule, text)
    assert sites
    assert all(finding.is_guarded for finding in sites)


def test_every_rule_of_sites_has_examples_of_both_kinds_and_a_page():
    for rule in RULES:
        assert re.fullmatch(r"MC[0-2]\d\d", rule.code)
        assert rule.title
        assert rule.why
        if not rule.code.startswith("MC0"):
            assert rule.positive
            assert rule.negative
            assert rule.before
            assert rule.after


def test_what_to_write_instead_of_torch_layouts_has_the_attribute():
    (rule,) = (rule for rule in RULES if rule.code == "MC105")
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        names = {"meshcompat": mc, "mesh": mesh}
        exec(rule.after, names)  # noqa: S102  (the page's own example)
    assert names["sizes"] == (2, 4)


def test_the_positions_are_those_of_the_names():
    head = "from torch.distributed.device_mesh import DeviceMesh\ndef f(m: DeviceMesh):\n"
    text = head + "    'é' ; (m\n     ._get_root_mesh)()\n"
    (finding,) = judged(text)
    assert finding.span == (4, 7, 4, 21)
    assert text.splitlines()[3][6:20] == "_get_root_mesh"


@pytest.mark.parametrize("columns", ["60", "100"])
def test_rules_fit_the_terminal_but_for_code_and_addresses(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    told = [explain.listing(), *map(explain.explain, RULES)]
    lines = [line for text in told for line in text.splitlines()]
    prose = [line for line in lines if "://" not in line and not line.startswith("    ")]
    assert max(map(len, prose)) <= int(columns)
    assert explain.listing().count("MC") >= len(RULES)


def test_explain_tells_why_and_what_to_write_instead():
    text = explain.explain(next(rule for rule in RULES if rule.code == "MC101"))
    assert "2.10" in text
    assert "meshcompat.flatten(" in text
