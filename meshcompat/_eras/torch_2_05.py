"""torch 2.5 to 2.9: a mesh is a tensor of ranks, and tables lead from child to root.

The tables are keyed by *value* and belong to one thread, so they mix up equal meshes and
forget in other threads. Flattened names live in them too, by the root dims they cover.
Up to 2.7 a mesh keeps its groups as tags and ranks, from 2.8 on by name.
"""

from __future__ import annotations

import functools
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d

from meshcompat import _layout
from meshcompat._eras import rank_tensors, torch_2_10

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._eras._primitives import Handle


def orders_groups() -> bool:
    return False


def preserves_order(root: DeviceMesh) -> bool:  # noqa: ARG001  (torch sorts the ranks of every group)
    return False


def root(mesh: DeviceMesh) -> DeviceMesh:
    # torch: _MeshEnv.child_to_root_mapping, since 2.5, gone in 2.10 - pytorch#132339, #164510
    found: DeviceMesh = _tables().child_to_root_mapping.get(mesh, mesh)
    return found


def group_handles(mesh: DeviceMesh) -> list[Handle] | None:
    if _has_group_names():
        return torch_2_10.group_handles(mesh)
    # torch: DeviceMesh._dim_group_infos, since 2.2, gone in 2.8 - pytorch#150898
    infos = getattr(mesh, "_dim_group_infos", None)
    return None if infos is None else list(infos)


def set_group_handles(mesh: DeviceMesh, handles: list[Handle]) -> None:
    if _has_group_names():
        torch_2_10.set_group_handles(mesh, handles)
    else:
        mesh._dim_group_infos = handles  # type: ignore[attr-defined]


def native_flattened(root: DeviceMesh) -> dict[str, DeviceMesh]:
    # torch: _MeshEnv.root_to_flatten_mapping, since 2.5, gone in 2.10 - pytorch#133195, #164510
    named = _tables().root_to_flatten_mapping.get(root, {})
    # The table answers for every equal root, also for one of a destroyed world: only the
    # link back says whose flattened mesh it is.
    roots = _tables().child_to_root_mapping
    return {name: mesh for name, mesh in named.items() if roots.get(mesh) is root}


def make_root(
    device_type: str,
    ranks: Sequence[int],
    shape: Sequence[int],
    names: tuple[str, ...] | None,
    *,
    keep_order: bool,  # noqa: ARG001  (no release of this era can)
) -> DeviceMesh:
    # torch: DeviceMesh(_init_backend=), since 2.3.1 - pytorch#124780
    return rank_tensors.mesh_over(
        device_type, ranks, shape, mesh_dim_names=names, _init_backend=False
    )


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


def make_detached(
    device_type: str,
    ranks: Sequence[int],
    shape: Sequence[int],
    names: tuple[str, ...] | None,
    rank: int | None,
) -> DeviceMesh:
    # Of this device type torch asks no world for its rank, and before 2.3 it begins none.
    mesh: Any = rank_tensors.mesh_over("xla", ranks, shape, mesh_dim_names=names)
    mesh.device_type = device_type
    # torch: DeviceMesh._coordinate_on_dim, since before 2.2
    mesh._coordinate_on_dim = rank_tensors.coordinate_in(mesh, rank)
    return mesh  # type: ignore[no-any-return]


def handle_for(root: DeviceMesh, group: ProcessGroup) -> Handle:
    if _has_group_names():
        return torch_2_10.handle_for(root, group)
    # torch: distributed_c10d._get_group_tag, since before 2.2
    tag = distributed_c10d._get_group_tag(group)
    return (tag, dist.get_process_group_ranks(group), group.group_name)


def forget_groups(root: DeviceMesh) -> None:
    """Do nothing: torch's meshes keep no groups, but names or ranks of them."""


def group_of(handle: Handle) -> ProcessGroup | None:
    if _has_group_names():
        return torch_2_10.group_of(handle)
    tag, ranks = handle[:2]  # type: ignore[index]
    # torch: distributed_c10d._find_pg_by_ranks_and_tag, since before 2.2
    return distributed_c10d._find_pg_by_ranks_and_tag(tag, ranks)


def publish_flattened(
    root: DeviceMesh, name: str, mesh: DeviceMesh, root_dims: tuple[int, ...]
) -> None:
    _tables().root_to_flatten_mapping.setdefault(root, {})[name] = mesh
    # torch: _MeshEnv.flatten_name_to_root_dims, since 2.5, gone in 2.10 - pytorch#133838, #163213
    _tables().flatten_name_to_root_dims.setdefault(root, {})[name] = root_dims


def is_thread_local() -> bool:
    # torch: _mesh_resources is threading.local, since 2.4 - pytorch#124555
    return True


def publishes_flattened() -> bool:
    return True


def wants_innermost() -> bool:
    return _has_tp_check()


def unlink(meshes: Sequence[DeviceMesh]) -> None:
    ours = {id(mesh) for mesh in meshes}
    roots, named = _tables().child_to_root_mapping, _tables().root_to_flatten_mapping
    # Keys are values: what stands under an equal mesh's key can be ours, and the other way round.
    for child in [child for child, root in roots.items() if id(root) in ours]:
        del roots[child]
    for root, flat in list(named.items()):
        for name in [name for name, mesh in flat.items() if id(mesh) in ours]:
            del flat[name]
            _tables().flatten_name_to_root_dims[root].pop(name, None)
        if not flat:
            del named[root]
            _tables().flatten_name_to_root_dims.pop(root, None)


def link(mesh: DeviceMesh, torch_root: DeviceMesh) -> None:
    # torch: _MeshEnv.child_to_root_mapping, since 2.5, gone in 2.10 - pytorch#132339, #164510
    _tables().child_to_root_mapping[mesh] = torch_root


def _tables() -> Any:

    # torch: device_mesh._mesh_resources, since 2.2 - pytorch#112294
    return device_mesh._mesh_resources


@functools.cache
def _has_tp_check() -> bool:
    # torch: tensor.parallel._utils._validate_tp_mesh_dim, since before 2.2, gone in 2.9 -
    # pytorch#111001. Importing the package takes seconds, so its file is looked for.
    folders = [str(Path(folder, "tensor", "parallel")) for folder in dist.__path__]
    return PathFinder.find_spec("_utils", folders) is not None


def _has_group_names() -> bool:
    # torch: device_mesh looks groups up by name, since 2.8 - pytorch#150898
    return hasattr(device_mesh, "_resolve_process_group")
