"""torch 2.10 and newer: a mesh is a layout over its root's rank map, and keeps its root.

2.13 rebuilt the layout class; 2.11 added a registry of groups to the root; 2.15 can keep the
order of ranks in a group. Each is a probe below.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh

from meshcompat._eras import rank_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.distributed import ProcessGroup

    from meshcompat._eras._primitives import Handle


def orders_groups() -> bool:
    # torch: DeviceMesh(preserve_rank_order=), since 2.15 - pytorch#193224; its groups need
    # new_group(sort_ranks=), since 2.12 - pytorch#176580
    return "preserve_rank_order" in _constructor()


def preserves_order(root: DeviceMesh) -> bool:
    # torch: DeviceMesh._preserve_rank_order, since 2.15 - pytorch#193224
    return bool(getattr(root, "_preserve_rank_order", False))


def root(mesh: DeviceMesh) -> DeviceMesh:
    # torch: DeviceMesh._get_root_mesh, since 2.10 - pytorch#164510
    return mesh._get_root_mesh()


def group_handles(mesh: DeviceMesh) -> list[Handle] | None:
    # torch: DeviceMesh._dim_group_names, since 2.8 - pytorch#150898
    names = getattr(mesh, "_dim_group_names", None)
    return None if names is None else list(names)


def set_group_handles(mesh: DeviceMesh, handles: list[Handle]) -> None:
    mesh._dim_group_names = handles  # type: ignore[assignment]


def native_flattened(root: DeviceMesh) -> dict[str, DeviceMesh]:
    # torch: DeviceMesh._flatten_mapping, since 2.10 - pytorch#164510; without it torch cannot flatten
    return dict(getattr(root, "_flatten_mapping", {}))


def make_root(
    device_type: str,
    ranks: Sequence[int],
    shape: Sequence[int],
    names: tuple[str, ...] | None,
    *,
    keep_order: bool,
) -> DeviceMesh:
    order: dict[str, Any] = {"preserve_rank_order": True} if keep_order else {}
    # torch: DeviceMesh(_init_backend=), since 2.3.1 - pytorch#124780
    return rank_tensors.mesh_over(
        device_type, ranks, shape, mesh_dim_names=names, _init_backend=False, **order
    )


def make_submesh(
    root: DeviceMesh,
    ranks: Callable[[], Sequence[int]],  # noqa: ARG001  (an explicit tensor would slice silently wrong)
    dims: Sequence[tuple[tuple[int, int], ...]],
    names: tuple[str, ...] | None,
) -> DeviceMesh:
    # torch: DeviceMesh(_layout=, _rank_map=, _root_mesh=), since 2.10 - pytorch#165555
    mesh = rank_tensors.mesh_of_layout(
        root.device_type,
        _layout=_layout(root, dims, names),
        _rank_map=root._rank_map,
        mesh_dim_names=names,
        _root_mesh=root,
        _init_backend=False,
        **_order_of(root),
    )
    # torch: DeviceMesh._flatten_rank_map, since 2.10 - pytorch#165555. Equal on all meshes of a
    # root, and as long as the world: one is enough.
    if hasattr(root, "_flatten_rank_map"):
        mesh._flatten_rank_map = root._flatten_rank_map
    return mesh


def make_outside(
    root: DeviceMesh,
    ranks: Sequence[int],
    shape: Sequence[int],
    names: tuple[str, ...] | None,
) -> DeviceMesh:
    # The layout form asks for this rank's own part, which does not exist here; and torch
    # never slices a mesh that this rank is not in.
    return rank_tensors.mesh_over(
        root.device_type,
        ranks,
        shape,
        mesh_dim_names=names,
        _root_mesh=root,
        _init_backend=False,
        **_order_of(root),
    )


def make_detached(
    device_type: str,
    ranks: Sequence[int],
    shape: Sequence[int],
    names: tuple[str, ...] | None,
    rank: int | None,
) -> DeviceMesh:
    # torch: DeviceMesh(_rank=), since 2.10; without it torch asks the world. -1 is nobody's rank.
    return rank_tensors.mesh_over(
        device_type,
        ranks,
        shape,
        mesh_dim_names=names,
        _init_backend=False,
        _rank=-1 if rank is None else rank,
    )


def handle_for(root: DeviceMesh, group: ProcessGroup) -> Handle:
    # torch: DeviceMesh._pg_registry, since 2.11 - pytorch#172272; compiled get_group reads it
    if hasattr(root, "_pg_registry"):
        root._pg_registry[group.group_name] = group
    return group.group_name


def forget_groups(root: DeviceMesh) -> None:
    # torch: DeviceMesh._pg_registry, since 2.11 - pytorch#172272
    getattr(root, "_pg_registry", {}).clear()


def group_of(handle: Handle) -> ProcessGroup | None:
    c10d: Any = distributed_c10d
    try:
        # torch: distributed_c10d._resolve_process_group, since 2.3
        group: ProcessGroup = c10d._resolve_process_group(handle)
    except (RuntimeError, ValueError):
        return None
    return group


def publish_flattened(
    root: DeviceMesh,
    name: str,
    mesh: DeviceMesh,
    root_dims: tuple[int, ...],  # noqa: ARG001  (the layout says it)
) -> None:
    root._flatten_mapping[name] = _as_torch_flattens(mesh)


def _as_torch_flattens(mesh: DeviceMesh) -> DeviceMesh:
    """Return *mesh* with the layout that torch's slicing expects of a flattened mesh.

    2.10 to 2.12 tell a dim from a tuple of dims by its type there, and nowhere else.
    """
    layout: Any = mesh._layout
    # torch: _MeshLayout.coalesce, since 2.10, gone in 2.13 - pytorch#181223
    if not hasattr(layout, "coalesce") or mesh.get_coordinate() is None:
        return mesh
    twin = rank_tensors.mesh_of_layout(
        mesh.device_type,
        _layout=layout.coalesce(),
        _rank_map=mesh._rank_map,
        mesh_dim_names=mesh.mesh_dim_names,
        _root_mesh=root(mesh),
        _init_backend=False,
    )
    set_group_handles(twin, group_handles(mesh) or [])
    return twin


@functools.cache
def _constructor() -> Any:
    return inspect.signature(DeviceMesh.__init__).parameters


def _order_of(root: DeviceMesh) -> dict[str, Any]:
    # torch: DeviceMesh._preserve_rank_order, since 2.15 - pytorch#193224
    if hasattr(root, "_preserve_rank_order"):
        return {"preserve_rank_order": root._preserve_rank_order}
    return {}


def _layout(
    root: DeviceMesh,
    dims: Sequence[tuple[tuple[int, int], ...]],
    names: tuple[str, ...] | None,
) -> Any:
    # torch: torch.distributed._mesh_layout, since 2.10; elsewhere this module only imports
    from torch.distributed import _mesh_layout  # noqa: PLC0415

    torch_layout: Any = _mesh_layout
    if hasattr(torch_layout, "_FlatLayout"):
        # torch: _mesh_layout._FlatLayout, since 2.13 - pytorch#181223
        return torch_layout._MeshLayout(
            [
                torch_layout._FlatLayout(
                    tuple(size for size, _ in axes) or (1,),
                    tuple(stride for _, stride in axes) or (1,),
                )
                for axes in dims
            ]
        )
    # torch: _MeshLayout(shape, stride), since 2.10, gone in 2.13 - pytorch#181223
    pairs = [
        _pair_of(root, axes, names[index] if names else None) for index, axes in enumerate(dims)
    ]
    return torch_layout._MeshLayout(
        tuple(size for size, _ in pairs), tuple(stride for _, stride in pairs)
    )


def _pair_of(
    root: DeviceMesh, axes: tuple[tuple[int, int], ...], name: str | None
) -> tuple[Any, Any]:
    """Return size and stride of one mesh dim as 2.10 to 2.12 write them."""
    if len(axes) == 1:
        return axes[0]
    if axes:
        return tuple(size for size, _ in axes), tuple(stride for _, stride in axes)
    # Equality looks at the stride of a dim of size 1 too: take that of torch's own slice.
    names = root.mesh_dim_names or ()
    if name in names:
        layout = root._layout[names.index(name)]
        if layout.numel() == 1:
            return (1, layout.stride)
    return (1, 1)
