"""What a launcher says about this rank in its environment. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Place(NamedTuple):
    """What the launcher says about this rank, in the variables that torchrun sets."""

    rank: int
    world_size: int
    local_rank: int
    host: str
    port: int
    has_store: bool
    attempt: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """Read the variables; ValueError for one that is no number."""
        run = environment.get("TORCHELASTIC_RUN_ID", "")
        restart = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
        rank = int(environment["RANK"])
        return cls(
            rank=rank,
            world_size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment.get("LOCAL_RANK", rank)),
            host=environment["MASTER_ADDR"],
            port=int(environment["MASTER_PORT"]),
            has_store=environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=f"meshcompat/verify/{run}/{restart}",
        )
