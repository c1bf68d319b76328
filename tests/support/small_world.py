"""Every kind of mesh that can be made of one small root, as rank 5 of 8 sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import meshcompat as mc

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed.device_mesh import DeviceMesh

NAMES = ("pp", "dp", "tp")
RANK = 5


def ours():
    return mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)


def flat_of(mesh):
    return mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "flat")


KINDS: dict[str, Callable[[DeviceMesh], DeviceMesh]] = {
    "root": lambda mesh: mesh,
    "submesh": lambda mesh: mc.get_submesh(mesh, ("pp", "tp")),
    "submesh in another order": lambda mesh: mc.get_submesh(mesh, ("tp", "pp")),
    "flattened": flat_of,
    "flattened, dims apart": lambda mesh: mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "apart"),
    "beside a flattened dim": lambda mesh: mc.get_submesh(flat_of(mesh), ("pp", "flat")),
    "unflattened": lambda mesh: mc.unflatten(flat_of(mesh), 0, (2, 2), ("a", "b")),
    "dim of an unflattened mesh": lambda mesh: mc.get_submesh(KINDS["unflattened"](mesh), "b"),
    "dims of several views": lambda mesh: mc.concatenate(
        [mc.get_flat_mesh(mesh, "pp"), KINDS["dim of an unflattened mesh"](mesh)]
    ),
}
