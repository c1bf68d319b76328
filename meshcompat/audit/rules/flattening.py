"""Flattening: what `_flatten` does to one dim, with a name that is taken, and to DTensors on the root."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from meshcompat.audit.releases import NONE, Releases, since, spans
from meshcompat.audit.rules.base import ISSUE, Rule, named
from meshcompat.audit.sites import Role, are_exclusive
from meshcompat.audit.values import Confidence, Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.facts import Facts
    from meshcompat.audit.findings import Finding
    from meshcompat.audit.sites import Site

_INIT = (
    "from torch.distributed.device_mesh import DeviceMesh, init_device_mesh\n"
    'm = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("dp", "cp", "tp"))\n'
)
_INSTEAD = "meshcompat.flatten(mesh, mesh_dims, name)"


def _facts(site: Site) -> Mesh:
    return site.receiver.data if isinstance(site.receiver.data, Mesh) else Mesh(site.confidence)


class OneDim(Rule):
    """MC206."""

    code = "MC206"
    title = "one dim that is flattened to its own name"
    why = (
        "Flattening a single dim to its own name, which is also what happens without a name, gives the mesh itself from 2.10 on, a "
        "RuntimeError on 2.9, and another mesh that is no submesh of the root on 2.5 to 2.8."
    )
    before = 'dp = mesh["dp"]._flatten()'
    after = 'dp = meshcompat.flatten(mesh, "dp", "dp")'
    link = ISSUE + "161311"
    positive = (
        _INIT + 'x = m["dp"]._flatten()\n',
        _INIT + 'x = m["cp"]._flatten("cp")\n',
        _INIT + 'sub = m["tp"]\nsub._flatten("tp")\n',
    )
    negative = (
        _INIT + 'x = m["dp", "cp"]._flatten()\n',
        _INIT + 'x = m["dp"]._flatten("renamed")\n',
        _INIT + "x = m._flatten()\n",
    )
    guarded = (_INIT + 'if hasattr(m, "_unflatten"):\n    x = m["dp"]._flatten()\n',)

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding where the mesh is known to have one dim."""
        mesh = _facts(site)
        if (
            site.role is not Role.FLATTEN
            or mesh.dims is None
            or len(mesh.dims) != 1
            or mesh.is_flat
        ):
            return
        if site.names not in {("",), mesh.dims}:
            return
        fails, wrong = site.live & since("2.9", "2.9"), site.live & since("2.5", "2.8")
        words = f"flattens the one dim {mesh.dims[0]!r} to its own name" + _ends(
            fails, wrong, "a mesh beside the root"
        )
        fails = NONE if site.is_caught else fails
        yield self.finding(
            site, words, fails=fails, wrong=wrong, replacement="meshcompat.flatten(mesh, name)"
        )


class TakenName(Rule):
    """MC207."""

    code = "MC207"
    title = "a flattened name that is used for other dims"
    why = (
        "From 2.5 to 2.9 the second `_flatten` with a name gives the mesh of the first, with its ranks and silently; from 2.10 on it "
        "raises a ValueError. A name that is a dim of the root was accepted up to 2.8, and changed what every equal mesh of the "
        "process gives for that name; 2.9 and later refuse it."
    )
    before = 'mesh["dp", "cp"]._flatten("loss")\nmesh["cp", "tp"]._flatten("loss")'
    after = 'meshcompat.flatten(mesh, ("dp", "cp"), "dp_loss")\nmeshcompat.flatten(mesh, ("cp", "tp"), "tp_loss")'
    link = ISSUE + "157393"
    positive = (
        _INIT + 'm["dp", "cp"]._flatten("x")\nm["cp", "tp"]._flatten("x")\n',
        _INIT + 'm["dp", "cp"]._flatten("tp")\n',
    )
    negative = (
        _INIT + 'm["dp", "cp"]._flatten("x")\nm["dp", "cp"]._flatten("x")\n',
        _INIT + 'm["dp", "cp"]._flatten("x")\nm["cp", "tp"]._flatten("y")\n',
        _INIT
        + 'def f(big):\n    if big:\n        m["dp", "cp"]._flatten("x")\n    else:\n        m["cp", "tp"]._flatten("x")\n',
        _INIT
        + 'def f(big):\n    if big:\n        return m["dp", "cp"]._flatten("x")\n    return m["cp", "tp"]._flatten("x")\n',
    )

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:
        """Yield a finding where the name has other dims before it in the same function, or is a dim of the root."""
        mesh = _facts(site)
        if (
            site.role is not Role.FLATTEN
            or not site.names
            or not site.names[0]
            or mesh.dims is None
        ):
            return
        name = site.names[0]
        if mesh.root is not None and name in mesh.root and mesh.dims != (name,):
            fails, wrong = site.live & since("2.9"), site.live & since("2.5", "2.8")
            words = f"flattens ({', '.join(mesh.dims)}) to {name!r}, which is a dim of the root"
            yield self.finding(
                site,
                words + _ends(fails, wrong),
                name=name,
                fails=fails,
                wrong=wrong,
                replacement=_INSTEAD,
            )
            return
        before = [other for other in facts.flattened.get(name, ()) if _comes_before(other, site)]
        first = min(before, key=lambda other: other.span, default=None)
        if first is not None and _facts(first).dims not in {None, mesh.dims}:
            fails, wrong = site.live & since("2.10"), site.live & since("2.5", "2.9")
            words = f"flattens ({', '.join(mesh.dims)}) to {name!r}, which line {first.span.line} gave to other dims"
            yield self.finding(
                site,
                words + _ends(fails, wrong),
                name=name,
                fails=fails,
                wrong=wrong,
                replacement=_INSTEAD,
            )


def _comes_before(first: Site, second: Site) -> bool:
    """Whether one run of a function can reach both, on the same mesh, and this one first."""
    one, two = _facts(first), _facts(second)
    return (
        first.source is second.source
        and first.function == second.function
        and first.span < second.span
        and one.identity == two.identity
        and bool(one.identity)
        and not are_exclusive(first, second)
        and bool(first.live & second.live)
    )


def _ends(fails: Releases, wrong: Releases, what: str = "other ranks") -> str:
    parts = [f"it fails on {named(fails)}"] if fails else []
    parts += [f"it gives {what} on {named(wrong)}"] if wrong else []
    return ": " + "; ".join(parts) if parts else ""


class Redistribution(Rule):
    """MC208."""

    code = "MC208"
    title = "a mesh that is flattened, and a DTensor that is redistributed on its root"
    why = (
        "From 2.11 on, DTensor redistributes over several dims through their flattened mesh. If `_flatten` registered that mesh "
        "and the sizes do not divide, every rank gets wrong values without an error. A mesh that torch's registry does not know, "
        "such as `meshcompat.flatten` gives, does not do this."
    )
    before = 'mesh._flatten("all")\nwhole = tensor.redistribute(mesh, [Replicate(), Replicate()])'
    after = 'meshcompat.flatten(mesh, ("dp", "tp"), "all")\nwhole = tensor.redistribute(mesh, [Replicate(), Replicate()])'
    link = ISSUE + "194457"
    positive = (
        _INIT
        + 'def f(t):\n    m["dp", "cp"]._flatten("x")\n    return t.redistribute(m, [1, 1, 1])\n',
        _INIT
        + "from torch.distributed.tensor import distribute_tensor\ndef f(x):\n    t = distribute_tensor(x, m, [])\n"
        "    flat = m._flatten()\n    return t.full_tensor()\n",
        "from torch.distributed.device_mesh import DeviceMesh\nclass A:\n    def __init__(self, m: DeviceMesh):\n"
        '        self.flat = m._flatten("x")\n    def g(self, t):\n        return t.redistribute(placements=[1])\n',
    )
    negative = (
        _INIT + 'def f(t):\n    m["dp", "cp"]._flatten("x")\n    return t.reshape(3)\n',
        _INIT
        + 'def f(t):\n    m["dp", "cp"]._flatten("x")\ndef g(t):\n    return t.redistribute(m, [1, 1, 1])\n',
        _INIT
        + 'def f(t):\n    m["dp", "cp"]._flatten("x")\n    return t.redistribute(m["tp"], [1])\n',
    )
    guarded = (
        "import torch\n"
        + _INIT
        + 'def f(t):\n    if torch.__version__ < (2, 11):\n        m["dp", "cp"]._flatten("x")\n'
        "    return t.redistribute(m, [1, 1, 1])\n",
    )

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:
        """Yield a finding at the flattening where a redistribution stands in the same function or class."""
        mesh = _facts(site)
        if site.role is not Role.FLATTEN or (mesh.dims is not None and len(mesh.dims) == 1):
            return
        near = [
            other
            for other in facts.by_file.get(site.source.path, ())
            if other.role is Role.REDISTRIBUTE and _is_near(site, other)
        ]
        if not near:
            return
        sure = max(self._sure(site, other) for other in near)
        wrong = site.live & since("2.11") & near[0].live
        line = near[0].span.line
        words = f"flattens a mesh, and line {line} redistributes a DTensor: values may be wrong on torch {spans(wrong)}, without an error"
        found = self.finding(site, words, wrong=wrong, replacement=_INSTEAD)
        yield replace(found, confidence=min(found.confidence, sure))

    def _sure(self, site: Site, other: Site) -> Confidence:
        one, two = _facts(site), other.receiver.data
        return (
            Confidence.HIGH
            if isinstance(two, Mesh) and two.identity and two.identity == one.identity
            else Confidence.MEDIUM
        )


def _is_near(site: Site, other: Site) -> bool:
    if not (
        (site.class_name and site.class_name == other.class_name)
        or (site.function and site.function == other.function)
    ):
        return False
    mesh = other.receiver.data
    if not isinstance(mesh, Mesh):
        return True
    if mesh.dims is not None and len(mesh.dims) == 1:
        return False
    return not (mesh.identity and _facts(site).identity and mesh.identity != _facts(site).identity)


RULES: tuple[type[Rule], ...] = (OneDim, TakenName, Redistribution)
