"""What a finding would be rewritten at, and how."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshcompat.audit import torch_names
from meshcompat.audit.fix import calls, slices
from meshcompat.audit.fix.edits import Edit, RefusedError
from meshcompat.audit.reading.scope import last_name
from meshcompat.audit.sites import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat.audit.findings import Finding
    from meshcompat.audit.fix.page import Page
    from meshcompat.audit.sites import Site

    Build = Callable[[ast.Call, Page, str], list[Edit]]

_TABLES = (torch_names.RESOURCES, torch_names.ENVIRONMENT)
_INIT = "init_device_mesh"


@dataclass(eq=False)
class Target:
    """One place that is rewritten or left."""

    page: Page
    site: Site
    node: ast.expr
    edits: list[Edit] = field(default_factory=list)
    reason: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_flattening(self) -> bool:
        """Whether it flattens, so that look-ups hang on it."""
        return (
            isinstance(self.node, ast.Call)
            and isinstance(self.node.func, ast.Attribute)
            and self.node.func.attr == "_flatten"
        )


def node_of(site: Site, page: Page) -> ast.expr | None:
    """Return the expression that a site's rewrite replaces; None where there is none.

    Raises:
        RefusedError: There would be one, and it is written in another way.
    """
    if site.role in {Role.LOOKUP, Role.FLATTEN}:
        assert isinstance(site.node, ast.expr)  # noqa: S101  (as the reader makes them)
        return site.node
    if site.role is Role.KEYWORD:
        return _call_of_keyword(site, page)
    if site.role is not Role.ATTRIBUTE:
        return None
    if site.owner == torch_names.MESH and site.name == "_flatten_mapping":
        return _attribute(site)
    return _call_of_attribute(site, page) if _builder(site) is not None else None


def _call_of_keyword(site: Site, page: Page) -> ast.expr | None:
    function = site.owner.rpartition(".")[2]
    if site.name != "backend_override" or function not in {_INIT, "_flatten", "_unflatten"}:
        return None
    around = page.parents.get(site.node)
    if not isinstance(around, ast.Call):
        return None
    called = last_name(around.func)
    if called != function and function not in _imported_as(called, page):
        raise RefusedError(f"{function} is not called where it stands")
    return around


def _imported_as(called: str, page: Page) -> set[str]:
    return {
        alias.name
        for node in ast.walk(page.source.tree)
        for alias in (node.names if isinstance(node, ast.ImportFrom) else ())
        if alias.asname == called
    }


def _call_of_attribute(site: Site, page: Page) -> ast.expr:
    node = _attribute(site)
    around = page.parents.get(node)
    if not isinstance(around, ast.Call) or around.func is not node:
        raise RefusedError("it is not called where it stands")
    return around


def edits_of(target: Target, module: str) -> list[Edit]:
    """Return the edits of a target that is no flattening."""
    site, node, page = target.site, target.node, target.page
    if site.role is Role.LOOKUP:
        return slices.sliced(node, page, module)
    if isinstance(node, ast.Attribute):
        return slices.table(node, page, module)
    assert isinstance(node, ast.Call)  # noqa: S101  (all others are)
    if site.role is Role.KEYWORD and site.owner.rpartition(".")[2] == _INIT:
        if site.node not in node.keywords or any(one.arg is None for one in node.keywords):
            raise RefusedError("its arguments are unpacked with **")
        return calls.function(node, page, f"{module}.{_INIT}")
    build = calls.method if site.role is Role.KEYWORD else _builder(site)
    if build is None:
        raise RefusedError("there is no rewrite for it")
    return build(node, page, module)


def _attribute(site: Site) -> ast.Attribute:
    if not isinstance(site.node, ast.Attribute):
        raise RefusedError("it is reached by getattr")
    return site.node


def _builder(site: Site) -> Build | None:
    if site.owner in _TABLES:
        return calls.of_table if site.name in {"get_root_mesh", "_get_all_submeshes"} else None
    if site.owner != torch_names.MESH:
        return None
    if site.name == "_concatenate":
        return calls.concatenate
    is_private = site.name in calls.METHODS and site.name.startswith("_")
    return calls.method if is_private else None
