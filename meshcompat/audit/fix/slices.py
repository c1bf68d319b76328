"""Rewrites of items: slices of a mesh by names, and reads of torch's table of flattened meshes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from meshcompat.audit.fix.edits import Edit, RefusedError

if TYPE_CHECKING:
    from meshcompat.audit.fix.page import Page

_READS = {"get", "items", "keys", "values"}
_FUNCTIONS = {"len", "list", "dict", "sorted", "tuple", "set", "iter", "bool"}


def sliced(node: ast.AST, page: Page, module: str) -> list[Edit]:
    """Return the edits for ``x["n"]`` and ``x["a", "n"]``."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.ctx, ast.Load):
        raise RefusedError("it is no plain slice")
    is_name = isinstance(node.slice, ast.Constant)
    return indexed(node, page, f"{module}.{'get_flat_mesh' if is_name else 'get_submesh'}", ")")


def folded(node: ast.Subscript, call: ast.Call, page: Page, module: str) -> list[Edit]:
    """Return the edits for ``x["a", "b"]._flatten("n")``, whose dims are given by name."""
    func = call.func
    assert isinstance(func, ast.Attribute)  # noqa: S101  (asked by the caller)
    dot = page.token(".", page.end(node))
    bracket = page.token("(", page.end(func))
    if dot != page.end(node) or page.text[dot : bracket + 1] != "._flatten(":
        raise RefusedError("it is written in a way that is not rewritten")
    edits = indexed(node, page, f"{module}.flatten", "")
    return [*edits, Edit(dot, bracket + 1, page.separated(", ", bracket + 1))]


def indexed(node: ast.Subscript, page: Page, function: str, closing: str) -> list[Edit]:
    """Return the edits that hand what is sliced, and by what, to a function."""
    opening = page.token("[", page.end(node.value), closing=True)
    start, end = page.start(node), page.end(node)
    is_bare = isinstance(node.slice, ast.Tuple) and not page.text_of(node.slice).startswith("(")
    return [
        Edit(start, start, f"{function}(", -end),
        Edit(opening, opening + 1, ", (" if is_bare else ", "),
        Edit(end - 1, end, (")" if is_bare else "") + closing),
    ]


def table(node: ast.Attribute, page: Page, module: str) -> list[Edit]:
    """Return the edits for a read of ``x._flatten_mapping``."""
    around = page.parents.get(node)
    start, dot = page.start(node), page.token(".", page.end(node.value), closing=True)
    if page.text[dot : page.end(node)] != "._flatten_mapping":
        raise RefusedError("it is written in a way that is not rewritten")
    if isinstance(around, ast.Subscript) and around.value is node:
        if not isinstance(around.ctx, ast.Load):
            raise RefusedError("it is written to")
        opening = page.token("[", page.end(node))
        end = page.end(around)
        if "#" in page.text[dot:opening] or page.text[dot:opening].strip() != "._flatten_mapping":
            raise RefusedError("it is written in a way that is not rewritten")
        return [
            Edit(start, start, f"{module}.get_flat_mesh(", -end),
            Edit(dot, opening + 1, ", "),
            Edit(end - 1, end, ")"),
        ]
    if not _is_read(node, around, page):
        raise RefusedError("it may be written to where it is handed on")
    return [
        Edit(start, start, f"{module}.get_flattened_meshes(", -page.end(node)),
        Edit(dot, page.end(node), ")"),
    ]


def _is_read(node: ast.Attribute, around: ast.AST | None, page: Page) -> bool:
    if isinstance(around, ast.Compare):
        return all(isinstance(one, (ast.In, ast.NotIn)) for one in around.ops)
    if isinstance(around, ast.Attribute):
        return around.attr in _READS and isinstance(page.parents.get(around), ast.Call)
    if isinstance(around, ast.Call):
        return isinstance(around.func, ast.Name) and around.func.id in _FUNCTIONS
    return isinstance(around, (ast.For, ast.comprehension)) and around.iter is node
