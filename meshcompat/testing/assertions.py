"""What a mesh must be on this rank, said in one statement.

Here belongs the comparison of a mesh with plain lists. It makes no group and talks to nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.distributed as dist

import meshcompat as mc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.distributed.device_mesh import DeviceMesh


def assert_mesh(
    mesh: DeviceMesh,
    *,
    ranks: Any = None,
    groups: Mapping[str, Sequence[int]] | None = None,
    names: Sequence[str] | None = None,
    coordinate: Sequence[int] | None = None,
) -> None:
    """Assert that *mesh* is what it should be on this rank.

    Only what is given is compared. One error lists everything that differs.

    Args:
        mesh: Any mesh.
        ranks: Its ranks, as nested lists of the mesh's shape, or anything with ``tolist()``.
        groups: For mesh dims by name, native or flattened: the ranks of this rank's process
            group, in the group's order. Both what the mesh lists and the group itself are
            compared.
        names: Its mesh dim names.
        coordinate: This rank's index along each mesh dim.

    Raises:
        AssertionError: Something differs; the text says what, and on which rank.
        ValueError: There is nothing to compare with.
        MeshDimError: The mesh has no dim of a name in *groups*.

    Collective:
        No.

    Example:
        >>> import meshcompat as mc
        >>> from meshcompat.testing import fake_world
        >>> with fake_world(4, rank=3):
        ...     mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        ...     assert_mesh(mesh, ranks=[[0, 1], [2, 3]], groups={"dp": [1, 3], "tp": [2, 3]})
    """
    __tracebackhide__ = True  # pytest then shows the line of the test
    if ranks is None and groups is None and names is None and coordinate is None:
        raise ValueError(
            "assert_mesh was given nothing to compare with: give ranks, groups, names or coordinate"
        )
    differences = []
    if ranks is not None:
        differences += _difference("ranks", mesh.mesh.tolist(), _listed(ranks))
    if names is not None:
        differences += _difference("mesh dim names", mesh.mesh_dim_names, tuple(names))
    if coordinate is not None:
        own = mesh.get_coordinate()
        differences += _difference("coordinate", None if own is None else list(own), [*coordinate])
    for name, members in (groups or {}).items():
        expected = _listed(members)
        differences += _difference(f"{name!r}: listed ranks", mc.get_ranks(mesh, name), expected)
        group = mc.get_flat_mesh(mesh, name).get_group()
        met = dist.get_process_group_ranks(group)
        differences += _difference(f"{name!r}: ranks of the process group", met, expected)
    if differences:
        told = "\n".join(differences)
        raise AssertionError(f"the mesh differs on rank {dist.get_rank()}:\n{told}")


def _difference(what: str, found: object, expected: object) -> list[str]:
    if found == expected:
        return []
    return [f"  {what}: {found}, and should be {expected}"]


def _listed(values: Any) -> Any:
    """Return nested values as nested lists."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, (list, tuple, range)):
        return [_listed(value) for value in values]
    return values
