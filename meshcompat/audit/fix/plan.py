"""Planning: which findings of a path are rewritten, with what, and why the others stay."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from meshcompat.audit.facts import gather
from meshcompat.audit.fix import calls, names, slices, targets
from meshcompat.audit.fix.arguments import as_keyword, refuse_unpacked
from meshcompat.audit.fix.edits import Edit, RefusedError, apply
from meshcompat.audit.fix.imports import name_in
from meshcompat.audit.fix.page import Page, is_plain
from meshcompat.audit.fix.published import published
from meshcompat.audit.fix.refusals import refuse
from meshcompat.audit.fix.targets import Target
from meshcompat.audit.reading.scope import hints_at_mesh
from meshcompat.audit.rules.lookups import is_joined
from meshcompat.audit.sites import Role
from meshcompat.audit.values import Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from meshcompat.audit.findings import Finding
    from meshcompat.audit.projects import Project
    from meshcompat.audit.report import Part
    from meshcompat.audit.sites import Site


@dataclass(eq=False)
class Plan:
    """What is to be written, and the findings with what the plan says of each."""

    part: Part
    contents: dict[str, bytes] = field(default_factory=dict)
    """New content of each file that changes, by path."""
    pages: dict[str, Page] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    """How many places of each file are rewritten."""
    flattening: set[str] = field(default_factory=set)
    """Files in which something is flattened otherwise."""


def plan(part: Part, *, publish: bool = False, blocked: Mapping[str, str] | None = None) -> Plan:
    """Return what can be rewritten; files in *blocked* stay, for the reason given."""
    blocked = dict(blocked or {})
    while True:
        planned = _Planning(part, publish=publish, blocked=blocked)
        try:
            refused = planned.run()
        except RecursionError:  # nested too deeply to be looked at
            return Plan(part)
        if not refused:
            return planned.plan
        blocked |= refused


@dataclass(eq=False)
class _Known:
    """What a project's sites tell of the places where names stand, by the ids of nodes."""

    flattenings: set[int]
    lookups: set[int]
    natives: set[int]
    """Slices by names that are no flattened ones, and tests of the names of dims."""
    meshes: dict[str, set[str]]
    """What is known to be a mesh, as each file writes it."""
    listed: str = ""
    """Where torch's registry of flattened names is read and stays so."""


def _known(sites: Sequence[Site], flattenings: Mapping[int, Site]) -> _Known:
    facts = gather(sites)
    found = _Known(set(flattenings), set(), set(), {})
    for site in sites:
        if site.role is Role.LOOKUP:
            found.lookups.add(id(site.node))
        if site.role is Role.DIM_TEST or (
            site.role is Role.LOOKUP
            and not any(is_joined(name, site, facts) for name in site.names)
        ):
            found.natives.add(id(site.node))
        node = site.node.func if isinstance(site.node, ast.Call) else site.node
        if isinstance(site.receiver.data, Mesh) and isinstance(
            node, (ast.Attribute, ast.Subscript)
        ):
            found.meshes.setdefault(site.source.path, set()).add(ast.unparse(node.value))
    return found


class _Planning:
    """One attempt, with the files that are known to stay."""

    def __init__(self, part: Part, *, publish: bool, blocked: Mapping[str, str]) -> None:
        self.part = part
        self.publish = publish
        self.blocked = blocked
        self.plan = Plan(part)
        self.targets: dict[int, Target] = {}
        self.left: dict[int, str] = {}
        """Why findings without a target stay, by the id of the finding."""
        self.taken: set[str] = set()
        """Names that are given to different dims."""
        self.served: set[str] = set()
        """Names that are flattened through meshcompat, and looked up there only."""
        self.modules: dict[str, tuple[str, Edit | None, int] | RefusedError] = {}

    def run(self) -> dict[str, str]:
        """Plan, and return files that turn out to stay."""
        refused: dict[str, str] = {}
        for project in self.part.survey.projects:
            self._project(project)
        by_path: dict[str, list[Target]] = {}
        for target in self.targets.values():
            if not target.reason:
                by_path.setdefault(target.page.source.path, []).append(target)
        for path, found in by_path.items():
            try:
                self.plan.contents[path] = self._content(path, found)
            except RefusedError as error:
                refused[path] = str(error)
            self.plan.places[path] = len(found)
            if any(target.is_flattening for target in found):
                self.plan.flattening.add(path)
        said = {
            id(finding): target for target in self.targets.values() for finding in target.findings
        }
        self.plan.part = replace(
            self.part, findings=[self._told(one, said.get(id(one))) for one in self.part.findings]
        )
        return refused

    def _told(self, finding: Finding, target: Target | None) -> Finding:
        if target is None:
            return replace(finding, left=self.left.get(id(finding), ""))
        return replace(finding, fixable=not target.reason, left=target.reason)

    def _project(self, project: Project) -> None:
        found = {one.path: one for one in project.files.values()}
        sites = self.part.survey.sites.get(project.path, [])
        pages = {source.path: Page(source, found[source.path]) for source in project.sources}
        self.plan.pages |= pages
        flattenings = {id(site.node): site for site in sites if site.role is Role.FLATTEN}
        for finding in self.part.findings:
            if finding.site is not None and finding.project == project.path:
                self._take(finding, finding.site, pages[finding.path])
        flat = [target for target in self.targets.values() if target.is_flattening]
        flat = [target for target in flat if target.page.source.path in pages]
        shown = set(self.targets)
        # Slices that are right on the releases asked about must find the name too.
        for finding in self.part.guarded if flat else ():
            site = finding.site
            if site is not None and site.role is Role.LOOKUP and finding.path in pages:
                self._take(finding, site, pages[finding.path])
        known = _known(sites if flat else (), flattenings)
        if flat and not self.publish:
            known.listed = next(self._reads_of_registry(pages), "")
        for target in flat:
            if target.reason:
                continue
            try:
                site = flattenings.get(id(target.node), target.site)
                self._flattening(target, site, known, pages)
            except RefusedError as error:
                target.reason = str(error)
        self._keep_slices(flat, known)
        self._drop_idle(shown, pages)

    def _keep_slices(self, flat: Sequence[Target], known: _Known) -> None:
        """Leave slices whose flattening stays: --fix-published takes both together or neither."""
        for target in flat:
            call = target.node
            if not target.reason or not isinstance(call, ast.Call):
                continue
            assert isinstance(call.func, ast.Attribute)  # noqa: S101  (asked by `is_flattening`)
            inner = self._target(call.func.value)
            if inner is not None and not inner.reason and id(inner.node) in known.natives:
                inner.reason = "it is what _flatten flattens, which stays"

    def _drop_idle(self, shown: set[int], pages: dict[str, Page]) -> None:
        """Leave look-ups that are no findings where the name that they look up stays torch's."""
        for key, target in list(self.targets.items()):
            is_ours = key not in shown and target.page.source.path in pages
            if is_ours and not self.served & set(target.site.names):
                del self.targets[key]

    def _take(self, finding: Finding, site: Site, page: Page) -> None:
        """Make the target of a finding, or add the finding to one that is there."""
        try:
            node = targets.node_of(site, page)
        except RefusedError as error:
            self.left[id(finding)] = str(error)
            return
        if node is None:
            self.left[id(finding)] = "there is no rewrite for it"
            return
        target = self.targets.get(id(node))
        if target is None:
            target = self.targets[id(node)] = Target(page, site, node)
            try:
                refuse(site, page)
                module = self._module(page, node)
                if not target.is_flattening:
                    target.edits = targets.edits_of(target, module)
            except RefusedError as error:
                target.reason = str(error)
        target.findings.append(finding)
        if finding.code == "MC207":
            self.taken.update(site.names)

    def _module(self, page: Page, node: ast.expr) -> str:
        path = page.source.path
        if path in self.blocked:
            raise RefusedError(self.blocked[path])
        if path not in self.modules:
            try:
                self.modules[path] = name_in(page)
            except RefusedError as error:
                self.modules[path] = error
        found = self.modules[path]
        if isinstance(found, RefusedError):
            raise found
        module, _, line = found
        in_function = any(isinstance(one, _FUNCTIONS) for one in page.around(node))
        if not in_function and node.lineno <= line:
            raise RefusedError("it runs before the import of meshcompat")
        return module

    def _flattening(
        self, target: Target, site: Site, known: _Known, pages: dict[str, Page]
    ) -> None:
        call, page = target.node, target.page
        assert isinstance(call, ast.Call)  # noqa: S101  (asked by `is_flattening`)
        assert isinstance(call.func, ast.Attribute)  # noqa: S101
        module = self._module(page, call)
        receiver = call.func.value
        if self.taken & set(site.names):
            raise RefusedError("the name is given to other dims too: choose another for one")
        is_slice = id(receiver) in known.lookups
        if self.publish:
            mesh = site.receiver.data
            is_slice |= (
                isinstance(receiver, ast.Subscript)
                and isinstance(mesh, Mesh)
                and mesh.is_submesh
                and hints_at_mesh(receiver.value)
                and is_plain(receiver.value)
            )
            target.edits = published(call, page, module, is_slice=is_slice)
            self._consume(receiver, target)
            return
        if known.listed:
            raise RefusedError(
                f"torch's registry of flattened names is read at {known.listed}, and would lack this one: "
                "--fix-published keeps the name there"
            )
        name = self._name(site)
        if name is not None:
            self._refuse_looked_up(name, site, known, pages)
        if is_slice and self._has_name(call):
            try:
                assert isinstance(receiver, ast.Subscript)  # noqa: S101  (look-ups are)
                refuse_unpacked(call)
                target.edits = [
                    *slices.folded(receiver, call, page, module),
                    *as_keyword(call, 1, "backend_override", page),
                ]
            except RefusedError:
                pass
            else:
                self._consume(receiver, target)
                self.served.add(name or "")
                return
        target.edits = calls.method(call, page, module)
        self.served.add(name or "")

    def _has_name(self, call: ast.Call) -> bool:
        return bool(call.args) or any(one.arg == "mesh_dim_name" for one in call.keywords)

    def _consume(self, node: ast.expr, target: Target) -> None:
        """Let the findings of a slice be those of the call that takes it in."""
        inner = self.targets.pop(id(node), None)
        if inner is not None:
            target.findings += inner.findings

    def _reads_of_registry(self, pages: dict[str, Page]) -> Iterator[str]:
        """Yield where something reads torch's registry of flattened names and is not rewritten."""
        for page in pages.values():
            for node in names.registry_reads(page):
                target = self._target(node)
                if target is None or target.reason:
                    yield f"{self.part.shown(page.source.path)}:{node.lineno}"
        yield from filter(None, [names.read_elsewhere(self.part, self.part.survey)])

    def _refuse_looked_up(
        self, name: str, site: Site, known: _Known, pages: dict[str, Page]
    ) -> None:
        """Refuse a flattening whose name is looked up where nothing is rewritten.

        Raises:
            RefusedError: The place.
        """
        for page in pages.values():
            if name not in page.text:
                continue
            for node in page.strings.get(name, ()):
                if not self._is_served(node, page, site, known):
                    raise RefusedError(
                        f"{name!r} also stands at {self.part.shown(page.source.path)}:{node.lineno}, where it "
                        f"may be looked up: --fix-published keeps the name in torch's registry"
                    )
        other = names.elsewhere(name, self.part, self.part.survey)
        if other:
            raise RefusedError(
                f"{name!r} also stands in {other}, where it may be looked up: --fix-published keeps the "
                f"name in torch's registry"
            )

    def _name(self, site: Site) -> str | None:
        """Return the name that a flattening gives; None for one that is a dim of the mesh already."""
        mesh = site.receiver.data
        dims = mesh.dims if isinstance(mesh, Mesh) else None
        if site.names and site.names[0]:
            return None if dims == site.names else site.names[0]
        if site.names == ("",) and dims is not None:
            return None if len(dims) == 1 else "_".join(dims)
        raise RefusedError(
            "its name is no text there, so that its look-ups are unknown: --fix-published keeps the name "
            "in torch's registry"
        )

    def _is_served(self, node: ast.Constant, page: Page, site: Site, known: _Known) -> bool:
        """Whether a name stands where it is rewritten, or where nothing looks it up."""
        call = names.call_by_name(node, page, known.meshes.get(page.source.path, ()))
        if call is not None:
            return self._by_name(call, page, site)
        if names.is_idle(node, page):
            return True
        for one in page.around(node):
            if id(one) in known.flattenings or id(one) in known.natives:
                return True
            read = [target for target in map(self._target, _read_in(one)) if target is not None]
            if read:
                return not any(target.reason for target in read)
            if isinstance(one, (ast.Subscript, ast.stmt)):
                return False
        return False

    def _target(self, node: ast.AST) -> Target | None:
        return self.targets.get(id(node))

    def _by_name(self, call: ast.Call, page: Page, site: Site) -> bool:
        """Rewrite ``mesh.get_group("n")`` along; return whether that is done."""
        if id(call) not in self.targets:
            target = self.targets[id(call)] = Target(page, site, call)
            try:
                target.edits = calls.method(call, page, self._module(page, call))
            except RefusedError as error:
                target.reason = str(error)
        return not self.targets[id(call)].reason

    def _content(self, path: str, found: list[Target]) -> bytes:
        page = self.plan.pages[path]
        if page.found.real is not None and page.found.real.is_symlink():
            raise RefusedError("the file is a link")
        module = self.modules[path]
        assert not isinstance(module, RefusedError)  # noqa: S101  (then nothing of the file is rewritten)
        edits = [edit for target in found for edit in target.edits]
        edits += [module[1]] if module[1] is not None else []
        new = page.encoded(apply(page.text, edits))
        try:
            ast.parse(new)
        except (SyntaxError, ValueError):
            raise RefusedError("the result would be no Python") from None
        return new


def _read_in(node: ast.AST) -> list[ast.AST]:
    """Return what an expression around a name may read by it, itself included."""
    if isinstance(node, ast.Compare):
        return [node, *node.comparators]
    if isinstance(node, ast.Subscript):
        return [node, node.value]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return [node, node.func.value]
    return [node]


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
