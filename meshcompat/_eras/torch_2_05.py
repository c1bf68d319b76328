"""torch 2.5 to 2.9: a mesh is a tensor of ranks, and tables lead from child to root.

The tables are keyed by *value* and belong to one thread, so they mix up equal meshes and
forget in other threads. Flattened names live in them too, by the root dims they cover.
"""

from __future__ import annotations

import functools
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d

from meshcompat._eras import torch_2_02
from meshcompat._eras.torch_2_02 import (
    _tables,
    has_one_root,
    is_thread_local,
    make_outside,
    make_root,
    make_submesh,
    orders_groups,
)

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._eras._primitives import Handle

__all__ = [
    "group_handles",
    "group_of",
    "handle_for",
    "has_one_root",
    "is_thread_local",
    "link",
    "make_outside",
    "make_root",
    "make_submesh",
    "native_flattened",
    "orders_groups",
    "publish_flattened",
    "publishes_flattened",
    "root",
    "set_group_handles",
    "wants_innermost",
]


def publishes_flattened() -> bool:
    return True


def wants_innermost() -> bool:
    return _has_tp_check()


def root(mesh: DeviceMesh) -> DeviceMesh:
    # torch: _MeshEnv.child_to_root_mapping, since 2.5, gone in 2.10 - pytorch#132339, #164510
    found: DeviceMesh = _tables().child_to_root_mapping.get(mesh, mesh)
    return found


def group_handles(mesh: DeviceMesh) -> list[Handle] | None:
    if not _has_group_names():
        return torch_2_02.group_handles(mesh)
    # torch: DeviceMesh._dim_group_names, since 2.8 - pytorch#150898
    names = getattr(mesh, "_dim_group_names", None)
    return None if names is None else list(names)


def set_group_handles(mesh: DeviceMesh, handles: list[Handle]) -> None:
    if _has_group_names():
        mesh._dim_group_names = handles  # type: ignore[assignment]
    else:
        torch_2_02.set_group_handles(mesh, handles)


def native_flattened(root: DeviceMesh) -> dict[str, DeviceMesh]:
    tables = _tables()
    # torch: _MeshEnv.root_to_flatten_mapping, since 2.5, gone in 2.10 - pytorch#133195, #164510
    named = tables.root_to_flatten_mapping.get(root, {})
    # The table answers for every equal root, also for one of a destroyed world: only the
    # link back says whose flattened mesh it is.
    return {
        name: mesh for name, mesh in named.items() if tables.child_to_root_mapping.get(mesh) is root
    }


def link(mesh: DeviceMesh, torch_root: DeviceMesh) -> None:
    # torch: _MeshEnv.child_to_root_mapping, since 2.5, gone in 2.10 - pytorch#132339, #164510
    _tables().child_to_root_mapping[mesh] = torch_root


def handle_for(root: DeviceMesh, group: ProcessGroup) -> Handle:
    if _has_group_names():
        return group.group_name
    return torch_2_02.handle_for(root, group)


def group_of(handle: Handle) -> ProcessGroup | None:
    if not _has_group_names():
        return torch_2_02.group_of(handle)
    c10d: Any = distributed_c10d
    try:
        # torch: distributed_c10d._resolve_process_group, since 2.3
        group: ProcessGroup = c10d._resolve_process_group(handle)
    except (RuntimeError, ValueError):
        return None
    return group


def publish_flattened(
    root: DeviceMesh, name: str, mesh: DeviceMesh, root_dims: tuple[int, ...]
) -> None:
    tables = _tables()
    tables.root_to_flatten_mapping.setdefault(root, {})[name] = mesh
    # torch: _MeshEnv.flatten_name_to_root_dims, since 2.5, gone in 2.10 - pytorch#133838, #163213
    tables.flatten_name_to_root_dims.setdefault(root, {})[name] = root_dims


@functools.cache
def _has_tp_check() -> bool:
    # torch: tensor.parallel._utils._validate_tp_mesh_dim, since before 2.2, gone in 2.9 -
    # pytorch#111001. Importing the package takes seconds, so its file is looked for.
    folders = [str(Path(folder, "tensor", "parallel")) for folder in dist.__path__]
    return PathFinder.find_spec("_utils", folders) is not None


def _has_group_names() -> bool:
    # torch: device_mesh looks groups up by name, since 2.8 - pytorch#150898
    return hasattr(device_mesh, "_resolve_process_group")
