"""Meshes written as plain data and read back, for checkpoints and other files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshcompat import _travel
from meshcompat._mesh.lookup import view_of

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def mesh_to_dict(mesh: DeviceMesh) -> dict[str, Any]:
    """Return *mesh* in dicts, lists, strings and integers, fit for JSON.

    `pickle`, `torch.save` and `copy.deepcopy` write the same of every mesh that meshcompat made
    or has seen, instead of torch's private state, which another release cannot read.

    Args:
        mesh: The root or any submesh.

    Returns:
        Device type, shape, names and ranks of the root, and the mesh dims by name and layout.

    Collective:
        No.

    Example:
        >>> from meshcompat import get_submesh, init_device_mesh, mesh_to_dict
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> mesh_to_dict(get_submesh(mesh, "tp"))["dims"]
        [['tp', [[4, 1]]]]
    """
    return _travel.to_plain(view_of(mesh))


def mesh_from_dict(data: object) -> DeviceMesh:
    """Return the mesh that `mesh_to_dict` wrote, in this world or in another one.

    The root must be there: one of the same device type, shape, names and ranks. Of several that
    are alike it is the one that as many were made before by `init_device_mesh` as where the mesh
    was written. So must its mesh dims: flatten and unflatten first.

    Args:
        data: What `mesh_to_dict` returned, also after JSON.

    Returns:
        The mesh of the ranks that were written, on the live root with the groups it has. A rank
        that is not among these ranks gets a mesh whose coordinate is None.

    Raises:
        MeshLayoutError: *data* is no mesh, no live root has these mesh dims, or roots are alike
            and which of them is meant cannot be told, because torch made it.

    Collective:
        No, and no process group is made.

    Example:
        >>> from meshcompat import get_submesh, init_device_mesh, mesh_from_dict, mesh_to_dict
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> tp = get_submesh(mesh, "tp")
        >>> mesh_from_dict(mesh_to_dict(tp)) is tp
        True
    """
    return _travel.from_plain(data)
