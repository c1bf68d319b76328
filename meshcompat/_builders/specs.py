"""What each strategy's meshes look like on paper: arithmetic and refusals, without torch.

The builders make what stands here, and ``meshcompat plan`` prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from meshcompat._builders.parallelism import MeshAxisName, MeshSpec
from meshcompat._builders.sizes import Degrees, fill_world, refuse_class, require_size_one
from meshcompat._errors import MeshLayoutError
from meshcompat._plain_arguments import as_name, as_names, as_new_names, as_sizes

PP, REPLICATE, SHARD = MeshAxisName.PP, MeshAxisName.DP_REPLICATE, MeshAxisName.DP_SHARD
DP, CP, TP = MeshAxisName.DP, MeshAxisName.CP, MeshAxisName.TP

EXPERT_NAMES = (str(MeshAxisName.EP_SHARD.value), str(MeshAxisName.EP.value))
"""Mesh dims of the expert mesh."""
STRATEGIES = ("DDPConfig", "FSDP2Config", "MegatronFSDPConfig")


class PlainSpec(NamedTuple):
    """A `MeshSpec` in ints and plain strings, checked."""

    shape: tuple[int, ...]
    names: tuple[str, ...]
    flattened: dict[str, tuple[str, ...]]


def strategy_of(strategy_config: object) -> str:
    """Return which of `STRATEGIES` a config is, by the name of its class or of a base of it.

    Raises:
        MeshLayoutError: None of them.
    """
    refuse_class(strategy_config, "unknown strategy config")
    names = [kind.__name__ for kind in type(strategy_config).__mro__]
    strategy = next((name for name in names if name in STRATEGIES), None)
    if strategy is None:
        raise MeshLayoutError(
            f"unknown strategy config {strategy_config!r}: none of its classes {names} is called "
            f"one of {sorted(STRATEGIES)}; pass a config of one of these strategies"
        )
    return strategy


def fsdp2_spec(sizes: Degrees, count: int) -> tuple[MeshSpec, tuple[int, int] | None]:
    """Return the root of FSDP2 over *count* ranks, and the sizes of ``(ep_shard, ep)``, or None.

    Raises:
        MeshLayoutError: See `create_fsdp2_device_mesh`.
    """
    pp, cp, tp = sizes.pp_size, sizes.cp_size, sizes.tp_size
    dp = fill_world(sizes, count, ("pp_size", "cp_size", "tp_size"))
    replicate, ep = sizes.dp_replicate_size, sizes.ep_size
    if dp % replicate:
        raise MeshLayoutError(
            f"dp_replicate_size {replicate} does not divide dp_size {dp}; give a divisor of {dp}"
        )
    if replicate != 1 and replicate >= dp:
        raise MeshLayoutError(
            f"dp_replicate_size {replicate} leaves nothing of dp_size {dp} to shard; give a "
            f"smaller divisor of {dp}, or use DDP"
        )
    stage = dp * cp * tp
    if stage % ep:
        raise MeshLayoutError(
            f"ep_size {ep} does not divide dp_size * cp_size * tp_size = {dp} * {cp} * {tp} = "
            f"{stage}; give a divisor of {stage}"
        )
    spec = MeshSpec(
        shape=(pp, replicate, dp // replicate, cp, tp),
        axes=(PP, REPLICATE, SHARD, CP, TP),
        flattened_axes={
            DP: (REPLICATE, SHARD),
            MeshAxisName.DP_SHARD_CP: (SHARD, CP),
            MeshAxisName.DP_CP: (REPLICATE, SHARD, CP),
        },
    )
    return spec, (stage // ep, ep) if ep > 1 else None


def megatron_fsdp_spec(sizes: Degrees, count: int) -> MeshSpec:
    """Return the root of Megatron-FSDP over *count* ranks.

    Raises:
        MeshLayoutError: See `create_megatron_fsdp_device_mesh`.
    """
    cp, tp = sizes.cp_size, sizes.tp_size
    dp = fill_world(sizes, count, ("cp_size", "tp_size"))
    flattened: dict[str, tuple[str, ...]] = {MeshAxisName.DP_CP: (DP, CP)} if cp > 1 else {}
    return MeshSpec((dp, cp, tp), (DP, CP, TP), flattened)


def refuse_for_megatron_fsdp(sizes: Degrees) -> None:
    """Refuse sizes that Megatron-FSDP cannot have.

    Raises:
        MeshLayoutError: There is one.
    """
    _refuse("MegatronFSDPConfig", sizes, "dp_replicate", "pp", "ep")


def refuse_for_ddp(sizes: Degrees) -> None:
    """Refuse sizes that DDP cannot have.

    Raises:
        MeshLayoutError: There is one.
    """
    _refuse("DDPConfig", sizes, "dp_replicate", "tp", "pp", "cp", "ep")


def plain(spec: MeshSpec) -> PlainSpec:
    """Return a spec in ints and plain strings.

    Raises:
        MeshLayoutError: It is no spec, or contradicts itself.
    """
    refuse_class(spec, "spec")
    lacking = [name for name in ("shape", "axes", "flattened_axes") if not hasattr(spec, name)]
    if lacking:
        raise MeshLayoutError(
            f"spec {spec!r} has no {', '.join(lacking)}; give a meshcompat.MeshSpec, such as "
            f"MeshSpec((2, 4), ('dp', 'tp'))"
        )
    shape = as_sizes(spec.shape, "shape")
    names = as_new_names(spec.axes, len(shape))
    flattened = plain_flattened(spec.flattened_axes)
    for name, joined in flattened.items():
        places = [names.index(part) for part in joined if part in names]
        if name in names or len(places) < len(joined):
            raise MeshLayoutError(
                f"flattened axis {name!r} of {spec!r} needs a new name, and joins some of the "
                f"mesh dims {names}, not {joined!r}"
            )
        if places != sorted(places):
            raise MeshLayoutError(
                f"flattened axis {name!r} of {spec!r} joins {joined!r} out of order; sort them"
            )
    return PlainSpec(shape, names, flattened)


def plain_flattened(flattened_axes: object) -> dict[str, tuple[str, ...]]:
    """Return flattened axes in plain strings.

    Raises:
        MeshLayoutError: They are no dict from a name to names.
    """
    if not isinstance(flattened_axes, Mapping):
        raise MeshLayoutError(
            f"flattened_axes {flattened_axes!r} must be a dict from each new name to the mesh "
            f"dims that it joins"
        )
    return {as_name(name): as_names(joined) for name, joined in flattened_axes.items()}


def _refuse(strategy: str, sizes: Degrees, *kinds: str) -> None:
    for kind in kinds:
        require_size_one(strategy, getattr(sizes, f"{kind}_size"), f"{kind}_size")
