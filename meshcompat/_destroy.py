"""The end of a root mesh and of the process groups that were made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _eras
from meshcompat._eras import compiled, ending
from meshcompat._errors import UnsupportedTorchError
from meshcompat._mesh.links import links
from meshcompat._mesh.lookup import view_of
from meshcompat._mesh.memory import lock, refuse_detached
from meshcompat._mesh.objects import give_up_groups

if TYPE_CHECKING:
    from meshcompat._mesh.memory import Root


def destroy_mesh(mesh: DeviceMesh, *, abort: bool = False) -> None:
    """Give up the process groups of the root of *mesh*, each once.

    For a program that changes its layout: a group that nobody uses keeps threads and buffers, up to
    hundreds of MB with NCCL. Groups that others own stay: the default group, those of `from_group`
    and `register_axis`, and those that torch's own functions made. Afterwards every mesh of the
    root raises `MeshLayoutError`, and a new root can be made.

    Args:
        mesh: The root or any mesh derived from it.
        abort: Abort the groups, so that a collective that waits in one of them fails on this rank.

    Raises:
        MeshLayoutError: The mesh was destroyed before, or its world was; or it is detached.
        UnsupportedTorchError: *abort* is asked for, and this torch or a group's backend cannot;
            nothing was done.

    Collective:
        Yes: every rank of the world calls it, but no rank waits for another one in meshcompat or gloo.
        NCCL ends a communicator on all of its ranks together.

    Torch:
        Groups can be aborted from 2.8 on. torch's own ``mesh.abort()`` (2.15) reaches the mesh dims
        of the root and what its own registry has; the flattened meshes of meshcompat are not in
        there, so end a root of meshcompat with this function:
        https://github.com/pytorch/pytorch/pull/189655

    Example:
        >>> from meshcompat import destroy_mesh, init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> destroy_mesh(mesh)
        >>> mesh = init_device_mesh("cpu", (8,), mesh_dim_names=("dp",))
    """
    root = view_of(mesh).root
    refuse_detached(root)
    with lock:
        groups = _own_groups(root)
        if abort:
            _refuse_abort(groups)
        meshes = root.meshes()
        links.forget(root)
        root.end()
        give_up_groups(root, meshes)
        compiled.forget()
        ending.end_groups(groups, abort=abort)


def _own_groups(root: Root) -> list[ProcessGroup]:
    """Return the groups that were made for *root* and that this rank is in, in the order of all ranks."""
    handles = [group.handle for group in root.groups if group.is_ours and group.handle is not None]
    found = [_eras.primitives().group_of(handle) for handle in handles]
    return list({id(group): group for group in found if group is not None}.values())


def _refuse_abort(groups: list[ProcessGroup]) -> None:
    refused: list[Any] = [group for group in groups if not ending.can_abort(group)]
    if refused:
        raise UnsupportedTorchError(
            f"torch {torch.__version__} cannot abort groups of backend "
            f"{dist.get_backend(refused[0])!r}; leave abort out to destroy them, or use torch 2.8 "
            f"or newer with gloo or NCCL"
        )
