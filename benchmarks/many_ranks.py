"""What it costs all ranks of a large world together to agree, on a real TCPStore.

The ranks are simulated: each is the state machine that a rank of a job runs, with its own keys, and
a few processes run them one after the other, each through one connection. So the time is that of
all ranks' operations together, which a job's ranks share out among their hosts; the store is the
same single server as in a job.

    python -m benchmarks.many_ranks 1024 16384 131072

prints a table for docs/performance.md.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed as dist

from meshcompat._agreement.comparison import AGREED
from meshcompat._agreement.marks import MADE, Mark
from meshcompat._agreement.talk import Talk
from meshcompat._agreement.worlds import World

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PROCESSES = 4
COMPARISONS = 2
PATIENCE = 600.0

ASKED = {
    "call": "init_device_mesh",
    "root": "(8, 16, 16, 8, 8) named ('pp', 'dp_replicate', 'dp_shard', 'cp', 'tp')",
    "ranks": "0 to 131071",
    "dims": "; ".join(
        f"'{name}' of size {size} of (size, stride) (({size}, {stride}),)"
        for name, size, stride in (("pp", 8, 16384), ("dp_shard", 16, 64), ("cp", 8, 8))
    ),
    "share_groups": "True",
    "groups made before": "1",
    "meshcompat": "1.0.0",
    "torch": "2.15",
}


class Cost(NamedTuple):
    """What ranks asked of the store, and the processor time that they and the store took."""

    processor: float
    operations: int
    bytes: int
    largest: int
    verdicts: set[str]


class MeasuredStore:
    """Counts the operations of a store, and the bytes of their keys and values."""

    def __init__(self, store: Any) -> None:
        self.operations = self.bytes = self.largest = 0
        self._store = store

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._store, name)

        def measured(key: Any, *values: Any) -> Any:
            answer = operation(key, *values)
            written = key if isinstance(key, str) else key[0]
            size = sum(
                len(each) for each in (written, *values, answer) if isinstance(each, (str, bytes))
            )
            self.operations += 1
            self.bytes += size
            self.largest = max(self.largest, size)
            return answer

        return measured


def _client(port: int) -> Any:
    store: Any = dist.TCPStore
    return store(
        "127.0.0.1",
        port,
        is_master=False,
        wait_for_workers=False,
        timeout=timedelta(seconds=PATIENCE),
    )


def ranks_of_one_process(
    connection: Connection[Any, Any], port: int, ranks: range, size: int
) -> None:
    """Let *ranks* join and compare, as often as the parent says so, and tell what it cost."""
    torch.set_num_threads(1)
    worlds: list[World] = []
    client = _client(port)
    connection.send("ready")
    while connection.recv():
        store: Any = MeasuredStore(client)
        begun_at = time.process_time()
        worlds = worlds or [World(Talk(store), rank, size) for rank in ranks]
        for world in worlds:
            world.talk = Talk(store)
        begun = [(world, world.next(ASKED)) for world in worlds]
        verdicts = set()
        heard = [comparison.arrive(PATIENCE) for _, comparison in begun]
        for (world, comparison), verdict in zip(begun, heard, strict=True):
            verdicts.add(verdict or comparison.hear())
            world.clear()
            world.marks.put(world.talk, world.rank, Mark(comparison.number, MADE))
        processor = time.process_time() - begun_at
        connection.send(Cost(processor, store.operations, store.bytes, store.largest, verdicts))


def measure(size: int, processes: int = PROCESSES) -> list[tuple[float, Cost]]:
    """Return the seconds and the cost of each of several comparisons of *size* ranks."""
    store: Any = dist.TCPStore
    server = store("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    spawn = multiprocessing.get_context("spawn")
    pipes, running = [], []
    for number in range(processes):
        mine, theirs = spawn.Pipe()
        ranks = range(number, size, processes)
        process = spawn.Process(
            target=ranks_of_one_process, args=(theirs, server.port, ranks, size), daemon=True
        )
        process.start()
        pipes.append(mine)
        running.append(process)
    for pipe in pipes:
        pipe.recv()
    measured = [_compare(pipes) for _ in range(COMPARISONS)]
    for pipe in pipes:
        pipe.send(False)
    for process in running:
        process.join()
    return measured


def _compare(pipes: list[Any]) -> tuple[float, Cost]:
    started, server = time.perf_counter(), time.process_time()
    for pipe in pipes:
        pipe.send(True)
    costs = [Cost(*pipe.recv()) for pipe in pipes]
    seconds = time.perf_counter() - started
    return seconds, Cost(
        sum(cost.processor for cost in costs) + time.process_time() - server,
        sum(cost.operations for cost in costs),
        sum(cost.bytes for cost in costs),
        max(cost.largest for cost in costs),
        set().union(*(cost.verdicts for cost in costs)),
    )


def main() -> None:
    """Print a row for each size of the world."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sizes", type=int, nargs="+", help="how many ranks")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="that run them")
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {given.processes} processes")
    print(
        "| ranks | comparison | seconds, all ranks | processor seconds | operations a rank | bytes a rank | largest |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in given.sizes:
        for name, (seconds, cost) in zip(
            ("first", "next"), measure(size, given.processes), strict=True
        ):
            assert cost.verdicts == {AGREED}
            each = (f"{cost.operations / size:.2f}", f"{cost.bytes / size:.0f}", cost.largest)
            print(
                "|",
                " | ".join(
                    map(str, (size, name, f"{seconds:.2f}", f"{cost.processor:.2f}", *each))
                ),
                "|",
                flush=True,
            )


if __name__ == "__main__":
    main()
