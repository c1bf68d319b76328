"""What every rule has: words for its page, examples that tests run, and a judgement of sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from meshcompat.audit.findings import Finding
from meshcompat.audit.releases import ALL, NONE, Releases, spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.facts import Facts
    from meshcompat.audit.sites import Site

ISSUE = "https://github.com/pytorch/pytorch/issues/"
PULL = "https://github.com/pytorch/pytorch/pull/"


class Rule:
    """One rule. Its texts make the page in docs/ and the answer of ``--explain``."""

    code: ClassVar[str]
    title: ClassVar[str]
    """What is wrong, in a few words."""
    why: ClassVar[str]
    """What happens, on which releases, and why."""
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""
    link: ClassVar[str] = ""
    positive: ClassVar[tuple[str, ...]] = ()
    """Sources in which the rule finds something."""
    negative: ClassVar[tuple[str, ...]] = ()
    """Sources that look alike and in which it finds nothing."""
    guarded: ClassVar[tuple[str, ...]] = ()
    """Sources whose guards keep the site from every release where it would be wrong."""

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:
        """Yield what is wrong with a site."""
        raise NotImplementedError

    def finding(
        self,
        site: Site,
        message: str,
        *,
        name: str = "",
        fails: Releases = NONE,
        warns: Releases = NONE,
        wrong: Releases = NONE,
        replacement: str = "",
        link: str = "",
    ) -> Finding:
        """Return a finding at a site."""
        return Finding(
            path=site.source.path,
            span=site.span,
            code=self.code,
            name=name or site.name,
            message=message,
            confidence=site.confidence,
            fails_on=fails,
            warns_on=warns,
            wrong_on=wrong,
            replacement=replacement,
            link=link or self.link,
            in_test=site.source.is_test,
            in_raise=site.in_raise,
            site=site,
            project=site.source.project,
        )


def here(releases: Releases, site: Site) -> str:
    """Return releases in words, and that a guard lets them through where there is one."""
    words = named(releases)
    return f"{words}, which no guard here keeps out" if site.guards and releases != ALL else words


def named(releases: Releases) -> str:
    """Return releases in words that follow "on"."""
    return "every release of torch" if releases == ALL else f"torch {spans(releases)}"
