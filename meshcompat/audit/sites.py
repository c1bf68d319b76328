"""Sites: the places where code touches torch's meshes. What reads sources makes them, rules judge them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshcompat.audit.releases import NONE, Releases

if TYPE_CHECKING:
    import ast

    from meshcompat.api.table import Name
    from meshcompat.audit.source import Source, Span
    from meshcompat.audit.values import Confidence, Value


class Role(enum.Enum):
    """What code does with the name."""

    ATTRIBUTE = enum.auto()
    """Reads an attribute or method of a class or object of torch; `node` is an Attribute, or a `getattr` call."""
    KEYWORD = enum.auto()
    """Passes a keyword argument; `node` is the keyword, `owner` the function."""
    IMPORT = enum.auto()
    """Imports a name or a module, or reads it as an attribute of its module; `owner` is the module."""
    WRITE = enum.auto()
    """Writes a private attribute, one of its items, or calls what changes it."""
    CLEAR = enum.auto()
    """Empties one of torch's tables."""
    LOOKUP = enum.auto()
    """Slices a mesh by names; `node` is the Subscript, `names` are the names."""
    FLATTEN = enum.auto()
    """Calls `_flatten`; `node` is the Call, `names` is the new name where it stands there."""
    REBUILD = enum.auto()
    """Makes a DeviceMesh of another mesh's ranks; `node` is the Call."""
    REDISTRIBUTE = enum.auto()
    """Redistributes a DTensor; `receiver` is the mesh where it is known."""
    DIM_TEST = enum.auto()
    """Asks whether a name is among the dims of a mesh."""
    ERROR_TEXT = enum.auto()
    """Looks for words in the text of an error that torch raised about a mesh."""
    ERROR_TYPE = enum.auto()
    """Catches an exception that only a fault of torch raises."""


@dataclass(frozen=True, eq=False)
class Site:
    """One place where code touches a mesh."""

    source: Source
    role: Role
    owner: str
    """Full path of the class, object, function or module of torch that the name belongs to."""
    name: str
    span: Span
    """Where the name itself stands."""
    node: ast.AST
    receiver: Value
    """What the name is taken from."""
    confidence: Confidence
    live: Releases
    """Releases on which the code is reached: the guards around it let them through."""
    is_caught: bool = False
    """Whether a handler around it catches what torch raises where the name is missing."""
    known: Name | None = None
    """The row of the table of names."""
    names: tuple[str, ...] = ()
    function: str = ""
    """Full name of the function around it; empty at module level."""
    class_name: str = ""
    """Full name of the class around it."""
    in_raise: bool = False
    """Whether it only serves a `raise`."""
    guards: Releases = field(default=NONE)
    """Releases that guards keep out."""
    arms: tuple[Arm, ...] = ()
    """The branches in which it stands, outermost first."""


@dataclass(eq=False)
class Arm:
    """One branch of a statement."""

    statement: ast.AST
    ends: bool = False
    """Whether nothing after the statement runs where this branch was taken."""


def are_exclusive(first: Site, second: Site) -> bool:
    """Whether no run reaches both: two branches of one statement, or a branch that ends before the second."""
    for arm in first.arms:
        other = next((one for one in second.arms if one.statement is arm.statement), None)
        if other is None:
            return arm.ends
        if other is not arm:
            return True
    return False


class Frame:
    """A `try` block whose body is being read: what its handlers catch, and what fails in it."""

    def __init__(self, caught: frozenset[str], statement: ast.AST) -> None:
        self.statement = statement
        self.caught = caught
        self.fails: dict[str, Releases] = {}
        self.touched: Confidence | None = None
        """How sure it is that the body uses a mesh of torch."""
        self.asked_imports = False

    def takes(self, error: str) -> bool:
        """Whether a handler catches an exception."""
        return bool(self.caught & {error, *PARENTS.get(error, ()), "Exception", "BaseException"})

    def says(self, caught: frozenset[str]) -> bool:
        """Whether something in the body is known to raise what a handler catches, on whatever release."""
        return any(
            caught & {error, *PARENTS.get(error, ()), "Exception", "BaseException"}
            for error in self.fails
        )

    def failing(self, caught: frozenset[str]) -> Releases:
        """Return the releases on which something in the body raises what a handler catches."""
        found: Releases = NONE
        for error, releases in self.fails.items():
            if caught & {error, *PARENTS.get(error, ()), "Exception", "BaseException"}:
                found |= releases
        return found


PARENTS = {
    "ImportError": (),
    "ModuleNotFoundError": ("ImportError",),
    "KeyError": ("LookupError",),
    "IndexError": ("LookupError",),
    "AttributeError": (),
    "TypeError": (),
}
"""Classes by which an exception is caught as well; those that catch everything are not listed."""
