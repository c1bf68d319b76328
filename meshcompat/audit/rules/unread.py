"""Files that cannot be read, and ignores that silence nothing: said by the reading itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit.rules.base import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.facts import Facts
    from meshcompat.audit.findings import Finding
    from meshcompat.audit.sites import Site


class _Said(Rule):
    """A rule that no site is judged by."""

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield nothing."""
        yield from ()


class Unreadable(_Said):
    """MC001."""

    code = "MC001"
    title = "a file that cannot be read"
    why = "The file or folder cannot be opened, is binary, is not in its encoding (UTF-8 unless it declares another), is larger than 64 MB, or is nested too deeply. The others are read."


class SyntaxFault(_Said):
    """MC002."""

    code = "MC002"
    title = "a syntax error"
    why = "The Python that runs the audit does not parse the file: run it with a Python as new as the code. The message names that Python."


class IdleIgnore(_Said):
    """MC003."""

    code = "MC003"
    title = "an ignore that silences nothing"
    why = "A `# meshcompat: ignore` stands on a line where nothing is found, or names a rule that finds nothing there. Take it away."
    before = 'mesh = init_device_mesh("cpu", (8,))  # meshcompat: ignore[MC101]'
    after = 'mesh = init_device_mesh("cpu", (8,))'


RULES: tuple[type[Rule], ...] = (Unreadable, SyntaxFault, IdleIgnore)
