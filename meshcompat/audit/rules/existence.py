"""Names that not every release has: attributes, imports and keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat.audit import torch_names
from meshcompat.audit.releases import ALL, NONE, Releases, spans
from meshcompat.audit.rules import replacements
from meshcompat.audit.rules.base import Rule, here, named
from meshcompat.audit.sites import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshcompat.audit.facts import Facts
    from meshcompat.audit.findings import Finding
    from meshcompat.audit.sites import Site

_LAYOUTS = (torch_names.LAYOUT, torch_names.FLAT_LAYOUT)
_TABLES = (torch_names.RESOURCES, torch_names.ENVIRONMENT)


class _Attribute(Rule):
    """An attribute of one of torch's classes."""

    owners: tuple[str, ...]

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding where some release that gets here lacks the name, or warns of it."""
        if site.role is not Role.ATTRIBUTE or site.owner not in self.owners or site.known is None:
            return
        releases = torch_names.on(site.known)
        fails = NONE if site.is_caught else site.live - releases
        warns = site.live & torch_names.warns_on(site.known)
        owner = site.owner.rpartition(".")[2]
        name = f"{owner}.{site.name}"
        words = f"{name} is there on torch {spans(releases)}"
        if fails:
            words += f", and this is reached on {here(fails, site)}"
        if warns:
            words += f"; it warns on {named(warns)}"
        yield self.finding(site, words, name=name, fails=fails, warns=warns,
                           replacement=self.replacement(site), link=site.known.link or "")  # fmt: skip

    def replacement(self, site: Site) -> str:
        """Return what to write instead."""
        return (site.known.replacement if site.known else "") or ""


_HEAD = "from torch.distributed.device_mesh import DeviceMesh, init_device_mesh, _mesh_resources\n"


class MeshAttribute(_Attribute):
    """MC101."""

    code = "MC101"
    title = "a member of DeviceMesh that some releases lack"
    owners = (torch_names.MESH,)
    why = (
        "Most of what frameworks use of DeviceMesh beyond its first methods is private, came with some release and changes "
        "without notice: `_flatten` came with 2.5; `_unflatten`, `_concatenate`, `_get_root_mesh`, `_layout` and "
        "`_flatten_mapping` with 2.10; `from_group` and `get_all_groups` with 2.4; `_dim_group_infos` went with 2.8. On a "
        "release that lacks the name the code ends with an AttributeError where it is reached, which may be hours into a job."
    )
    before = 'dp_cp = mesh["dp", "cp"]._flatten("dp_cp")'
    after = 'dp_cp = meshcompat.flatten(mesh, ("dp", "cp"), "dp_cp")'
    positive = (
        _HEAD + "def f(m: DeviceMesh):\n    return m._get_root_mesh()\n",
        _HEAD + 'm = init_device_mesh("cpu", (2, 2))\nm._flatten("a")\n',
        "import torch\ndef f(device_mesh):\n    return device_mesh._layout\n",
        _HEAD
        + 'def f(m: DeviceMesh):\n    return getattr(m, "_unflatten")(0, (2, 2), ("a", "b"))\n',
        _HEAD
        + "class Holder:\n    def __init__(self, world: DeviceMesh):\n        self.world = world\n"
        "    def f(self):\n        return self.world._dim_group_names\n",
        _HEAD
        + 'def f(m: DeviceMesh):\n    if hasattr(m, "_unflatten"):\n        return 1\n    return m._flatten("a")\n',
    )
    negative = (
        _HEAD + "def f(m: DeviceMesh):\n    return m.get_local_rank(), m.ndim, m.size(0)\n",
        "import torch\nfrom torch.nn.attention.flex_attention import BlockMask\ndef f(mesh: BlockMask):\n    return mesh._flatten()\n",
        "import torch\nfrom unittest.mock import Mock\nmesh = Mock()\nmesh._get_root_mesh()\n",
        "import torch\nimport trimesh\nmesh = trimesh.Trimesh()\nmesh._layout\n",
        "import torch\nfrom torch.utils._pytree import tree_unflatten\ndef _flatten(mesh):\n    return mesh\n_flatten(3)\n",
        "import torch\nfrom colossalai.device import DeviceMesh\ndef f(mesh: DeviceMesh):\n    return mesh._flatten()\n",
    )
    guarded = (
        _HEAD
        + 'def f(m: DeviceMesh):\n    if hasattr(m, "_get_root_mesh"):\n        return m._get_root_mesh()\n    return m\n',
        _HEAD
        + "def f(m: DeviceMesh):\n    try:\n        return m._get_root_mesh()\n    except AttributeError:\n        return m\n",
        _HEAD + 'def f(m: DeviceMesh):\n    return getattr(m, "_layout", None)\n',
        "import torch\nfrom packaging.version import Version\n" + _HEAD + "def f(m: DeviceMesh):\n"
        '    if Version(torch.__version__) < Version("2.10"):\n        raise RuntimeError\n    return m._get_root_mesh()\n',
    )


class TableAttribute(_Attribute):
    """MC102."""

    code = "MC102"
    title = "a member of _mesh_resources that some releases lack or warn of"
    owners = _TABLES
    why = (
        "`_mesh_resources` is torch's own memory of meshes up to 2.9. Its dicts were parent tables up to 2.4, root tables from "
        "2.5 to 2.9, and are gone from 2.10 on; `get_root_mesh` came with 2.5 (before, it was `get_parent_mesh`) and warns "
        "from 2.10 on. From 2.4 to 2.9 the tables are of one thread: in another thread the root of a submesh is lost."
    )
    before = "root = _mesh_resources.get_root_mesh(mesh)"
    after = "root = meshcompat.get_root_mesh(mesh)"
    positive = (
        _HEAD + "def f(m):\n    return _mesh_resources.get_root_mesh(m)\n",
        _HEAD + "def f(m):\n    return _mesh_resources.child_to_root_mapping.get(m)\n",
        "import torch.distributed.device_mesh as dm\ndef f(m):\n    return dm._mesh_resources.root_to_flatten_mapping\n",
    )
    negative = (
        _HEAD + "def f():\n    return _mesh_resources.get_current_mesh()\n",
        "import torch\nfrom mine import _mesh_resources\ndef f(m):\n    return _mesh_resources.get_root_mesh(m)\n",
    )
    guarded = (
        _HEAD + 'def f(m):\n    if hasattr(_mesh_resources, "child_to_root_mapping"):\n'
        "        return _mesh_resources.child_to_root_mapping.get(m)\n    return None\n",
    )


class LayoutAttribute(_Attribute):
    """MC105."""

    code = "MC105"
    title = "a member of torch's layout classes that some releases lack"
    owners = _LAYOUTS
    why = (
        "The layout class of meshes came with 2.10 as `_MeshLayout(shape, stride)` with `sizes`, `strides` and `coalesce`, and "
        "was replaced in 2.13 by one that holds `_FlatLayout`s: those attributes and the constructor's arguments are gone there."
    )
    before = "sizes = mesh._layout.sizes"
    after = "sizes = meshcompat.layout_of(mesh).shape"
    positive = (_HEAD + "def f(m: DeviceMesh):\n    return m._layout.sizes\n",)
    negative = (
        "import torch\nclass Layout:\n    sizes = 3\ndef f(mesh_layout: Layout):\n    return mesh_layout.sizes\n",
        _HEAD + "def f(m, batch):\n    return batch.sizes, batch.strides\n",
    )
    guarded = (
        _HEAD
        + "def f(m: DeviceMesh):\n    try:\n        return m._layout.sizes\n    except AttributeError:\n        return None\n",
    )

    def replacement(self, site: Site) -> str:  # noqa: ARG002
        """Return what to write instead."""
        return replacements.LAYOUT


class Keyword(Rule):
    """MC103."""

    code = "MC103"
    title = "a keyword argument that some releases do not take"
    why = (
        "`backend_override=` came with 2.9, `_init_backend=` with 2.3 (2.2 calls it `_init_process_groups=`), `_rank=`, "
        "`_layout=` and `_rank_map=` with 2.10. On an older release the call ends with a TypeError. Releases that lack the "
        "function itself are not counted here: another rule tells of it."
    )
    before = 'mesh = init_device_mesh("cuda", (8,), backend_override={0: "gloo"})'
    after = 'mesh = meshcompat.init_device_mesh("cuda", (8,), backend_override={0: "gloo"})'
    positive = (
        _HEAD + 'm = init_device_mesh("cpu", (8,), backend_override={0: "gloo"})\n',
        _HEAD + 'm = DeviceMesh("cpu", [0, 1], _init_backend=False)\n',
        _HEAD + 'def f(m: DeviceMesh):\n    return m._flatten("a", backend_override="gloo")\n',
        _HEAD + 'm = init_device_mesh("cpu", (8,), **{"backend_override": {0: "gloo"}})\n',
    )
    negative = (
        _HEAD + 'm = init_device_mesh("cpu", (8,), mesh_dim_names=("dp",))\n',
        "from mine import init_device_mesh\nm = init_device_mesh(backend_override={})\n",
        "import torch\ndef build(mesh, backend_override=None):\n    return mesh\nbuild(1, backend_override=2)\n",
    )
    guarded = (
        "import inspect\n"
        + _HEAD
        + 'if "backend_override" in inspect.signature(init_device_mesh).parameters:\n'
        '    m = init_device_mesh("cpu", (8,), backend_override={0: "gloo"})\n',
        _HEAD
        + 'try:\n    m = init_device_mesh("cpu", (8,), backend_override={})\nexcept TypeError:\n    m = init_device_mesh("cpu", (8,))\n',
    )

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding where some release has the function and not the keyword."""
        if site.role is not Role.KEYWORD or site.known is None:
            return
        releases = torch_names.parameter_releases(site.owner, site.name) or NONE
        missing = torch_names.on(site.known) - releases
        fails = NONE if site.is_caught else site.live & missing
        function = site.owner.rpartition(".")[2]
        words = f"{function}() takes {site.name}= on torch {spans(releases)}"
        if fails:
            words += f", and this is reached on {here(fails, site)}"
        instead = replacements.KEYWORDS.get(site.name, {}).get(function, "")
        if site.owner == torch_names.MESH and not instead:
            instead = replacements.CONSTRUCTOR
        yield self.finding(site, words, name=f"{function}({site.name}=)", fails=fails, replacement=instead,
                           link=site.known.link or "")  # fmt: skip


class Import(Rule):
    """MC104."""

    code = "MC104"
    title = "an import that some releases lack"
    why = (
        "`torch.distributed.DeviceMesh` and `torch.distributed.init_device_mesh` came with 2.4, the same names in "
        "`torch.distributed.tensor` with 2.5: `torch.distributed.device_mesh` has them on every release. The module "
        "`torch.distributed._mesh_layout` came with 2.10, and `_FlatLayout` in it with 2.13. An import that is missing keeps "
        "the whole module from loading."
    )
    before = "from torch.distributed import DeviceMesh"
    after = "from torch.distributed.device_mesh import DeviceMesh"
    positive = (
        "from torch.distributed._mesh_layout import _MeshLayout\n",
        "from torch.distributed import DeviceMesh\nmesh = 1\n",
        "import torch.distributed._mesh_layout as layout  # mesh\n",
        "import torch.distributed as dist\ndef f(mesh: int):\n    return dist.init_device_mesh('cpu', (2,))\n",
    )
    negative = (
        "from torch.distributed.device_mesh import DeviceMesh, init_device_mesh\n",
        "from torch.distributed.tensor import DTensor\nmesh = 1\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torch.distributed import DeviceMesh\n",
    )
    guarded = (
        "try:\n    from torch.distributed._mesh_layout import _MeshLayout\nexcept ImportError:\n    _MeshLayout = None\n",
        'import torch\nif torch.__version__ >= "2.10":\n    from torch.distributed._mesh_layout import _MeshLayout\n',
    )

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding where some release lacks what is imported."""
        if site.role is not Role.IMPORT or site.known is None:
            return
        releases: Releases = torch_names.on(site.known)
        fails = NONE if site.is_caught else site.live - releases
        name = f"{site.owner}.{site.name}"
        words = f"{name} is there on torch {spans(releases)}"
        if fails:
            words += f", and this is reached on {here(fails, site)}"
        if releases != ALL:
            yield self.finding(site, words, name=name, fails=fails, replacement=site.known.replacement or "",
                               link=site.known.link or "")  # fmt: skip


class Write(Rule):
    """MC106."""

    code = "MC106"
    title = "a write to torch's private state"
    why = (
        "torch's slicing, DTensor and FSDP2 read these private attributes on some releases and ignore them on others. "
        "What was right on the "
        "release that it was written for is silently something else on the next."
    )
    before = 'mesh._flatten_mapping["dp_cp"] = flat'
    after = 'meshcompat.register_axis(mesh, "dp_cp", group)'
    positive = (
        _HEAD + 'def f(m: DeviceMesh, flat):\n    m._flatten_mapping["x"] = flat\n',
        _HEAD + "def f(m: DeviceMesh):\n    m._dim_group_names = []\n",
        _HEAD + 'def f(m: DeviceMesh):\n    setattr(m, "_rank_map", None)\n',
        _HEAD + "def f(m: DeviceMesh, x):\n    m._flatten_mapping.update(x)\n",
        _HEAD + "def f(a, b):\n    _mesh_resources.child_to_root_mapping[a] = b\n",
    )
    negative = (
        _HEAD + "def f(m: DeviceMesh):\n    m.tag = 1\n",
        _HEAD + 'def f(m: DeviceMesh):\n    return m._flatten_mapping["x"]\n',
        "import torch\nclass Mine:\n    def __init__(self):\n        self._layout = 1\n        self._rank = 2\n",
    )

    def judge(self, site: Site, facts: Facts) -> Iterator[Finding]:  # noqa: ARG002
        """Yield a finding on every release that gets here."""
        if site.role is not Role.WRITE or site.known is None:
            return
        owner = site.owner.rpartition(".")[2]
        name = f"{owner}.{site.name}"
        words = f"writes {name}, which is torch's own ({spans(torch_names.on(site.known))})"
        yield self.finding(site, words, name=name, wrong=site.live, link=site.known.link or "",
                           replacement="meshcompat.register_axis(root, name, group)" if "flatten" in site.name else "")  # fmt: skip


RULES: tuple[type[Rule], ...] = (
    MeshAttribute,
    TableAttribute,
    Keyword,
    Import,
    LayoutAttribute,
    Write,
)
