"""A rank outside a mesh gets a value of every public function, or NotInMeshError."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from torch.distributed import device_mesh

import meshcompat as mc
from meshcompat.testing import fake_world
from tests.support.bad_calls import OF_A_MESH, RANK

if TYPE_CHECKING:
    from collections.abc import Callable

OUTSIDE: dict[str, Callable[[Any], object]] = {
    **OF_A_MESH,
    "concatenate": lambda mesh: mc.concatenate([mc.get_flat_mesh(mesh, "pp"), mc.get_flat_mesh(mesh, "tp")]),
    "create_ring_ulysses_mesh": lambda _: mc.create_ring_ulysses_mesh(
        mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("cp", "tp"), ranks=range(4)), ring_degree=2, ulysses_degree=1
    ),
    "get_fsdp_dp_mesh": lambda _: mc.get_fsdp_dp_mesh(
        mc.init_device_mesh("cpu", (2, 2, 1), mesh_dim_names=("dp_replicate", "dp_shard", "cp"), ranks=range(4))
    ),
    "register_flattened_axes": lambda mesh: mc.register_flattened_axes(mesh, {"new": ("pp", "tp")}),
    "create_moe_mesh": lambda mesh: mc.create_moe_mesh(mesh, ep_shard_size=1, ep_size=2),
}  # fmt: skip
RAISE_OUTSIDE = {"get_all_groups", "get_group", "get_local_rank", "register_axis"}


@pytest.mark.parametrize("name", OUTSIDE)
def test_on_a_rank_outside_there_is_a_value_or_not_in_mesh_error(name):
    with fake_world(8, RANK):
        mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("pp", "tp"), ranks=range(4))

        if name in RAISE_OUTSIDE:
            with pytest.raises(mc.NotInMeshError, match="rank 5"):
                OUTSIDE[name](mesh)
        else:
            found = OUTSIDE[name](mesh)
            if isinstance(found, device_mesh.DeviceMesh):
                assert found.get_coordinate() is None
                assert set(found.mesh.flatten().tolist()) <= set(range(4))


def test_every_public_function_of_a_mesh_is_called_outside():
    made_new = {
        name
        for name in mc.__all__
        if name.startswith(("init_", "create_device_", "create_fsdp2_", "create_megatron_"))
    }
    functions = {name for name in mc.__all__ if name.islower() and name != "__version__"}
    assert functions - made_new - {"unchecked", "from_group", "mesh_from_dict"} == OUTSIDE.keys()
