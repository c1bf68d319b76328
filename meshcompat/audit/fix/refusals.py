"""What keeps a place as it is, whatever stands there."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from meshcompat.audit.fix.edits import RefusedError
from meshcompat.audit.sites import Role
from meshcompat.audit.values import Confidence

if TYPE_CHECKING:
    from meshcompat.audit.fix.page import Page
    from meshcompat.audit.sites import Site

_ASKS = {"hasattr", "getattr"}


def refuse(site: Site, page: Page) -> None:
    """Refuse a site that is unsure, guarded, or in a text.

    Raises:
        RefusedError: The reason.
    """
    if site.confidence < Confidence.MEDIUM:
        raise RefusedError("it is not sure that this is torch's mesh")
    if site.is_caught:
        raise RefusedError(
            "a handler around it catches what torch raises here, and would have no meaning any more"
        )
    if not isinstance(site.node, (ast.expr, ast.keyword)):
        raise RefusedError("there is no rewrite for it")
    scope: ast.AST = page.source.tree
    for node in page.around(site.node):
        if isinstance(node, ast.JoinedStr):
            raise RefusedError("it stands in an f-string")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            scope = node
            break
    name = site.owner.rpartition(".")[2] if site.role is Role.KEYWORD else site.name
    if site.guards and any(_asks(node, name) for node in ast.walk(scope)):
        raise RefusedError(
            f"the code asks for {name} first, which would have no meaning any more: remove the guard"
        )


def _asks(node: ast.AST, name: str) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _ASKS
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
        and node.args[1].value == name
    )
