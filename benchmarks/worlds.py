"""The meshes that are measured: by meshcompat, and by torch's own calls for the same."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

from torch.distributed import device_mesh
from torch.distributed.device_mesh import DeviceMesh

from meshcompat.testing import fake_world
from tests.support import native
from tests.support.layout_table import (
    DP_NAMES,
    EXPERTS,
    PP_DP_CP_TP,
    Layout,
    SecondView,
    build_ours,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

IN_USE, OF_SIZE_1 = "none", "dp_replicate, cp"
SHAPES = {
    IN_USE: {
        64: (2, 2, 2, 2, 4),
        1024: (2, 2, 16, 4, 4),
        16384: (4, 8, 32, 4, 4),
        131072: (8, 8, 128, 4, 4),
    },
    OF_SIZE_1: {64: (2, 1, 8, 1, 4), 16384: (4, 1, 1024, 1, 4), 131072: (8, 1, 4096, 1, 4)},
}
"""By the mesh dims of size 1, and by the number of ranks: a root always has all five dims."""
EXPERT_RANKS = 8


@contextlib.contextmanager
def fresh_world(world_size: int) -> Iterator[None]:
    """Be rank 0 of a fake world in which torch knows no mesh of an earlier one."""
    native.forget()
    with fake_world(world_size):
        yield


def layout_of(world_size: int, size_1: str = IN_USE) -> Layout:
    """Return a training job's meshes for so many ranks: a root, three flattened dims, experts."""
    shape = SHAPES[size_1][world_size]
    sizes = (math.prod(shape[1:]) // EXPERT_RANKS, EXPERT_RANKS)
    experts = SecondView(PP_DP_CP_TP[1:], sizes, EXPERTS)
    return Layout("FSDP2, with experts", "", shape, PP_DP_CP_TP, DP_NAMES, (experts,))


def build_torch(layout: Layout, device: str = "cpu") -> list[DeviceMesh]:
    """Return the meshes of a layout, made by the calls that torch has for them.

    Up to 2.9 torch cannot split a mesh dim: a second view is then a second root, as frameworks
    do it. From 2.10 the joined dims are flattened for it, which makes a group of its own.
    """
    root = device_mesh.init_device_mesh(device, layout.shape, mesh_dim_names=layout.names)
    kept = [root, *_flattened(root, layout.flattened)]
    for view in layout.views:
        split = _split if hasattr(DeviceMesh, "_unflatten") else _second_root
        meshes = split(root, layout, view)
        kept += [*meshes, *_flattened(meshes[-1], view.flattened)]
    return kept


def builders() -> dict[str, Callable[..., object]]:
    """Return who can make these meshes on this release: torch flattens from 2.5 on."""
    sides: dict[str, Callable[..., object]] = {"ours": build_ours}
    if hasattr(DeviceMesh, "_flatten"):
        sides["torch"] = build_torch
    return sides


def _flattened(mesh: DeviceMesh, flattened: Mapping[str, tuple[str, ...]]) -> list[DeviceMesh]:
    return [native.flatten(_sliced(mesh, joined), name) for name, joined in flattened.items()]


def _sliced(mesh: DeviceMesh, names: tuple[str, ...]) -> DeviceMesh:
    return mesh if names == mesh.mesh_dim_names else native.pick(mesh, names)


def _split(root: DeviceMesh, _: Layout, view: SecondView) -> list[DeviceMesh]:
    line = _sliced(root, view.joined)
    stones = [] if line.ndim == 1 else [native.flatten(line, "_".join(view.names))]
    return [*stones, native.unflatten([line, *stones][-1], 0, view.sizes, view.names)]


def _second_root(root: DeviceMesh, layout: Layout, view: SecondView) -> list[DeviceMesh]:
    start = layout.names.index(view.joined[0])
    stop = start + len(view.joined)
    shape = layout.shape[:start] + view.sizes + layout.shape[stop:]
    names = layout.names[:start] + view.names + layout.names[stop:]
    return [device_mesh.init_device_mesh(root.device_type, shape, mesh_dim_names=names)]
