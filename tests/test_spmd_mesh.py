"""What FSDP2 makes of its own mesh and that of TP: one mesh over both, found in torch's root.

FSDP2 of 2.5 and 2.6 needs CUDA to run at all; this is what it does first, on all ranks of a
fake world.
"""

from __future__ import annotations

import numpy as np
import pytest

import meshcompat as mc
from meshcompat.testing import each_rank
from tests.support import native

NAMES = ("dp_replicate", "dp_shard", "cp")
SHAPE = (2, 2, 2)
RANKS = np.arange(8).reshape(SHAPE)


def root_with(*flattened):
    root = mc.init_device_mesh("cpu", SHAPE, mesh_dim_names=NAMES)
    for name in flattened:
        mc.flatten(mc.get_submesh(root, name.split("+")), name)
    return root


def view_of(*names):
    """Return a view of dims of the root; a name with ``+`` is a flattened dim."""
    return mc.get_submesh(root_with(*(name for name in names if "+" in name)), names)


# For each view the ranks that it has around rank 0.
VIEWS = {
    "dims in order": (lambda: view_of("dp_shard", "cp"), RANKS[0]),
    "dims in another order": (lambda: view_of("cp", "dp_replicate"), RANKS[:, 0].T),
    "ends in a flattened dim": (
        lambda: view_of("dp_replicate", "dp_shard+cp"),
        RANKS.reshape(2, 4),
    ),
    "begins with a flattened dim": (
        lambda: view_of("dp_replicate+dp_shard", "cp"),
        RANKS.reshape(4, 2),
    ),
    "flattened dim, then one before it": (
        lambda: view_of("cp", "dp_replicate+dp_shard"),
        RANKS.reshape(4, 2).T,
    ),
    "flattened dim of dims apart": (
        lambda: view_of("dp_shard", "dp_replicate+cp"),
        RANKS.transpose(1, 0, 2).reshape(2, 4),
    ),
    "unflattened": (
        lambda: mc.unflatten(mc.flatten(root_with(), "all"), 0, (2, 4), ("ep_shard", "ep")),
        RANKS.reshape(2, 4),
    ),
}


def spmd(data, tensor):
    try:
        return native.spmd(data, tensor)
    except native.Absent as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(("make", "ranks"), VIEWS.values(), ids=VIEWS)
def test_dims_of_one_view_are_found_together(make, ranks):
    for rank in each_rank(8):
        view = make()
        assert rank != 0 or view.mesh.tolist() == ranks.tolist()
        data, tensor = (mc.get_submesh(view, name) for name in view.mesh_dim_names)

        found = spmd(data, tensor)

        assert found.mesh.tolist() == view.mesh.tolist()
        assert [found.get_group(dim) for dim in (0, 1)] == [view.get_group(dim) for dim in (0, 1)]


def test_flattened_neighbours_are_found_beside_a_dim_of_the_root():
    for _ in each_rank(8):
        root = root_with("dp_replicate+dp_shard")
        flat, cp = mc.get_flat_mesh(root, "dp_replicate+dp_shard"), mc.get_submesh(root, "cp")

        found = spmd(flat, cp)

        assert found.mesh.tolist() == RANKS.reshape(4, 2).tolist()


def test_a_dim_asked_of_the_root_again_is_found_there_after_one_of_a_view():
    for _ in each_rank(8):
        root = root_with()
        shard, cp = (mc.get_submesh(root, name) for name in NAMES[1:])
        wanted = spmd(shard, cp).mesh.tolist()
        view = mc.get_submesh(root, ("cp", "dp_shard"))
        assert spmd(*(mc.get_submesh(view, name) for name in NAMES[:0:-1])) is not None

        found = spmd(*(mc.get_submesh(root, name) for name in NAMES[1:]))

        assert found.mesh.tolist() == wanted
