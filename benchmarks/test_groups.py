"""How many process groups a rank holds for the meshes of real frameworks."""

from __future__ import annotations

import pytest
import torch.distributed as dist

from benchmarks import worlds
from tests.support import native
from tests.support.layout_table import (
    LAYOUTS,
    build_ours,
    fewest_groups,
    ranks_of_root,
    ranks_of_views,
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_groups_of_a_rank(note, layout):
    counts = {
        "ours": held(build_ours, layout),
        "ours, all shared": held(build_ours, layout, share_groups=True),
        "ours, none shared": held(build_ours, layout, share_groups=False),
    }
    alone = layout._replace(views=())
    counts["ours, root and flattened"] = held(build_ours, alone)
    least = fewest_groups(ranks_of_root(layout, 0))
    counts["floor, root and flattened"] = least
    if "torch" in worlds.builders():
        counts["torch"] = held(worlds.build_torch, layout)
    floor = fewest_groups(ranks_of_root(layout, 0) + ranks_of_views(layout, 0))
    about = {"project": layout.project, "shape": "x".join(map(str, layout.shape))}
    note({"topic": "groups", **about, "counts": {**counts, "floor": floor}})


def held(build, layout, **options):
    """Return the groups that rank 0 holds when the meshes are there.

    The default group counts where a mesh dim spans the world and uses it.
    """
    with worlds.fresh_world(layout.world_size):
        meshes = build(layout, **options)
        world = dist.group.WORLD
        spans = any(world is group for group in groups_of(meshes))
        return native.groups() - 1 + spans


def groups_of(meshes):
    """Return the groups of all mesh dims, of our meshes or of torch's."""
    dims = (
        [(mesh, dim) for mesh in meshes for dim in range(mesh.ndim)]
        if isinstance(meshes, list)
        else meshes.dims()
    )
    return [mesh.get_group(dim) for mesh, dim in dims]
