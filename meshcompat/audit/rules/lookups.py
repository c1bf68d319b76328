"""Slicing a mesh by names: where releases disagree about which names, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit.releases import ALL, NONE, Releases, since
from meshcompat.audit.rules.base import ISSUE, PULL, Rule, here, named
from meshcompat.audit.sites import Role
from meshcompat.audit.values import Confidence, Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.facts import Facts
    from meshcompat.audit.findings import Finding
    from meshcompat.audit.sites import Site

PUBLISHED = frozenset({"dp_shard_cp", "dp_cp"})
"""Names that accelerate, torchtitan and others give to flattened dims, which packages beside them slice."""

_INIT = (
    "from torch.distributed.device_mesh import DeviceMesh, init_device_mesh\n"
    'm = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("dp", "cp", "tp"))\n'
)


def is_joined(name: str, site: Site, facts: Facts) -> bool:
    """Whether a name that is looked up is one that some code flattens, and no native dim of that mesh."""
    receiver = _facts(site)
    native = receiver.root if receiver.is_submesh else receiver.dims
    if native is not None and name in native:
        return False
    if name in facts.asked.get((site.source.path, site.function), ()):
        return False
    if native is None and name in facts.natives.get(site.source.path, ()):
        return False
    return name in facts.flattened or name in PUBLISHED


def _facts(site: Site) -> Mesh:
    return site.receiver.data if isinstance(site.receiver.data, Mesh) else Mesh(site.confidence)


def _is_own(site: Site) -> bool:
    """Whether a mesh is sliced by all of its own names, which gives the mesh itself."""
    return _facts(site).dims == site.names


def _asked(site: Site) -> str:
    return ", ".join(map(repr, site.names))


def _shown(site: Site) -> str:
    return f"({_asked(site)})" if len(site.names) > 1 else _asked(site)


def _instead(site: Site) -> str:
    if len(site.names) == 1:
        return f"meshcompat.get_flat_mesh(mesh, {site.names[0]!r})"
    return f"meshcompat.get_submesh(mesh, ({_asked(site)}))"


class JoinedName(Rule):
    """MC201."""

    code = "MC201"
    title = "a flattened name that is looked up by slicing"
    why = (
        "There are no flattened names up to 2.4. From 2.10 on the look-up warns that it will go. On 2.5 it raises an "
        "IndexError for a name that joins three dims or more. From 2.5 to 2.9, if the joined dims are not neighbours, the mesh "
        "that comes back has other ranks than its process group, silently; 2.10 to 2.12 raise NotImplementedError."
    )
    before = 'hsdp = mesh["dp_replicate", "dp_shard_cp"]'
    after = 'hsdp = meshcompat.get_submesh(mesh, ("dp_replicate", "dp_shard_cp"))'
    link = PULL + "164993"
    positive = (
        _INIT + 'm["dp", "cp"]._flatten("dp_cp")\nx = m["dp_cp"]\n',
        _INIT + 'kept = m["dp", "tp"]._flatten("far")\nx = m["far"]\n',
        'import torch\ndef f(device_mesh):\n    return device_mesh[("dp_replicate", "dp_shard_cp")]\n',
    )
    negative = (
        _INIT + 'x = m["dp"]\n',
        _INIT + 'flat = m["dp", "cp"]._flatten("both")\nx = {"both": 1}\ny = x["both"]\n',
        "from torch.distributed.device_mesh import init_device_mesh\n"
        'm = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp_cp", "tp"))\nx = m["dp_cp"]\n',
    )
    guarded = (
        'import torch\ndef f(mesh):\n    if (2, 5) <= torch.__version__ and torch.__version__ < (2, 10):\n        return mesh["dp_cp"]\n',
    )

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:
        """Yield a finding where a joined name is among those that are looked up."""
        if site.role is not Role.LOOKUP or _is_own(site):
            return
        joined = [name for name in site.names if is_joined(name, site, facts)]
        if not joined:
            return
        fails, wrong = self._where(joined, facts)
        live = site.live
        fails, wrong, warns = fails & live, wrong & live, since("2.10") & live - fails
        if site.is_caught:
            fails = NONE
        words = f"looks the flattened name {joined[0]!r} up by slicing"
        parts = [f"it fails on {here(fails, site)}"] if fails else []
        parts += [f"it gives other ranks than its process group on {named(wrong)}"] if wrong else []
        parts += [f"it warns on {named(warns)}"] if warns else []
        found = self.finding(site, "; ".join([words, *parts]), name=joined[0], fails=fails, warns=warns, wrong=wrong,
                             replacement=_instead(site))  # fmt: skip
        yield found if joined[0] in facts.flattened else _at_most(found, Confidence.MEDIUM)

    def _where(self, joined: list[str], facts: Facts) -> tuple[Releases, Releases]:
        """Return where the look-up fails and where it is wrong, by what is known of the flattening."""
        fails, wrong = since("2.2", "2.4"), NONE
        for name in joined:
            for made in facts.flattened.get(name, ()):
                mesh = _facts(made)
                if mesh.dims is not None and len(mesh.dims) > 2:
                    fails |= since("2.5", "2.5")
                if mesh.dims and mesh.root and not _are_neighbours(mesh.dims, mesh.root):
                    wrong |= since("2.5", "2.9")
                    fails |= since("2.10", "2.12")
        return fails, wrong


def _at_most(finding: Finding, confidence: Confidence) -> Finding:
    from dataclasses import replace  # noqa: PLC0415

    return replace(finding, confidence=min(finding.confidence, confidence))


def _are_neighbours(names: tuple[str, ...], dims: tuple[str, ...]) -> bool:
    places = [dims.index(name) for name in names if name in dims]
    return len(places) == len(names) and places == list(range(places[0], places[0] + len(places)))


class Order(Rule):
    """MC202."""

    code = "MC202"
    title = "mesh dims that are sliced out of their order"
    why = (
        "torch's documentation promises a slice in the order of the names; 2.4 gives it, every other release raises a KeyError "
        "where the names do not follow the order of the mesh's dims."
    )
    before = 'model_parallel = mesh["tp", "pp"]'
    after = 'model_parallel = meshcompat.get_submesh(mesh, ("tp", "pp"))'
    link = ISSUE + "159013"
    positive = (_INIT + 'x = m["cp", "dp"]\n', _INIT + 'x = m[("tp", "cp")]\n')
    negative = (
        _INIT + 'x = m["dp", "tp"]\n',
        'import torch\ndef f(mesh):\n    return mesh["tp", "dp"]\n',
    )
    guarded = (_INIT + 'try:\n    x = m["cp", "dp"]\nexcept KeyError:\n    x = None\n',)

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding where the mesh's dims are known and the names do not ascend."""
        if not is_out_of_order(site):
            return
        fails = NONE if site.is_caught else site.live & (ALL - since("2.4", "2.4"))
        dims = _facts(site).dims
        words = f"slices {_shown(site)} of a mesh with {dims}: it fails on {here(fails, site)}; 2.4 alone gives that order"
        yield self.finding(site, words, name=_asked(site), fails=fails, replacement=_instead(site))


def is_out_of_order(site: Site) -> bool:
    """Whether names of a known mesh do not ascend."""
    dims = _facts(site).dims
    if site.role is not Role.LOOKUP or dims is None or not set(site.names) <= set(dims):
        return False
    places = [dims.index(name) for name in site.names]
    return places != sorted(places)


class SliceOfSlice(Rule):
    """MC203."""

    code = "MC203"
    title = "a slice of a slice"
    why = (
        'From 2.5 to 2.8 slicing what was sliced raises "Cannot create a submesh from a submesh", and 2.9 warns of it; 2.2 and '
        "2.3 take one name only, and cannot slice a 1-D mesh. It works on 2.4 and from 2.10 on."
    )
    before = 'dp = mesh["dp", "cp"]["dp"]'
    after = 'dp = meshcompat.get_submesh(meshcompat.get_submesh(mesh, ("dp", "cp")), "dp")'
    link = ISSUE + "143194"
    positive = (
        _INIT + 'x = m["dp", "cp"]["dp"]\n',
        _INIT + 'sub = m["dp", "cp"]\ndef f():\n    return sub["cp"]\n',
        "from torch.distributed.device_mesh import DeviceMesh\n"
        'def g(mesh: DeviceMesh):\n    inner = mesh["cp", "tp"]\n    return inner["tp"].get_group()\n',
    )
    negative = (
        _INIT + 'x = m["dp"]["dp"]\n',
        _INIT + 'x = m["dp"].mesh[0]\n',
        'import torch\ndef f(meshes):\n    return meshes["a"]["dp"]\n',
    )
    guarded = (_INIT + 'if hasattr(m, "_unflatten"):\n    x = m["dp", "cp"]["dp"]\n',)

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding where the mesh that is sliced was sliced itself."""
        mesh = _facts(site)
        if site.role is not Role.LOOKUP or not mesh.is_submesh or mesh.is_flat or _is_own(site):
            return
        caught = site.is_caught
        fails = NONE if caught else site.live & (since("2.5", "2.8") | since("2.2", "2.3"))
        warns = site.live & since("2.9", "2.9")
        words = f"slices {_shown(site)} of a submesh: it fails on {here(fails, site)}"
        yield self.finding(site, words + (f", and warns on {named(warns)}" if warns else ""), name=_asked(site), fails=fails,
                           warns=warns, replacement=f"meshcompat.get_submesh(mesh, {_shown(site)})")  # fmt: skip


class SeveralNames(Rule):
    """MC205."""

    code = "MC205"
    title = "a slice by several names"
    why = "2.2 and 2.3 slice by one name only (a KeyError); 2.4 takes several if the dims are neighbours; from 2.5 on any that ascend."
    before = 'sub = mesh["dp", "tp"]'
    after = 'sub = meshcompat.get_submesh(mesh, ("dp", "tp"))'
    link = ISSUE + "126530"
    positive = (
        _INIT + 'x = m["dp", "cp"]\n',
        'import torch\ndef f(device_mesh):\n    return device_mesh["dp", "tp"]\n',
    )
    negative = (
        _INIT + 'x = m["dp"]\n',
        "import numpy as np\nmesh = np.zeros(3)\nx = mesh['a', 'b']\n",
        'import torch\nimport pandas as pd\nmesh = pd.DataFrame()\nx = mesh["a", "b"]\n',
    )
    guarded = (_INIT + 'if hasattr(m, "_flatten"):\n    x = m["dp", "cp"]\n',)

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:
        """Yield a finding where several names are given, unless a rule that says more has one."""
        if (
            site.role is not Role.LOOKUP
            or len(site.names) < 2
            or is_out_of_order(site)
            or (_is_own(site) and _facts(site).is_submesh)
        ):
            return
        if any(is_joined(name, site, facts) for name in site.names):
            return
        dims = _facts(site).dims
        fails = since("2.2", "2.3")
        if (
            dims is not None
            and set(site.names) <= set(dims)
            and not _are_neighbours(site.names, dims)
        ):
            fails |= since("2.4", "2.4")
        fails = NONE if site.is_caught else fails & site.live
        words = f"slices by several names ({_asked(site)}): it fails on {here(fails, site)}"
        yield self.finding(site, words, name=_asked(site), fails=fails, replacement=_instead(site))


RULES: tuple[type[Rule], ...] = (JoinedName, Order, SliceOfSlice, SeveralNames)
