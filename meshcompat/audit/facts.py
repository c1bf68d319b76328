"""What a project's sites tell together: which names are flattened, and which are dims of meshes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshcompat.audit.sites import Role
from meshcompat.audit.values import Mesh

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshcompat.audit.sites import Site


@dataclass
class Facts:
    """What rules ask beside the site itself."""

    flattened: dict[str, list[Site]] = field(default_factory=dict)
    """Where each name is given to a flattened mesh."""
    by_file: dict[str, list[Site]] = field(default_factory=dict)
    """All sites of a file."""
    natives: dict[str, set[str]] = field(default_factory=dict)
    """Names of mesh dims that a file gives when it makes meshes."""
    asked: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Names that a function asks for among the dims of a mesh: what it looks up then is one of them."""


def gather(sites: Iterable[Site]) -> Facts:
    """Return the facts of a project."""
    facts = Facts()
    for site in sites:
        facts.by_file.setdefault(site.source.path, []).append(site)
        if site.role is Role.FLATTEN and site.names and site.names[0]:
            facts.flattened.setdefault(site.names[0], []).append(site)
        if site.role is Role.DIM_TEST:
            facts.asked.setdefault((site.source.path, site.function), set()).update(site.names)
        receiver = site.receiver.data
        if isinstance(receiver, Mesh) and receiver.dims and not receiver.is_submesh:
            facts.natives.setdefault(site.source.path, set()).update(receiver.dims)
    return facts
