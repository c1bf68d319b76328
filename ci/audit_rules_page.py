"""Write docs/audit-rules.md from the rules themselves: `python ci/audit_rules_page.py`, with meshcompat importable."""

from pathlib import Path

from meshcompat.audit import explain

PAGE = Path(__file__).parent.parent / "docs" / "audit-rules.md"

if __name__ == "__main__":
    PAGE.write_text(explain.page(), encoding="utf-8")
