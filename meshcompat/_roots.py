"""The first mesh: a root over the world, or over some ranks of it in some order."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _groups, _layout
from meshcompat._arguments import as_device_type, as_group_options, as_ranks
from meshcompat._devices import make_world, select_device
from meshcompat._eras.rank_tensors import read_numbers
from meshcompat._errors import MeshLayoutError
from meshcompat._fitting import require_whole_world
from meshcompat._mesh import foreign
from meshcompat._mesh.lookup import refuse_threads
from meshcompat._mesh.memory import Group, lock
from meshcompat._mesh.objects import finished, new_root
from meshcompat._mesh.order import refuse_descending
from meshcompat._plain_arguments import as_new_names, as_sizes, as_timeout


def init_device_mesh(
    device_type: str,
    mesh_shape: Sequence[int],
    *,
    mesh_dim_names: Sequence[str] | None = None,
    backend_override: object = None,
    timeout: timedelta | float | None = None,
    ranks: Sequence[int] | None = None,
) -> DeviceMesh:
    """Return a new root mesh over the world, or over the given ranks.

    One process group is made for each distinct partition of the ranks: all mesh dims of
    size 1 share one, and a mesh dim that spans the world has the default group.

    Args:
        device_type: ``"cpu"``, ``"cuda"`` or another device type of torch, without an index.
        mesh_shape: Size of each mesh dim; without *ranks* their product is the world size.
        mesh_dim_names: A name for each mesh dim.
        backend_override: Dict from mesh dim name or index to a backend name, options, or a
            pair of both; as torch has it from 2.9, here on every release.
        timeout: Timeout of every group, a timedelta or seconds; also of those that `flatten`
            and `unflatten` make later. By default that of the default group.
        ranks: Ordered global ranks, row major, for a mesh smaller than the world or permuted
            against it.

    Returns:
        A mesh of shape *mesh_shape*. On a rank outside *ranks* a mesh whose coordinate is
        None, on which every function of meshcompat works.

    Raises:
        MeshLayoutError: The arguments describe no mesh of this world, or *ranks* descend
            along a mesh dim where this torch cannot make a group in that order.
        MeshDimError: *backend_override* names an unknown mesh dim.
        MeshMismatchError: Another rank asks for other groups, or does not come; see `unchecked`.

    Collective:
        Yes: all ranks of the world, members of the mesh or not.

    Torch:
        Groups in an order of ranks that descends need 2.15. torch's own function takes no
        timeout: https://github.com/pytorch/pytorch/issues/119613.

    Example:
        >>> from meshcompat import init_device_mesh
        >>> mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        >>> mesh.mesh.tolist()
        [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    shape = as_sizes(mesh_shape, "mesh_shape")
    names = None if mesh_dim_names is None else as_new_names(mesh_dim_names, len(shape))
    limit = as_timeout(timeout)
    order = ranks_in_world(shape, ranks)
    device = as_device_type(device_type)
    labels = names or tuple(f"dim_{index}" for index in range(len(shape)))
    options = as_group_options(backend_override, labels, limit)
    layouts = _layout.dims_of(shape)
    refuse_descending(order, dict(zip(labels, layouts, strict=True)))
    if not dist.is_initialized():
        make_world(device)
        options = as_group_options(backend_override, labels, limit)  # now the default is known
    with lock:
        root = new_root(device, order, shape, names, timeout=limit)
        select_device(device)
        wanted = list(zip(labels, layouts, options, strict=True))
        groups = _groups.serve(root, wanted, share=True, call="init_device_mesh")
        root.number_as_made_by("init_device_mesh")
        return finished(root, groups)


def from_group(
    groups: ProcessGroup | Sequence[ProcessGroup],
    device_type: str,
    mesh: object = None,
    *,
    mesh_dim_names: Sequence[str] | None = None,
) -> DeviceMesh:
    """Return a root mesh over process groups that exist; their objects are kept.

    Args:
        groups: This rank's group of each mesh dim: one group, or a list of them.
        device_type: As for `init_device_mesh`.
        mesh: Global ranks as a tensor or nested list with one dim per group; needed for
            more than one group, and on ranks outside.
        mesh_dim_names: A name for each mesh dim.

    Returns:
        A mesh whose groups are *groups*.

    Raises:
        MeshLayoutError: The groups do not hold the ranks of *mesh*, or *mesh* is missing.

    Collective:
        No, and no process group is made.

    Torch:
        Absent before 2.4.

    Example:
        >>> import torch.distributed as dist
        >>> from meshcompat import from_group, get_group
        >>> mesh = from_group(dist.group.WORLD, "cpu", mesh_dim_names=("dp",))
        >>> get_group(mesh, "dp") is dist.group.WORLD
        True
    """
    given: list[Any] = list(groups) if isinstance(groups, (list, tuple)) else [groups]
    if not dist.is_initialized() or not given:
        raise MeshLayoutError(
            f"groups {groups!r} must be one or more process groups of an initialised world; "
            f"call torch.distributed.init_process_group and new_group first"
        )
    refuse_threads()
    device = as_device_type(device_type)
    shape, order = _shape_and_order(given, mesh)
    names = None if mesh_dim_names is None else as_new_names(mesh_dim_names, len(given))
    is_inside = dist.get_rank() in order
    if is_inside and not foreign.are_living_groups(given):
        raise MeshLayoutError(
            f"groups {groups!r} must be living process groups that rank {dist.get_rank()} is in; "
            f"make them with torch.distributed.new_group"
        )
    with lock:
        root = new_root(device, order, shape, names, keep_order=False)
        records: list[Group | None] = [None] * len(given)
        if is_inside:
            pairs = zip(_layout.dims_of(root.shape), given, strict=True)
            records = [foreign.take_up_group(root, axes, group) for axes, group in pairs]
        root.number_as_made_by("from_group")
        return finished(root, records)


def ranks_in_world(shape: tuple[int, ...], ranks: object) -> Sequence[int]:
    """Return the ordered global ranks of a mesh of this shape, by default the whole world.

    Raises:
        MeshLayoutError: There is no world, none is named by the environment, or the shape does
            not fit.
    """
    count, world_size = math.prod(shape), _world_size()
    if ranks is not None:
        return as_ranks(ranks, count, world_size)
    require_whole_world(shape, world_size)
    return range(count)


def _world_size() -> int:
    """Return the size of the world, or of the one that the environment names."""
    if dist.is_initialized():
        refuse_threads()
        return dist.get_world_size()
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise MeshLayoutError(
            "no default process group is initialised, and the environment names no world to "
            "make one of; call torch.distributed.init_process_group, or start with torchrun"
        )
    return int(os.environ["WORLD_SIZE"])


def _shape_and_order(groups: list[Any], mesh: object) -> tuple[tuple[int, ...], Sequence[int]]:
    if mesh is None:
        if len(groups) != 1 or not foreign.are_living_groups(groups):
            raise MeshLayoutError(
                f"groups {groups!r} are not one living process group that this rank is in, so "
                f"they do not say which ranks the mesh has; give mesh, the global ranks with "
                f"one dim per group"
            )
        mesh = dist.get_process_group_ranks(groups[0])
    try:
        shape, ranks = read_numbers(mesh)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise MeshLayoutError(
            f"mesh {mesh!r} must be a tensor or nested list of global ranks"
        ) from error
    if len(shape) != len(groups) or not ranks:
        raise MeshLayoutError(
            f"mesh {mesh!r} has {len(shape)} dims for {len(groups)} groups; give the global "
            f"ranks with one dim per group"
        )
    return shape, as_ranks(ranks, len(ranks), dist.get_world_size())
