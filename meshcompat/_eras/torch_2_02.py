"""torch 2.2 to 2.4: a mesh is a tensor of ranks, and a table leads from child to parent.

No flattening, no root: a parent may itself be a child. 2.2 and 2.3 hash a mesh by identity;
2.4 has the parent and the thread in equality and hash.
"""

from __future__ import annotations

import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _layout
from meshcompat._eras import rank_tensors, torch_2_05
from meshcompat._eras.torch_2_05 import (
    _tables,
    forget_groups,
    group_handles,
    group_of,
    make_detached,
    orders_groups,
    preserves_order,
    set_group_handles,
)
from meshcompat._errors import UnsupportedTorchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.distributed import ProcessGroup

    from meshcompat._eras._primitives import Handle

__all__ = [
    "forget_groups",
    "group_handles",
    "group_of",
    "handle_for",
    "is_thread_local",
    "link",
    "make_detached",
    "make_outside",
    "make_root",
    "make_submesh",
    "native_flattened",
    "orders_groups",
    "preserves_order",
    "publish_flattened",
    "publishes_flattened",
    "root",
    "set_group_handles",
    "unlink",
    "wants_innermost",
]


def root(mesh: DeviceMesh) -> DeviceMesh:
    # torch: _MeshEnv.get_parent_mesh, since 2.2, gone in 2.5 - pytorch#107730, #132339
    parent = _tables().get_parent_mesh(mesh)
    while parent is not None:
        mesh, parent = parent, _tables().get_parent_mesh(parent)
    return mesh


def native_flattened(root: DeviceMesh) -> dict[str, DeviceMesh]:  # noqa: ARG001  (no flattening)
    return {}


def make_root(
    device_type: str,
    ranks: Sequence[int],
    shape: Sequence[int],
    names: tuple[str, ...] | None,
    *,
    keep_order: bool,
) -> DeviceMesh:
    if "_init_process_groups" in _constructor():
        # torch: DeviceMesh(_init_process_groups=), since 2.2, gone in 2.3 - pytorch#96700
        without_groups: dict[str, Any] = {"_init_process_groups": False}
        return rank_tensors.mesh_over(
            device_type, ranks, shape, mesh_dim_names=names, **without_groups
        )
    # torch: DeviceMesh(_init_backend=), since 2.3.1 - pytorch#124780
    if "_init_backend" not in _constructor():
        raise UnsupportedTorchError(
            "torch 2.3.0 makes new process groups with every mesh, also with a slice of one; "
            "use torch 2.3.1 or newer"
        )
    return torch_2_05.make_root(device_type, ranks, shape, names, keep_order=keep_order)


def make_submesh(
    root: DeviceMesh,
    ranks: Callable[[], Sequence[int]],
    dims: Sequence[tuple[tuple[int, int], ...]],
    names: tuple[str, ...] | None,
) -> DeviceMesh:
    shape = [_layout.size_of(dim) for dim in dims]
    return make_root(root.device_type, ranks(), shape, names, keep_order=False)


def make_outside(
    root: DeviceMesh,
    ranks: Sequence[int],
    shape: Sequence[int],
    names: tuple[str, ...] | None,
) -> DeviceMesh:
    return make_root(root.device_type, ranks, shape, names, keep_order=False)


def handle_for(root: DeviceMesh, group: ProcessGroup) -> Handle:
    if "_init_process_groups" not in _constructor():
        return torch_2_05.handle_for(root, group)
    # torch: _dim_group_infos has two entries, since 2.2, gone in 2.3 - pytorch#118423
    # torch: distributed_c10d._get_group_tag, since before 2.2
    return (distributed_c10d._get_group_tag(group), dist.get_process_group_ranks(group))


def publish_flattened(
    root: DeviceMesh, name: str, mesh: DeviceMesh, root_dims: tuple[int, ...]
) -> None:
    """Do nothing: torch has no registry to write to."""


def is_thread_local() -> bool:
    # torch: _mesh_resources is threading.local, since 2.4 - pytorch#124555
    return isinstance(_tables(), threading.local)


def publishes_flattened() -> bool:
    return False


def wants_innermost() -> bool:
    return True


def unlink(meshes: Sequence[DeviceMesh]) -> None:
    ours = {id(mesh) for mesh in meshes}
    parents = _tables().child_to_parent_mapping
    for child in [child for child, parent in parents.items() if id(parent) in ours]:
        del parents[child]


def link(mesh: DeviceMesh, torch_root: DeviceMesh) -> None:
    if hasattr(mesh, "_parent_mesh"):
        # torch: DeviceMesh._parent_mesh, since 2.4, gone in 2.5 - pytorch#123572, #131636.
        # It is part of the hash, so it is set before the mesh becomes a key.
        mesh._parent_mesh = torch_root
        mesh.__dict__.pop("_hash", None)
    elif torch_root.ndim != 2:
        # TP of 2.2 and 2.3 refuses a parent that is not 2-D, and takes a mesh without one.
        return
    # torch: _MeshEnv.child_to_parent_mapping, since 2.2, gone in 2.5 - pytorch#107730, #132339
    _tables().child_to_parent_mapping[mesh] = torch_root


@functools.cache
def _constructor() -> Any:
    return inspect.signature(DeviceMesh.__init__).parameters
