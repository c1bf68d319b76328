"""One source file: its text, its tree, and where a node's name stands in it."""

from __future__ import annotations

import ast
import re
import sys
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

PRIVATE_OF_TORCH = re.compile(
    r"\b_mesh_resources\b|\._(?:(?:un)?flatten\(|flatten_mapping\b|dim_group_(?:names|infos)\b|get_root_mesh\b)"
)
"""Members by which a file works with torch's meshes without a word about torch."""


class Span(NamedTuple):
    """A place in a file: lines and columns count from 1, columns in characters, and the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


FIRST = Span(1, 1, 1, 1)
"""Where a file as a whole is told of."""


class UnreadableError(Exception):
    """A file that cannot be read; `code` is the rule that tells of it."""

    def __init__(self, code: str, reason: str, span: Span | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.span = span or FIRST


@dataclass(eq=False)
class Source:
    """A Python file that was read."""

    path: str
    """Relative to the folder that was given, with ``/``."""
    text: str
    module: str = ""
    """Dotted name by which the project imports it."""
    is_package: bool = False
    project: str = ""
    """Path of the project that it belongs to."""
    imports_meshes: bool = False
    """Whether it imports from its project what leads to a mesh."""
    tree: ast.Module = field(default_factory=lambda: ast.Module([], []))

    @cached_property
    def lines(self) -> list[str]:
        """The lines as Python counts them, which is by line feeds and carriage returns only."""
        return re.split("\r\n|\r|\n", self.text)

    @cached_property
    def _offsets(self) -> list[int]:
        """Where each line begins in the text; not exact where line ends have two characters, which only widens."""
        found = [0]
        for line in self.lines:
            found.append(found[-1] + len(line) + 1)
        return found

    def mentions(self, pattern: re.Pattern[str], node: ast.stmt) -> bool:
        """Whether the lines of a statement match a pattern somewhere."""
        start, end = self._offsets[node.lineno - 1], self._offsets[node.end_lineno or node.lineno]
        extra = len(self.text) - self._offsets[-1] + 1
        return pattern.search(self.text, start, end + max(extra, 0)) is not None

    @cached_property
    def tells_of_torch(self) -> bool:
        """Whether a name such as `mesh` means one of torch's here."""
        return (
            "torch" in self.text
            or "meshcompat" in self.text
            or self.imports_meshes
            or PRIVATE_OF_TORCH.search(self.text) is not None
        )

    @property
    def is_test(self) -> bool:
        """Whether the file belongs to tests."""
        *folders, name = self.path.split("/")
        return (
            any(folder in {"test", "tests", "testing", "_test", "_tests"} for folder in folders)
            or name.startswith("test_")
            or name.endswith("_test.py")
            or name == "conftest.py"
        )

    def span(self, node: ast.expr | ast.stmt | ast.keyword | ast.alias) -> Span:
        """Return the place of a whole node."""
        end_line, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return Span(
            node.lineno,
            self._column(node.lineno, node.col_offset),
            end_line,
            self._column(end_line, end),
        )

    def attribute_span(self, node: ast.Attribute) -> Span:
        """Return the place of the name behind the dot."""
        whole = self.span(node)
        return Span(
            whole.end_line, whole.end_column - len(node.attr), whole.end_line, whole.end_column
        )

    def keyword_span(self, node: ast.keyword) -> Span:
        """Return the place of a keyword's name."""
        column = self._column(node.lineno, node.col_offset)
        return Span(node.lineno, column, node.lineno, column + len(node.arg or ""))

    def alias_span(self, node: ast.alias) -> Span:
        """Return the place of an imported name, without what it is called here."""
        column = self._column(node.lineno, node.col_offset)
        return Span(node.lineno, column, node.lineno, column + len(node.name))

    def from_span(self, node: ast.ImportFrom) -> Span:
        """Return the place of the module in ``from module import ...``."""
        line = self.lines[node.lineno - 1]
        name = node.module or ""
        at = line.find(name, self._column(node.lineno, node.col_offset) - 1)
        return (
            self.span(node)
            if at < 0
            else Span(node.lineno, at + 1, node.lineno, at + 1 + len(name))
        )

    def _column(self, line: int, offset: int) -> int:
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        if text.isascii():
            return offset + 1
        return len(text.encode()[:offset].decode(errors="replace")) + 1


def is_text(content: bytes) -> bool:
    """Whether a file is UTF-8 and no binary, found out without keeping the text."""
    if b"\0" in content:
        return False
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def decode(content: bytes) -> str:
    """Return the text of a source file.

    Raises:
        UnreadableError: It is binary, or not UTF-8 and declares no encoding that fits.
    """
    if b"\0" in content:
        raise UnreadableError("MC001", "binary: it has null bytes")
    return content.decode(encoding_of(content))


def encoding_of(content: bytes) -> str:
    """Return the encoding by which a source file is read: UTF-8, else what it declares.

    Raises:
        UnreadableError: Neither fits.
    """
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        declared = re.search(
            rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", content[:400], re.MULTILINE
        )
        if declared is not None:
            try:
                encoding = declared[1].decode("ascii")
                content.decode(encoding)
            except (LookupError, UnicodeDecodeError, ValueError):
                pass
            else:
                return encoding
        raise UnreadableError(
            "MC001", f"not UTF-8: byte {error.start + 1} is {content[error.start]:#04x}"
        ) from None
    return "utf-8-sig"


def parse(text: str) -> ast.Module:
    """Return the tree of a text.

    Raises:
        UnreadableError: It is no Python that this interpreter knows, or nested too deeply.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes, in other people's code
            return ast.parse(text)
    except SyntaxError as error:
        line, column = error.lineno or 1, max(error.offset or 1, 1)
        reason = f"syntax error for Python {python}: {error.msg}"
        raise UnreadableError("MC002", reason, Span(line, column, line, column)) from None
    except (RecursionError, MemoryError):
        raise UnreadableError("MC001", "nested too deeply to be read") from None
    except ValueError as error:
        raise UnreadableError("MC001", str(error)) from None
