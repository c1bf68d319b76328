"""What is asked to be planned, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field

STRATEGIES = ("fsdp2", "megatron-fsdp", "ddp")
SIZES = ("dp", "dp_replicate", "tp", "pp", "cp", "ep")
"""Sizes of parallelism, as flags and keys spell them; the builders add ``_size``."""


@dataclass(frozen=True)
class Split:
    """One mesh dim in a second factorisation."""

    mesh_dim: str
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    is_one_of_several: bool = False
    """Whether the mesh dim is also split into other sizes under the same names."""

    @property
    def mesh_name(self) -> str:
        """What its mesh is called."""
        sizes = f"={'x'.join(map(str, self.sizes))}" if self.is_one_of_several else ""
        return f"{self.mesh_dim}{sizes}:{','.join(self.names)}"


@dataclass(frozen=True)
class Request:
    """The meshes to plan.

    Attributes:
        world_size: Number of ranks.
        strategy: One of `STRATEGIES`, or None where *mesh* says which mesh it is.
        sizes: Sizes that were given, by their names in `SIZES`; checked by the builders' words.
        mesh: Name and size of each mesh dim, where no strategy is asked for.
        flattened: For each new name the mesh dims of *mesh* that it joins.
        splits: Second factorisations.
        gpus_per_node: Ranks on a node.
        rank: The rank whose groups are told.
        comm_mb: GPU memory of one communicator, in MB.
    """

    world_size: int
    strategy: str | None = "fsdp2"
    sizes: dict[str, int] = field(default_factory=dict)
    mesh: tuple[tuple[str, int], ...] = ()
    flattened: dict[str, tuple[str, ...]] = field(default_factory=dict)
    splits: tuple[Split, ...] = ()
    gpus_per_node: int = 8
    rank: int = 0
    comm_mb: float = 512.0

    @property
    def node_count(self) -> int:
        """Number of nodes; the last one may be partly used."""
        return -(-self.world_size // self.gpus_per_node)
