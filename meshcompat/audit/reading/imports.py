"""Reading imports: what they bind, and whether torch has it on every release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit import torch_names
from meshcompat.audit.reading.members import Members, version_of
from meshcompat.audit.releases import ALL, NONE, Releases
from meshcompat.audit.sites import Role
from meshcompat.audit.values import UNKNOWN, Confidence, Value, named

if TYPE_CHECKING:
    import ast

    from meshcompat.api.table import Name
    from meshcompat.audit.source import Span


class Imports(Members):
    """The two import statements."""

    def _Import(self, node: ast.Import) -> None:
        for alias in node.names:
            releases = torch_names.module_releases(alias.name)
            if releases is not None and releases != ALL:
                module, _, name = alias.name.rpartition(".")
                self._imported(
                    module, name, torch_names.row(alias.name), self.source.alias_span(alias), node
                )
            if alias.asname:
                self.bind(alias.asname, self.registry.resolve(alias.name))
            else:
                self.bind(alias.name.partition(".")[0], named(alias.name.partition(".")[0]))

    def _ImportFrom(self, node: ast.ImportFrom) -> None:
        for frame in self.frames:
            frame.asked_imports = frame.asked_imports or (node.module or "").startswith("torch")
        module = self.absolute(node)
        missing = torch_names.module_releases(module)
        if missing is not None and missing != ALL:
            parent, _, name = module.rpartition(".")
            self._imported(parent, name, torch_names.row(module), self.source.from_span(node), node)
        for alias in node.names:
            if alias.name == "*":
                self._star(module)
                continue
            known = torch_names.in_module(module, alias.name)
            truthy = ALL
            if known is not None and torch_names.on(known) != ALL:
                lacking = (missing or ALL) - torch_names.on(known)
                if lacking:
                    self._imported(
                        module,
                        alias.name,
                        known,
                        self.source.alias_span(alias),
                        node,
                        within=missing,
                    )
                truthy = torch_names.on(known)
            path = f"{module}.{alias.name}" if module else alias.name
            value = version_of(path) or named(path)
            if truthy != ALL and self.frames:
                value = Value(value.kind, value.name, None, truthy, NONE)
            self.bind(alias.asname or alias.name, value)

    def _imported(  # noqa: PLR0917  (as `emit`)
        self,
        owner: str,
        name: str,
        known: Name | None,
        span: Span,
        node: ast.stmt,
        within: Releases | None = None,
    ) -> None:
        """Note an import of what some releases lack."""
        if known is None:
            return
        missing = (ALL if within is None else within) - torch_names.on(known)
        before = self.live
        caught = self.fail(
            "ModuleNotFoundError" if known.kind == "module" else "ImportError", missing
        )
        live = before if within is None else before & within
        self.emit(Role.IMPORT, owner, name, span, node, UNKNOWN, known=known, is_caught=caught, live=live,
                  confidence=Confidence.HIGH)  # fmt: skip

    def absolute(self, node: ast.ImportFrom) -> str:
        """Return the module that a ``from`` names, relative ones made absolute."""
        if not node.level:
            return node.module or ""
        parts = self.source.module.split(".")
        up = node.level - (1 if self.source.is_package else 0)
        base = parts[: len(parts) - up] if up else parts
        return ".".join([*base, *([node.module] if node.module else [])])

    def _star(self, module: str) -> None:
        self.registry.resolve(f"{module}.*")
        for name, value in self.registry.modules.get(module, {}).items():
            if not name.startswith("_"):
                self.bind(name, value)
        for name in (
            ("DeviceMesh", "init_device_mesh") if module.startswith("torch.distributed") else ()
        ):
            self.bind(name, named(torch_names.canonical(f"torch.distributed.{name}")))
