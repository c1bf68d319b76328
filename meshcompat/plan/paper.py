"""Meshes on paper: what the builders make, and what they refuse, by the same arithmetic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from meshcompat import _layout
from meshcompat._builders.parallelism import MeshSpec, ParallelismSizes
from meshcompat._builders.sizes import degrees_of
from meshcompat._builders.specs import (
    EXPERT_NAMES,
    fsdp2_spec,
    megatron_fsdp_spec,
    plain,
    refuse_for_ddp,
    refuse_for_megatron_fsdp,
)
from meshcompat._errors import MeshDimError
from meshcompat._fitting import require_whole_world, split_axes, unknown_dim_text
from meshcompat._plain_arguments import as_new_names, as_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meshcompat._layout import Axes
    from meshcompat.plan.request import Request, Split

ROOT = "root"
EXPERTS = "moe"


class PaperDim(NamedTuple):
    """One mesh dim."""

    name: str
    axes: Axes

    @property
    def size(self) -> int:
        """Number of ranks along it."""
        return _layout.size_of(self.axes)


class PaperMesh(NamedTuple):
    """One mesh: the root, a flattened one, or a second factorisation."""

    name: str
    dims: tuple[PaperDim, ...]
    shares_groups: bool = True
    """Whether it takes groups of the root that serve; a second factorisation has its own."""
    stepping_stones: tuple[int, ...] = ()
    """Sizes of groups that torch's own calls make on the way to it, and nobody uses."""


def meshes_of(request: Request) -> list[PaperMesh]:
    """Return the meshes of a request, the root first; none for DDP.

    Raises:
        MeshLayoutError: The builders refuse it, in these words.
        MeshDimError: A mesh dim to split is unknown.
    """
    spec, experts = _spec_of(request)
    if spec is None:
        return []
    shape, names, joined = plain(spec)
    require_whole_world(shape, request.world_size)
    axes = dict(zip(names, _layout.dims_of(shape), strict=True))
    flattened = {name: _layout.join(axes[part] for part in parts) for name, parts in joined.items()}
    meshes = [
        PaperMesh(ROOT, tuple(map(PaperDim, names, axes.values()))),
        *(PaperMesh(name, (PaperDim(name, flat),)) for name, flat in flattened.items()),
    ]
    if experts is not None:
        meshes.append(_expert_mesh(shape[0], experts))
    meshes += [_split(split, axes, flattened) for split in request.splits]
    return meshes


def _spec_of(request: Request) -> tuple[MeshSpec | None, tuple[int, int] | None]:
    """Return the root, and the sizes of the expert mesh."""
    if request.strategy is None:
        names = tuple(name for name, _ in request.mesh)
        sizes = tuple(size for _, size in request.mesh)
        return MeshSpec(sizes, names, request.flattened), None
    given: dict[str, Any] = {f"{name}_size": size for name, size in request.sizes.items()}
    degrees = degrees_of(ParallelismSizes(**given))
    if request.strategy == "fsdp2":
        return fsdp2_spec(degrees, request.world_size)
    if request.strategy == "megatron-fsdp":
        refuse_for_megatron_fsdp(degrees)
        return megatron_fsdp_spec(degrees, request.world_size), None
    refuse_for_ddp(degrees)
    return None, None


def _expert_mesh(stages: int, sizes: tuple[int, int]) -> PaperMesh:
    _, *parts = _layout.dims_of((stages, *sizes))
    dims = tuple(map(PaperDim, EXPERT_NAMES, parts))
    return PaperMesh(EXPERTS, dims, shares_groups=False, stepping_stones=(math.prod(sizes),))


def _split(split: Split, axes: Mapping[str, Axes], flattened: Mapping[str, Axes]) -> PaperMesh:
    known = {**axes, **flattened}
    if split.mesh_dim not in known:
        raise MeshDimError(
            unknown_dim_text(split.mesh_dim, tuple(axes), flattened=tuple(flattened))
        )
    sizes = as_sizes(split.sizes, "mesh_sizes")
    names = as_new_names(split.names, len(sizes))
    parts = split_axes(split.mesh_dim, known[split.mesh_dim], sizes)
    dims = tuple(map(PaperDim, names, parts))
    return PaperMesh(split.mesh_name, dims, shares_groups=False)
