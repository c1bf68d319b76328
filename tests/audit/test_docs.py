"""What the documentation and the files beside the package say of the audit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshcompat.audit import explain
from meshcompat.audit.rules import RULES
from tests.support.audited import run

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.once


def test_the_page_of_the_rules_is_what_the_rules_say():
    page = (ROOT / "docs" / "audit-rules.md").read_text(encoding="utf-8")
    assert page == explain.page(), "out of date: python ci/audit_rules_page.py"


def test_the_page_names_every_option_and_key():
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    _, out, _ = run("--help")
    options = set(re.findall(r"(?<!\S)--[a-z-]+", out)) - {"--help", "--debug"}
    told = {
        "--torch",
        "--select",
        "--ignore",
        "--exclude",
        "--baseline",
        "--output",
        "--confidence",
    }
    assert {option for option in options - told if option not in page} == set()
    assert all(f"{option[2:]} = " in page or option in page for option in told)


def test_every_rule_in_the_docs_exists():
    codes = {rule.code for rule in RULES}
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    assert set(re.findall(r"MC\d{3}", page)) <= codes


def test_the_package_passes_its_own_audit_by_configuration():
    code, out, err = run(ROOT)
    assert (code, err) == (0, ""), out


def test_no_ignore_stands_in_the_package():
    sources = [path for path in (ROOT / "meshcompat").rglob("*.py") if "audit" not in path.parts]
    assert [
        path for path in sources if "meshcompat: ignore" in path.read_text(encoding="utf-8")
    ] == []


@pytest.mark.skipif(
    not (ROOT / ".pre-commit-hooks.yaml").exists(), reason="the hook is no part of a distribution"
)
def test_the_hook_calls_the_command():
    hook = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    assert "entry: meshcompat audit\n" in hook
    assert "pass_filenames: false" in hook
