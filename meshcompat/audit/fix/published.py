"""Rewrites of `_flatten` that keep the name in torch's own registry too."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from meshcompat.audit.fix.arguments import refuse_unpacked
from meshcompat.audit.fix.edits import Edit, RefusedError
from meshcompat.audit.fix.page import is_plain

if TYPE_CHECKING:
    from meshcompat.audit.fix.page import Page

_SEVERAL = re.compile(r"(names|dims|axes)$")


def published(call: ast.Call, page: Page, module: str, *, is_slice: bool) -> list[Edit]:
    """Return the edits that register the name, and then take the mesh where it is used."""
    refuse_unpacked(call)
    func = call.func
    if not isinstance(func, ast.Attribute):
        raise RefusedError("it is reached by getattr or under another name")
    name = _name(call)
    mesh, dims = _mesh_and_dims(func.value, page, is_slice=is_slice)
    statement = page.statement(call)
    first = page.start(statement)
    before = page.text[page.line_start(statement.lineno) : first]
    if "#" in page.text_of(call) or call.lineno != call.end_lineno:
        raise RefusedError("it spans lines, and publishing the name needs a statement of its own")
    register = (
        f"{module}.register_flattened_axes({mesh}, {{{page.text_of(name)}: {dims}}}, publish=True)"
    )
    if isinstance(statement, ast.Expr) and statement.value is call:
        return [Edit(page.start(call), page.end(call), register)]
    is_value = (
        isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Return)) and statement.value is call
    )
    if not is_value or before.strip() or not is_plain_name(name):
        raise RefusedError("publishing the name needs a statement of its own: give it one")
    take = f"{module}.get_flat_mesh({mesh}, {page.text_of(name)})"
    return [
        Edit(first, first, f"{register}{page.line_end(statement.lineno)}{before}"),
        Edit(page.start(call), page.end(call), take),
    ]


def is_plain_name(node: ast.expr) -> bool:
    """Whether a name's expression may be written twice."""
    return isinstance(node, ast.Constant) or is_plain(node)


def _name(call: ast.Call) -> ast.expr:
    if len(call.args) + len(call.keywords) != 1:
        raise RefusedError("publishing takes a name and no backend")
    if call.keywords and call.keywords[0].arg != "mesh_dim_name":
        raise RefusedError("publishing takes a name and no backend")
    return call.args[0] if call.args else call.keywords[0].value


def _mesh_and_dims(node: ast.expr, page: Page, *, is_slice: bool) -> tuple[str, str]:
    """Return the texts of the mesh and of the dims that are joined."""
    if is_slice and isinstance(node, ast.Subscript) and is_plain(node.value):
        dims = page.text_of(node.slice)
        if isinstance(node.slice, ast.Constant):
            return page.text_of(node.value), f"({dims},)"
        if isinstance(node.slice, ast.Tuple):
            return page.text_of(node.value), dims if dims.startswith("(") else f"({dims})"
        if is_plain(node.slice) and _SEVERAL.search(dims):
            return page.text_of(node.value), dims
    if not is_plain(node):
        raise RefusedError(
            "publishing needs the mesh and its dims by name: give the slice a name first"
        )
    text = page.text_of(node)
    return text, f"{text}.mesh_dim_names"
