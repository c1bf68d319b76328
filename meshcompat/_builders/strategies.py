"""The meshes that training strategies want: FSDP2 with HSDP, Megatron-FSDP, DDP."""

from collections.abc import Sequence
from datetime import timedelta
from typing import overload

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from meshcompat import _layout
from meshcompat._arguments import as_list
from meshcompat._builders.named_meshes import create_moe_mesh, init_named_mesh
from meshcompat._builders.parallelism import (
    DDPConfig,
    FSDP2Config,
    HasParallelismSizes,
    MegatronFSDPConfig,
)
from meshcompat._builders.sizes import degrees_of, limit_of
from meshcompat._builders.specs import (
    EXPERT_NAMES,
    fsdp2_spec,
    megatron_fsdp_spec,
    refuse_for_ddp,
    refuse_for_megatron_fsdp,
    strategy_of,
)
from meshcompat._errors import MeshLayoutError
from meshcompat._mesh.order import refuse_descending
from meshcompat._roots import ranks_in_world


@overload
def create_device_meshes(
    strategy_config: FSDP2Config,
    parallelism: HasParallelismSizes,
    *,
    world_size: int,
    timeout: timedelta | float | None = None,
    device_type: str | None = None,
    ranks: Sequence[int] | None = None,
    timeout_minutes: float | None = None,
) -> tuple[DeviceMesh, DeviceMesh | None]: ...


@overload
def create_device_meshes(
    strategy_config: MegatronFSDPConfig,
    parallelism: HasParallelismSizes,
    *,
    world_size: int,
    timeout: timedelta | float | None = None,
    device_type: str | None = None,
    ranks: Sequence[int] | None = None,
    timeout_minutes: float | None = None,
) -> tuple[DeviceMesh, None]: ...


@overload
def create_device_meshes(
    strategy_config: DDPConfig,
    parallelism: HasParallelismSizes,
    *,
    world_size: int,
    timeout: timedelta | float | None = None,
    device_type: str | None = None,
    ranks: Sequence[int] | None = None,
    timeout_minutes: float | None = None,
) -> tuple[None, None]: ...


@overload
def create_device_meshes(
    strategy_config: object,
    parallelism: HasParallelismSizes,
    *,
    world_size: int,
    timeout: timedelta | float | None = None,
    device_type: str | None = None,
    ranks: Sequence[int] | None = None,
    timeout_minutes: float | None = None,
) -> tuple[DeviceMesh | None, DeviceMesh | None]: ...


def create_device_meshes(
    strategy_config: object,
    parallelism: HasParallelismSizes,
    *,
    world_size: int,
    timeout: timedelta | float | None = None,
    device_type: str | None = None,
    ranks: Sequence[int] | None = None,
    timeout_minutes: float | None = None,
) -> tuple[DeviceMesh | None, DeviceMesh | None]:
    """Return the device mesh and the expert mesh of a strategy.

    The strategy is told by the name of its class, or of a class it derives from:
    ``FSDP2Config``, ``MegatronFSDPConfig`` or ``DDPConfig``, ours or a framework's own.

    Args:
        strategy_config: An instance of a strategy's config class.
        parallelism: Sizes, ours or any object with the same attributes.
        world_size: Number of ranks in the world.
        timeout: Timeout of every group, a timedelta or seconds; by default that of the default
            group.
        device_type: Device type of the meshes; by default that of the default group's backend.
        ranks: Ordered global ranks, for a model on part of the world; the sizes then fill
            these ranks, and *world_size* may be their number.
        timeout_minutes: The timeout in minutes, in place of *timeout*.

    Returns:
        ``(device_mesh, moe_mesh)``; the second is None without expert parallelism, and both
        are None for DDP.

    Raises:
        MeshLayoutError: The strategy is unknown, or cannot have these sizes.

    Collective:
        Yes: all ranks of the world, members of *ranks* or not.

    Example:
        >>> from meshcompat import FSDP2Config, ParallelismSizes, create_device_meshes
        >>> sizes = ParallelismSizes(tp_size=2, ep_size=4)
        >>> mesh, moe_mesh = create_device_meshes(FSDP2Config(), sizes, world_size=8)
        >>> tuple(mesh.shape), moe_mesh.mesh.tolist()
        ((1, 1, 4, 1, 2), [[0, 1, 2, 3], [4, 5, 6, 7]])
    """
    strategy = strategy_of(strategy_config)
    limit = limit_of(timeout, timeout_minutes)
    if strategy == "FSDP2Config":
        return create_fsdp2_device_mesh(
            parallelism, world_size=world_size, timeout=limit, device_type=device_type, ranks=ranks
        )
    if strategy == "MegatronFSDPConfig":
        mesh = create_megatron_fsdp_device_mesh(
            parallelism, world_size=world_size, timeout=limit, device_type=device_type, ranks=ranks
        )
        return mesh, None
    refuse_for_ddp(degrees_of(parallelism))
    return None, None


def create_fsdp2_device_mesh(
    parallelism: HasParallelismSizes,
    *,
    world_size: int,
    timeout: timedelta | float | None = None,
    device_type: str | None = None,
    ranks: Sequence[int] | None = None,
    timeout_minutes: float | None = None,
) -> tuple[DeviceMesh, DeviceMesh | None]:
    """Return the root mesh of FSDP2, and the expert mesh where there are experts.

    Args:
        parallelism: Sizes; ``dp_size`` counts replicated and sharded ranks together.
        world_size: Number of ranks in the world.
        timeout: Timeout of every group, a timedelta or seconds; by default that of the default
            group.
        device_type: Device type of the meshes; by default that of the default group's backend.
        ranks: Ordered global ranks, for a model on part of the world.
        timeout_minutes: The timeout in minutes, in place of *timeout*.

    Returns:
        The root ``(pp, dp_replicate, dp_shard, cp, tp)`` with flattened ``dp``,
        ``dp_shard_cp`` and ``dp_cp``; and ``(ep_shard, ep)`` for ``ep_size`` above 1, else
        None.

    Raises:
        MeshLayoutError: The sizes do not fill the ranks, ``dp_replicate_size`` does not
            divide ``dp_size`` or leaves nothing to shard, or ``ep_size`` does not divide
            the ranks of a pipeline stage.

    Collective:
        Yes: all ranks of the world, members of *ranks* or not.

    Example:
        >>> from meshcompat import ParallelismSizes, create_fsdp2_device_mesh
        >>> sizes = ParallelismSizes(dp_replicate_size=2, cp_size=2)
        >>> mesh, _ = create_fsdp2_device_mesh(sizes, world_size=8)
        >>> tuple(mesh.shape)
        (1, 2, 2, 2, 1)
    """
    order = None if ranks is None else as_list(ranks)
    sizes = degrees_of(parallelism)
    limit = limit_of(timeout, timeout_minutes)
    spec, expert_sizes = fsdp2_spec(sizes, _count(world_size, order))
    pp = spec.shape[0]
    experts: dict[str, _layout.Axes] = {}
    if expert_sizes is not None:
        parts = _layout.dims_of((pp, *expert_sizes))
        experts = dict(zip(("pp", *EXPERT_NAMES), parts, strict=True))
    refuse_descending(ranks_in_world(spec.shape, order), experts)
    mesh = init_named_mesh(spec, timeout=limit, device_type=device_type, ranks=order)
    if expert_sizes is None:
        return mesh, None
    ep_shard, ep = expert_sizes
    moe_mesh = create_moe_mesh(mesh, ep_shard_size=ep_shard, ep_size=ep, pp_size=pp, timeout=limit)
    return mesh, moe_mesh


def create_megatron_fsdp_device_mesh(
    parallelism: HasParallelismSizes,
    *,
    world_size: int,
    timeout: timedelta | float | None = None,
    device_type: str | None = None,
    ranks: Sequence[int] | None = None,
    timeout_minutes: float | None = None,
) -> DeviceMesh:
    """Return the root mesh of Megatron-FSDP.

    Args:
        parallelism: Sizes without pipeline and expert parallelism, and without replication.
        world_size: Number of ranks in the world.
        timeout: Timeout of every group, a timedelta or seconds; by default that of the default
            group.
        device_type: Device type of the meshes; by default that of the default group's backend.
        ranks: Ordered global ranks, for a model on part of the world.
        timeout_minutes: The timeout in minutes, in place of *timeout*.

    Returns:
        The root ``(dp, cp, tp)``, with flattened ``dp_cp`` where ``cp_size`` is above 1.

    Raises:
        MeshLayoutError: The sizes do not fill the ranks, or are of another parallelism.

    Collective:
        Yes: all ranks of the world, members of *ranks* or not.

    Example:
        >>> from meshcompat import ParallelismSizes, create_megatron_fsdp_device_mesh
        >>> sizes = ParallelismSizes(cp_size=2, tp_size=2)
        >>> mesh = create_megatron_fsdp_device_mesh(sizes, world_size=8)
        >>> mesh.mesh_dim_names, tuple(mesh.shape)
        (('dp', 'cp', 'tp'), (2, 2, 2))
    """
    order = None if ranks is None else as_list(ranks)
    sizes = degrees_of(parallelism)
    refuse_for_megatron_fsdp(sizes)
    spec = megatron_fsdp_spec(sizes, _count(world_size, order))
    limit = limit_of(timeout, timeout_minutes)
    return init_named_mesh(spec, timeout=limit, device_type=device_type, ranks=order)


def _count(world_size: int, ranks: Sequence[int] | None) -> int:
    """Return how many ranks the sizes are to fill."""
    if ranks is None or world_size == len(ranks):
        return world_size
    if dist.is_initialized() and world_size != dist.get_world_size():
        raise MeshLayoutError(
            f"world_size {world_size!r} is neither that of the world, {dist.get_world_size()}, "
            f"nor the number of ranks {list(ranks)!r}, which is {len(ranks)}; give one of these"
        )
    return len(ranks)
