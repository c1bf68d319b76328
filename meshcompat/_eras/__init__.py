"""Which era is this torch? Asked of what it can do, not of its version string.

Everything that is private in torch is spelled in this folder, and nowhere else. To add a
torch release, see "A new torch came out" in CONTRIBUTING.md.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from torch.distributed import device_mesh

from meshcompat import _release
from meshcompat._eras import torch_2_02, torch_2_05, torch_2_10
from meshcompat._errors import UnsupportedTorchError

if TYPE_CHECKING:
    from meshcompat._eras._primitives import Primitives
    from meshcompat._eras._table_primitives import TablePrimitives

    # mypy holds every module against the protocol.
    _checked: tuple[Primitives, ...] = (torch_2_10,)
    _checked_tables: tuple[TablePrimitives, ...] = (torch_2_02, torch_2_05)


class Era(NamedTuple):
    """A run of torch minors that one module serves."""

    name: str
    oldest: tuple[int, int]
    newest: tuple[int, int]
    module: Primitives
    links: str
    """Which module of `meshcompat._mesh` tells torch where our meshes belong."""
    capability: tuple[str, str]
    """What a torch of this era, or of a newer one, can do: a class or object of
    ``torch.distributed.device_mesh``, and what it has."""


ERAS = (
    # torch: _MeshEnv.child_to_parent_mapping, since 2.2, gone in 2.5 - pytorch#107730, #132339
    Era(
        "parent tables",
        (2, 2),
        (2, 4),
        torch_2_02,
        "tables",
        ("_mesh_resources", "child_to_parent_mapping"),
    ),
    # torch: _MeshEnv.child_to_root_mapping, since 2.5, gone in 2.10 - pytorch#132339, #164510
    Era(
        "root tables",
        (2, 5),
        (2, 9),
        torch_2_05,
        "tables",
        ("_mesh_resources", "child_to_root_mapping"),
    ),
    # torch: DeviceMesh._get_root_mesh, since 2.10 - pytorch#164510
    Era(
        "layouts",
        (2, 10),
        _release.NEWEST_TESTED,
        torch_2_10,
        "one_root",
        ("DeviceMesh", "_get_root_mesh"),
    ),
)
"""Oldest first, without a gap."""


def primitives() -> Primitives:
    """Return the primitives of the torch that is installed.

    Raises:
        UnsupportedTorchError: This torch can do nothing that an era needs.
    """
    return era().module


@functools.cache
def is_known() -> bool:
    """Return whether all that is made on this torch was compared with arithmetic in tests."""
    return _release.is_public(_release.installed_torch())


@functools.cache
def era() -> Era:
    """Return the era of the torch that is installed, and warn once where it is untested."""
    version = _release.installed_torch()
    _release.require_floor(version)
    found = detected()
    if found is None:
        tested = ".".join(map(str, _release.NEWEST_TESTED))
        raise UnsupportedTorchError(
            f"torch {version} has none of the DeviceMesh internals of torch 2.2 to {tested}; "
            f"install one of these, or a newer meshcompat"
        )
    _release.warn_if_untested(version)
    return found


def detected() -> Era | None:
    """Return the newest era whose capability this torch has; it neither refuses nor warns."""
    for known in reversed(ERAS):
        owner, name = known.capability
        if hasattr(getattr(device_mesh, owner, None), name):
            return known
    return None
