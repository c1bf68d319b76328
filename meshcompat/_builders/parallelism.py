"""The vocabulary of parallelism: names of mesh dims, sizes, mesh specs, strategies. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class MeshAxisName(str, Enum):
    """Names of the mesh dims that the builders make; each is a plain string too.

    Example:
        >>> from meshcompat import MeshAxisName
        >>> MeshAxisName.DP_SHARD_CP == "dp_shard_cp", f"{MeshAxisName.TP}"
        (True, 'tp')
    """

    PP = "pp"
    DP = "dp"
    DP_REPLICATE = "dp_replicate"
    DP_SHARD = "dp_shard"
    DP_SHARD_CP = "dp_shard_cp"
    DP_CP = "dp_cp"
    CP = "cp"
    TP = "tp"
    EP = "ep"
    EP_SHARD = "ep_shard"

    __str__ = str.__str__
    __format__ = str.__format__  # type: ignore[assignment]


class HasParallelismSizes(Protocol):
    """What the builders ask of sizes: a framework's own object with these attributes will do."""

    @property
    def dp_size(self) -> int | None:
        """See `ParallelismSizes`, as for all of them."""

    @property
    def dp_replicate_size(self) -> int | None: ...

    @property
    def tp_size(self) -> int | None: ...

    @property
    def pp_size(self) -> int | None: ...

    @property
    def cp_size(self) -> int | None: ...

    @property
    def ep_size(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class ParallelismSizes:
    """How many ranks each kind of parallelism takes; None and non-positive sizes mean 1.

    Attributes:
        dp_size: Ranks of data parallelism, replicated and sharded; None is what is left of
            the world.
        dp_replicate_size: How many of them replicate (HSDP).
        tp_size: Ranks of tensor parallelism.
        pp_size: Pipeline stages.
        cp_size: Ranks of context parallelism.
        ep_size: Ranks of expert parallelism, a second factorisation of the same ranks.

    Example:
        >>> from meshcompat import ParallelismSizes
        >>> ParallelismSizes(tp_size=2).dp_size is None
        True
    """

    dp_size: int | None = None
    dp_replicate_size: int | None = None
    tp_size: int | None = 1
    pp_size: int | None = 1
    cp_size: int | None = 1
    ep_size: int | None = 1


@dataclass(frozen=True)
class MeshSpec:
    """A named mesh shape, and the flattened mesh dims to make of it.

    Attributes:
        shape: Size of each mesh dim.
        axes: Name of each mesh dim.
        flattened_axes: For each flattened name the mesh dims that it joins.

    Example:
        >>> from meshcompat import MeshSpec
        >>> MeshSpec((2, 4), ("dp", "tp"), {"world": ("dp", "tp")}).shape
        (2, 4)
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    flattened_axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class FSDP2Config:
    """Strategy marker: fully sharded data parallelism of torch, with all other dims."""


@dataclass(frozen=True)
class MegatronFSDPConfig:
    """Strategy marker: Megatron-FSDP, with context and tensor parallelism."""


@dataclass(frozen=True)
class DDPConfig:
    """Strategy marker: data parallelism without a mesh."""
