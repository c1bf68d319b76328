"""What a launcher says about this rank. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from meshcompat._rank_processes.launchers import launch_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Place(NamedTuple):
    """Which rank of which world a launcher made of this process, and where the ranks meet."""

    rank: int
    world_size: int
    local_rank: int
    host: str
    port: int
    has_store: bool
    attempt: str
    """Tells this start of the job from those before it, which may have left keys in the store."""
    launcher: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """Read the variables of a launcher; ValueError for one that is no number."""
        launch = launch_of(environment)
        if launch is None:
            raise ValueError("no launcher has started this process: RANK is not set")
        said = launch.variables
        run = said.get("TORCHELASTIC_RUN_ID", "")
        restart = said.get("TORCHELASTIC_RESTART_COUNT", "0")
        rank = int(said["RANK"])
        return cls(
            rank=rank,
            world_size=int(said["WORLD_SIZE"]),
            local_rank=int(said.get("LOCAL_RANK", rank)),
            host=said["MASTER_ADDR"],
            port=int(said["MASTER_PORT"]),
            has_store=said.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            attempt=f"{run}/{restart}",
            launcher=launch.launcher,
        )
