"""One file as it is rewritten: where nodes stand in its text, and what stands around them."""

from __future__ import annotations

import ast
import codecs
import re
from functools import cached_property
from typing import TYPE_CHECKING

from meshcompat.audit.fix.edits import RefusedError
from meshcompat.audit.source import encoding_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.files import Found
    from meshcompat.audit.source import Source

_BETWEEN = re.compile(r"(?:[ \t\f\r\n]|\\\r?\n|#[^\r\n]*)*")
"""What may stand between two tokens."""


class Page:
    """A source, the file that it was read from, and offsets into its text."""

    def __init__(self, source: Source, found: Found) -> None:
        self.source = source
        self.found = found
        self.text = source.text

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\r\n|\r|\n", self.text))]

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """The node around each node."""
        return {
            child: node
            for node in ast.walk(self.source.tree)
            for child in ast.iter_child_nodes(node)
        }

    @cached_property
    def strings(self) -> dict[str, list[ast.Constant]]:
        """Where each string of the file stands."""
        found: dict[str, list[ast.Constant]] = {}
        for node in ast.walk(self.source.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.setdefault(node.value, []).append(node)
        return found

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield the nodes around a node, the nearest first."""
        while node in self.parents:
            node = self.parents[node]
            yield node

    def statement(self, node: ast.AST) -> ast.stmt:
        """Return the statement that a node is part of."""
        if isinstance(node, ast.stmt):
            return node
        return next(one for one in self.around(node) if isinstance(one, ast.stmt))

    def start(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Return where a node begins."""
        span = self.source.span(node)
        return self._starts[span.line - 1] + span.column - 1

    def end(self, node: ast.expr | ast.stmt | ast.keyword) -> int:
        """Return where a node ends."""
        span = self.source.span(node)
        return self._starts[span.end_line - 1] + span.end_column - 1

    def text_of(self, node: ast.expr) -> str:
        """Return the text of a node."""
        return self.text[self.start(node) : self.end(node)]

    def line_start(self, line: int) -> int:
        """Return where a line begins; the end of the text for the line behind the last."""
        return self._starts[line - 1] if line <= len(self._starts) else len(self.text)

    def line_end(self, line: int) -> str:
        """Return the characters that end a line, or those of the first one."""
        match = re.compile("\r\n|\r|\n").search(self.text, self.line_start(line))
        match = match or re.search("\r\n|\r|\n", self.text)
        return match[0] if match else "\n"

    def token(self, wanted: str, at: int, *, closing: bool = False) -> int:
        """Return where a token stands that follows, behind closing brackets where these may come first.

        Raises:
            RefusedError: Something else follows.
        """
        while True:
            match = _BETWEEN.match(self.text, at)
            at = match.end() if match else at
            if closing and self.text.startswith(")", at):
                at += 1
                continue
            if self.text.startswith(wanted, at):
                return at
            raise RefusedError("it is written in a way that is not rewritten")

    def separated(self, separator: str, at: int) -> str:
        """Return a separator, without a blank where its line ends."""
        ends = self.text[at : at + 200].lstrip(" \t")[:1] in {"\r", "\n"}
        return separator.rstrip() if ends else separator

    def encoded(self, text: str) -> bytes:
        """Return a text as the file has it.

        Raises:
            RefusedError: The file's own text does not come back the same.
        """
        encoding = encoding_of(self.found.content)
        mark = codecs.BOM_UTF8 if self.found.content.startswith(codecs.BOM_UTF8) else b""
        plain = "utf-8" if encoding == "utf-8-sig" else encoding
        if mark + self.text.encode(plain) != self.found.content:
            raise RefusedError(f"its encoding {encoding} does not give back the same bytes")
        return mark + text.encode(plain)


def is_plain(node: ast.expr) -> bool:
    """Whether an expression is a name or an attribute of one, which may be written twice."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)
