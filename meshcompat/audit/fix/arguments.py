"""The arguments of calls, as meshcompat calls them."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from meshcompat.audit.fix.edits import Edit, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from meshcompat.audit.fix.page import Page


def refuse_unpacked(call: ast.Call) -> None:
    """Refuse arguments that do not stand there one by one.

    Raises:
        RefusedError: The reason.
    """
    if any(isinstance(one, ast.Starred) for one in call.args) or any(
        one.arg is None for one in call.keywords
    ):
        raise RefusedError("its arguments are unpacked with * or **")


def renamed(call: ast.Call, names: Mapping[str, str], page: Page) -> Iterator[Edit]:
    """Yield the edits that give keywords another name."""
    for keyword in call.keywords:
        new = names.get(keyword.arg or "")
        if new:
            start = page.start(keyword)
            yield Edit(start, start + len(keyword.arg or ""), new)


def as_keyword(call: ast.Call, index: int, name: str, page: Page) -> Iterator[Edit]:
    """Yield the edit that turns a positional argument into a keyword."""
    if len(call.args) > index + 1:
        raise RefusedError("it has more arguments than torch takes")
    if len(call.args) > index:
        argument = call.args[index]
        if not isinstance(argument, (ast.Name, ast.Constant, ast.Attribute, ast.Dict)):
            raise RefusedError(f"write {name}= in front of its last argument")
        start = page.start(argument)
        yield Edit(start, start, f"{name}=")
