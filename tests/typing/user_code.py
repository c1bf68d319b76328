"""What users write, for type checkers: mypy --strict and pyright find no error here.

It is never run. Lines that must be errors say so in comments: the checkers refuse a comment that
nothing needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh
from typing_extensions import assert_type

import meshcompat as mc
from meshcompat import get_sub_mesh  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
from meshcompat.mesh_utils import _create_device_meshes, _init_named_mesh

mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"), timeout=timedelta(minutes=5))
assert_type(mesh, DeviceMesh)

# A name that is not there is an error at the import, or where it is used.
get_sub_mesh(mesh, "tp")
mc.flaten(mesh)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

# Sizes are ints: they divide.
heads = 8 // mc.get_axis_size(mesh, "tp")
assert_type(heads, int)
assert_type(mc.get_axis_size(mesh, "cp", 1), int)
assert_type(mc.get_axis_size(mesh, "cp", None), int | None)

# Several names, in whatever holds them; a name of the vocabulary is a string.
assert_type(mc.get_submesh(mesh, "tp"), DeviceMesh)
assert_type(mc.get_submesh(mesh, ("tp", mc.MeshAxisName.DP)), DeviceMesh)
assert_type(mc.get_submesh(mesh, ["tp"]), DeviceMesh)
assert_type(mc.concatenate([mesh, mesh]), DeviceMesh)
mc.get_submesh(mesh, 0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Both forms of flatten.
assert_type(mc.flatten(mesh, ("dp", "tp"), "dp_tp"), DeviceMesh)
assert_type(mc.flatten(mesh, ["dp", "tp"], mesh_dim_name="dp_tp", timeout=600), DeviceMesh)
assert_type(mc.flatten(mesh, mesh_dims=("dp", "tp")), DeviceMesh)
assert_type(mc.flatten(mesh, "world"), DeviceMesh)
assert_type(mc.flatten(mesh, mesh_dim_name="world", share_groups=False), DeviceMesh)
assert_type(mc.flatten(mesh), DeviceMesh)
assert_type(mc.unflatten(mesh, "tp", (2, 2), ("a", "b")), DeviceMesh)
mc.flatten(mesh, 7)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]

# Groups and ranks.
assert_type(mc.get_group(mesh), ProcessGroup)
assert_type(mc.get_group(mesh, ("dp", "tp")), ProcessGroup)
assert_type(mc.get_all_groups(mesh), list[ProcessGroup])
assert_type(mc.get_ranks(mesh), list[int])
assert_type(mc.get_local_rank(mesh, "tp"), int)
assert_type(mc.get_flattened_meshes(mesh), Mapping[str, DeviceMesh])
assert_type(mc.layout_of(mesh).shape, tuple[int, ...])

# A strategy says which meshes are there.
sizes = mc.ParallelismSizes(tp_size=2, ep_size=2)
fsdp2, experts = mc.create_device_meshes(mc.FSDP2Config(), sizes, world_size=8, timeout=600)
assert_type(fsdp2, DeviceMesh)
assert_type(experts, DeviceMesh | None)
megatron, nothing = mc.create_device_meshes(
    mc.MegatronFSDPConfig(), sizes, world_size=8, device_type="cuda"
)
assert_type(megatron, DeviceMesh)
assert_type(nothing, None)
assert_type(mc.create_device_meshes(mc.DDPConfig(), sizes, world_size=8), tuple[None, None])


def of_any_strategy(config: object) -> DeviceMesh | None:
    """Return the mesh of a framework's own config, which may be none."""
    found, _ = mc.create_device_meshes(config, sizes, world_size=8, timeout_minutes=10)
    return found


# The drop-in has the same types under the names of a framework.
assert_type(_init_named_mesh(mc.MeshSpec((2, 4), ("dp", "tp"))), DeviceMesh)
assert_type(_create_device_meshes(object(), sizes, world_size=8)[0], DeviceMesh | None)

mc.destroy_mesh(mesh)
mc.show(mesh)

try:
    mc.get_flat_mesh(mesh, "cp")
except mc.MeshDimError as error:
    assert_type(error, mc.MeshDimError)
