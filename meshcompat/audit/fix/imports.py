"""The import of meshcompat: the name that a file has for it, and where a new one goes."""

from __future__ import annotations

import ast
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from meshcompat.audit.fix.edits import Edit, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.fix.page import Page

NAME = "meshcompat"


def name_in(page: Page) -> tuple[str, Edit | None, int]:
    """Return what a file calls meshcompat, the edit that imports it, and the line from which it is there.

    Raises:
        RefusedError: The name means something else in the file.
    """
    for statement in page.source.tree.body:
        for alias in statement.names if isinstance(statement, ast.Import) else ():
            if alias.name == NAME or (alias.name.startswith(f"{NAME}.") and not alias.asname):
                return alias.asname or NAME, None, statement.lineno
    if any(_binds(node) for node in ast.walk(page.source.tree)):
        raise RefusedError(
            f"the name {NAME} is bound in this file, and not by an import at its top"
        )
    edit, line = _new(page)
    return NAME, edit, line


def _binds(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id == NAME and not isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.arg):
        return node.arg == NAME
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name == NAME
    if isinstance(node, ast.alias):
        return (node.asname or node.name.partition(".")[0]) == NAME
    return False


def _new(page: Page) -> tuple[Edit, int]:
    body = page.source.tree.body
    head = _head(body)
    run = list(_run(body[len(head) :]))
    behind: ast.stmt | None = head[-1] if head else None
    if run:
        block = _block(run)
        plain = [one for one in block if _comes_first(one)]
        before = [one for one in run if one.lineno < block[0].lineno]
        behind = plain[-1] if plain else None
        if behind is None:
            at = page.line_start(block[0].lineno)
            return _insertion(page, at, block[0].lineno, blank=False), _last(before, head)
    if behind is None:
        first = body[0].lineno if body else 1
        return _insertion(page, page.line_start(first), first, blank=True), first - 1
    line = behind.end_lineno or behind.lineno
    following = body[body.index(behind) + 1 :]
    if following and following[0].lineno == line:
        raise RefusedError("several statements stand on the line of its imports")
    at = page.line_start(line + 1)
    edit = _insertion(page, at, line, blank=False)
    if not run:  # behind a docstring or `__future__`, which a blank line sets off
        edit = edit._replace(new=page.line_end(line) + edit.new)
    if page.text and at == len(page.text) and page.text[-1] not in "\r\n":
        edit = edit._replace(new=page.line_end(line) + edit.new.strip("\r\n"))
    return edit, line


def _insertion(page: Page, at: int, line: int, *, blank: bool) -> Edit:
    end = page.line_end(line)
    return Edit(at, at, f"import {NAME}{end}{end if blank else ''}", -1)


def _last(before: list[ast.stmt], head: list[ast.stmt]) -> int:
    last = [*head, *before]
    return (last[-1].end_lineno or 0) if last else 0


def _head(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the docstring and the `__future__` imports."""
    found: list[ast.stmt] = []
    for statement in body:
        is_docstring = (
            not found
            and isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        )
        is_future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not (is_docstring or is_future):
            break
        found.append(statement)
    return found


def _run(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the imports at the top, until something else stands there."""
    for statement in body:
        if not isinstance(statement, (ast.Import, ast.ImportFrom)):
            return
        yield statement


def _block(run: list[ast.stmt]) -> list[ast.stmt]:
    """Return the imports without a blank line between them that name torch, else the last of other projects."""
    blocks = [[run[0]]]
    for before, one in pairwise(run):
        if one.lineno > (before.end_lineno or 0) + 1:
            blocks.append([])
        blocks[-1].append(one)
    torch = [block for block in blocks if any(map(_is_of_torch, block))]
    outside = [block for block in blocks if not any(map(_is_relative, block))]
    return (torch or outside[-1:] or blocks[:1])[0]


def _is_of_torch(node: ast.stmt) -> bool:
    return any(
        name.partition(".")[0] == "torch" and not _is_relative(node) for name in _modules(node)
    )


def _modules(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def _comes_first(node: ast.stmt) -> bool:
    """Whether an import stands before that of meshcompat where imports are sorted."""
    name = _modules(node)[0]
    if name.partition(".")[0] in sys.stdlib_module_names and not _is_relative(node):
        return True
    return isinstance(node, ast.Import) and name < NAME


def _is_relative(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.level > 0
