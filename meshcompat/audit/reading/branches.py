"""Reading ways on: each with the releases that take it, joined where they meet again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit.reading.expressions import Expressions
from meshcompat.audit.reading.imports import Imports
from meshcompat.audit.releases import NONE, Releases
from meshcompat.audit.sites import Arm
from meshcompat.audit.values import Value, join

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Sequence

    from meshcompat.audit.reading.registry import Layer


class Branches(Imports, Expressions):
    """Branches, and what is known after them."""

    def branch(
        self, node: ast.AST, statements: Callable[[], None], live: Releases
    ) -> tuple[Layer, Releases, bool]:
        """Read one way on; return the names that it binds, the releases that come out, and whether it goes on."""
        outer = self.live
        self.live = live
        goes_on, self.goes_on = self.goes_on, True
        self.layers.append({})
        arm = Arm(node)
        self.arms.append(arm)
        statements()
        self.arms.pop()
        arm.ends = not self.goes_on
        bound = self.layers.pop()
        out = self.live
        ended = not self.goes_on
        self.live, self.goes_on = outer, goes_on
        return bound, NONE if ended else out, not ended

    def stop(self) -> None:
        """Note that nothing after this runs."""
        self.live = NONE
        self.goes_on = False

    def merge(self, ways: Sequence[tuple[Layer, Releases, bool]]) -> None:
        """Go on after branches: with the releases and names of those that go on."""
        going = [way for way in ways if way[2]]
        names = {name for bound, _, _ in going for name in bound}
        for name in names:
            before = self.layers[-1].get(name) or self.bound_outside(name)
            if "." in name and before is None and any(name not in bound for bound, _, _ in going):
                continue  # an attribute that only one way set
            found: Value | None = None
            on: Releases = NONE
            for bound, live, _ in going:
                value = bound.get(name, before)
                if value is None:
                    continue
                found = value if found is None else join(found, on, value, live)
                on |= live
            if found is not None:
                self.bind(name, found)
        self.live = NONE.union(*(live for _, live, _ in going)) if going else NONE
        if not going:
            self.goes_on = False

    def bound_outside(self, name: str) -> Value | None:
        """Return what a name is before a branch, where an assignment in the branch would replace it."""
        return next((layer[name] for layer in reversed(self.layers) if name in layer), None)

    goes_on = True

    def body(self, statements: Sequence[ast.stmt]) -> None:
        """Read statements one after another."""
        for statement in statements:
            method = getattr(self, f"_{type(statement).__name__}", None)
            if method is None:
                self.parts(statement)
            else:
                method(statement)
