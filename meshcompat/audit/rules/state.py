"""Meshes made of another mesh's ranks, torch's words matched, and torch's tables emptied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit.rules.base import ISSUE, PULL, Rule, named
from meshcompat.audit.sites import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.facts import Facts
    from meshcompat.audit.findings import Finding
    from meshcompat.audit.sites import Site

_HEAD = "from torch.distributed.device_mesh import DeviceMesh, init_device_mesh, _mesh_resources\n"


class Rebuilt(Rule):
    """MC204."""

    code = "MC204"
    title = "a DeviceMesh made of another mesh's ranks"
    why = (
        "Every call makes new process groups, and the mesh is a root of its own: FSDP2, TP and DTensor refuse it beside submeshes "
        "of the first, or treat them as unrelated. Where ranks hold different parts of the first mesh, such as pipeline stages, "
        "they create different groups under one name: with two stages, 8 gloo ranks gave wrong sums, or hung, on 2.9 and 2.15."
    )
    before = 'moe = DeviceMesh(flat.device_type, flat.mesh.reshape(2, 4), mesh_dim_names=("ep_shard", "ep"))'
    after = 'moe = meshcompat.unflatten(flat, 0, (2, 4), ("ep_shard", "ep"))'
    link = PULL + "162690"
    positive = (
        _HEAD + 'def f(m: DeviceMesh):\n    return DeviceMesh("cpu", m.mesh.reshape(2, -1))\n',
        _HEAD
        + 'def f(m: DeviceMesh):\n    ranks = m.mesh.view(2, 2)\n    return DeviceMesh("cpu", mesh=ranks, mesh_dim_names=("a", "b"))\n',
        _HEAD
        + 'def f(m: DeviceMesh):\n    return DeviceMesh(m.device_type, m.mesh.flatten(), mesh_dim_names=("a",))\n',
    )
    negative = (
        _HEAD
        + "import torch\ndef f():\n    return DeviceMesh('cpu', torch.arange(8).reshape(2, 4))\n",
        _HEAD + "def f(m: DeviceMesh):\n    return m.mesh.reshape(2, -1)\n",
        "import torch\nfrom mine import DeviceMesh\ndef f(mesh):\n    return DeviceMesh('cpu', mesh.mesh.reshape(2, -1))\n",
    )

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding on every release that gets here."""
        if site.role is Role.REBUILD:
            words = "makes a DeviceMesh of another mesh's ranks: new groups on each call, a root of its own, and a hang where ranks differ"
            yield self.finding(
                site,
                words,
                wrong=site.live,
                replacement="meshcompat.unflatten or meshcompat.get_submesh",
            )


class ErrorText(Rule):
    """MC209."""

    code = "MC209"
    title = "code that depends on the words or the kind of torch's error"
    why = (
        "torch words its errors about meshes anew with almost every release, and raises other exceptions: a slice of a slice raises "
        "RuntimeError up to 2.8 and nothing from 2.9 on; a rank outside the mesh gets an UnboundLocalError from `_flatten` on 2.5 to "
        "2.9, and somebody else's mesh from 2.10 on. A match that held is silently never true again."
    )
    before = 'except RuntimeError as error:\n    if "submesh" in str(error): ...'
    after = "except meshcompat.MeshDimError: ..."
    link = ISSUE + "118614"
    positive = (
        _HEAD
        + 'def f(m: DeviceMesh):\n    try:\n        return m["a", "b"]\n    except RuntimeError as e:\n'
        '        if "submesh" in str(e):\n            return None\n        raise\n',
        _HEAD
        + "def f(m: DeviceMesh):\n    try:\n        return m._flatten()\n    except UnboundLocalError:\n        return None\n",
    )
    negative = (
        _HEAD
        + 'def f(m: DeviceMesh):\n    try:\n        return open("x")\n    except OSError as e:\n'
        '        if "submesh" in str(e):\n            return None\n        raise\n',
        _HEAD
        + 'def f(m: DeviceMesh):\n    try:\n        return m["a", "b"]\n    except RuntimeError as e:\n        raise ValueError(str(e)) from e\n',
    )

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding on every release that gets here."""
        if site.role is Role.ERROR_TEXT:
            words = f"looks for {site.name!r} in the text of an error about a mesh: torch words them by release"
            yield self.finding(
                site, words, wrong=site.live, replacement="catch meshcompat's errors"
            )
        elif site.role is Role.ERROR_TYPE:
            words = f"catches {site.name}, which a fault of torch raises on some releases only"
            yield self.finding(
                site, words, wrong=site.live, replacement="meshcompat.is_member(mesh)"
            )


class Cleared(Rule):
    """MC210."""

    code = "MC210"
    title = "torch's tables that are emptied"
    why = (
        "The tables of `_mesh_resources` are gone from 2.10 on. Before, emptying them takes the root from every submesh that the "
        "process still has; FSDP2 and TP then refuse them. From 2.10 on the state is kept on the root, and dropping the mesh drops it."
    )
    before = "_mesh_resources.child_to_root_mapping.clear()"
    after = "meshcompat.destroy_mesh(mesh)"
    link = PULL + "163213"
    positive = (
        _HEAD + "def f():\n    _mesh_resources.child_to_root_mapping.clear()\n",
        _HEAD + "def f(m: DeviceMesh):\n    m._flatten_mapping.clear()\n",
    )
    negative = (
        _HEAD + "def f(cache):\n    cache.child_to_root_mapping.clear()\n",
        "import torch\ndef f(mesh_cache):\n    mesh_cache.clear()\n",
    )

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding on every release that gets here."""
        if site.role is Role.CLEAR:
            owner = site.owner.rpartition(".")[2]
            words = f"empties {owner}.{site.name}, which torch and every mesh of the process read on {named(site.live)}"
            yield self.finding(
                site,
                words,
                name=f"{owner}.{site.name}",
                wrong=site.live,
                replacement="meshcompat.destroy_mesh(mesh)",
            )


RULES: tuple[type[Rule], ...] = (Rebuilt, ErrorText, Cleared)
