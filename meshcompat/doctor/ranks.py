"""What differs between the ranks of a launcher: each tells its facts through the store.

No process group is made. Rank 0 reads what all others wrote; counters say who is there, since
reading a counter never waits for a rank that does not come.
"""

from __future__ import annotations

import contextlib
import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from meshcompat._rank_processes.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from meshcompat._rank_processes.place import Place
    from meshcompat._rank_processes.stores import Store

CLOCK_TOLERANCE = 1.0
"""Seconds by which clocks may differ unsaid: the ranks do not read theirs at the very same moment."""

_READING_CLOCKS = 5.0
"""Seconds that ranks which came have to tell the time, before nothing is said of clocks."""

_OF_A_RANK = {
    "RANK",
    "LOCAL_RANK",
    "GROUP_RANK",
    "ROLE_RANK",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "OMPI_COMM_WORLD_NODE_RANK",
    "PMI_RANK",
    "PMIX_RANK",
    "TORCHELASTIC_ERROR_FILE",
}
"""Variables that are meant to differ."""


class Difference(NamedTuple):
    """Something that is not the same on all ranks."""

    what: str
    values: dict[str, list[int]]
    """Each value, with the ranks that have it; the value of most ranks first."""


class Ranks(NamedTuple):
    """What the ranks told."""

    world_size: int
    missing: list[int]
    """Ranks that did not come in time."""
    hosts: dict[str, list[int]]
    differences: list[Difference]
    clocks: dict[int, float]
    """Seconds by which a rank's clock is ahead of that of rank 0, where it is far off."""
    error: str | None = None
    """Why nothing could be told."""


class NotMetError(Exception):
    """The ranks of the launcher cannot talk to each other."""


def hear(place: Place, facts: Mapping[str, Any], timeout: float) -> Ranks:
    """Return what all ranks told, as rank 0, whose own facts these are.

    Raises:
        NotMetError: There is no store to meet at.

    Collective:
        Yes: the other ranks of the launcher call `tell`. It waits for *timeout* seconds for those
        that do not come.
    """
    with _met(place, timeout) as store:
        return hear_all(store, place.world_size, told(facts), timeout)


def tell(place: Place, facts: Mapping[str, Any], timeout: float) -> None:
    """Tell rank 0 the facts of this rank.

    Raises:
        NotMetError: There is no store to meet at, or rank 0 is gone.

    Collective:
        Yes: rank 0 calls `hear`.
    """
    with _met(place, timeout) as store:
        tell_rank_0(store, place.rank, told(facts), timeout)


@contextlib.contextmanager
def _met(place: Place, timeout: float) -> Iterator[Store]:
    """Open the store that the launcher names, and word whatever torch raises while it is used."""
    from meshcompat._rank_processes.stores import PrefixStore, open_store  # noqa: PLC0415  (torch)

    try:
        is_server = place.rank == 0 and not place.has_store
        opened = open_store(place.host, place.port, is_server=is_server, timeout=timeout)
        yield PrefixStore(f"meshcompat/doctor/{place.attempt}", opened)
    except Exception as error:
        where = f"{place.host}:{place.port}"
        raise NotMetError(
            f"rank {place.rank} of {place.world_size} lost the others: the store at {where} does "
            f"not answer ({one_line(error)})"
        ) from error


def told(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts that are compared, as words."""
    torch = facts["torch"] or {}
    gpus = [f"{gpu['name']} ({gpu['memory_gib']} GiB)" for gpu in facts["gpus"]]
    words = {
        "host": facts["host"],
        "meshcompat": facts["meshcompat"],
        "torch": torch.get("release", "none"),
        "torch's commit": str(torch.get("git"))[:12],
        "Python": facts["python"],
        "platform": facts["platform"],
        "backends": ", ".join(facts["backends"]),
        "NCCL": facts["nccl"] or "none",
        "GPUs": facts.get("gpu_error") or ", ".join(gpus) or "none",
    }
    variables = {
        f"${name}": value for name, value in facts["environment"].items() if name not in _OF_A_RANK
    }
    return words | variables


def tell_rank_0(store: Store, rank: int, own: Mapping[str, str], timeout: float) -> None:
    """Tell the facts of a rank, and then the time, when rank 0 asks all for it."""
    _come(store, rank, own)
    store.wait(["go"], timedelta(seconds=timeout + 5))
    store.set(f"clock/{rank}", repr(time.time()))
    store.add("timed", 1)


def hear_all(store: Store, world_size: int, own: Mapping[str, str], timeout: float) -> Ranks:
    """Return what the ranks that came in time told."""
    _come(store, 0, own)
    _wait(lambda: store.add("here", 0) == world_size, timeout)
    here = [rank for rank in range(world_size) if store.add(f"here/{rank}", 0)]
    words = {rank: json.loads(store.get(f"told/{rank}")) for rank in here}
    clocks = {0: time.time()}
    store.set("go", "1")
    if _wait(lambda: store.add("timed", 0) >= len(here) - 1, _READING_CLOCKS):
        clocks |= {rank: float(store.get(f"clock/{rank}")) for rank in here[1:]}
    return compare(world_size, words, clocks)


def _come(store: Store, rank: int, own: Mapping[str, str]) -> None:
    store.set(f"told/{rank}", json.dumps(own))
    store.add(f"here/{rank}", 1)
    store.add("here", 1)


def _wait(is_done: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def compare(
    world_size: int, words: Mapping[int, Mapping[str, str]], clocks: Mapping[int, float]
) -> Ranks:
    """Return what differs between ranks that told their facts; *clocks* are read at one moment."""
    keys = dict.fromkeys(key for facts in words.values() for key in facts)
    differences = []
    for key in keys:
        values: dict[str, list[int]] = {}
        for rank, facts in words.items():
            values.setdefault(facts.get(key, "not set"), []).append(rank)
        if len(values) > 1 and key != "host":
            ordered = sorted(values.items(), key=lambda pair: (-len(pair[1]), pair[1]))
            differences.append(Difference(key, dict(ordered)))
    hosts: dict[str, list[int]] = {}
    for rank, facts in words.items():
        hosts.setdefault(facts["host"], []).append(rank)
    off = {rank: round(clock - clocks[0], 1) for rank, clock in clocks.items()}
    far = {rank: ahead for rank, ahead in off.items() if abs(ahead) > CLOCK_TOLERANCE}
    missing = [rank for rank in range(world_size) if rank not in words]
    return Ranks(world_size, missing, hosts, differences, far)


def document(ranks: Ranks) -> dict[str, Any]:
    """Return what the ranks told, as JSON has it."""
    return {
        "world_size": ranks.world_size,
        "missing": ranks.missing,
        "hosts": ranks.hosts,
        "differences": [difference._asdict() for difference in ranks.differences],
        "clocks_ahead_of_rank_0": [
            {"rank": rank, "seconds": ahead} for rank, ahead in ranks.clocks.items()
        ],
        "error": ranks.error,
    }


def problems(ranks: Ranks) -> Sequence[str]:
    """Return what a job's meshes need from the ranks and do not find."""
    from meshcompat._rank_processes.words import ranks_named  # noqa: PLC0415

    if ranks.error is not None:
        return [ranks.error]
    if ranks.missing:
        return [f"{ranks_named(ranks.missing)} of {ranks.world_size} did not come"]
    return []
