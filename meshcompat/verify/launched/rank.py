"""This rank among those of a launcher: it works, and watches the others through a store.

Three threads, because torch can wait for ever: one works, one watches, and the main one
answers signals and notices when the store itself is gone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from meshcompat._rank_processes.words import one_line
from meshcompat.verify import checks
from meshcompat.verify.launched.board import Board
from meshcompat.verify.launched.rendezvous import (
    RendezvousError,
    check_place,
    connect,
    open_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshcompat._rank_processes.place import Place
    from meshcompat._rank_processes.stores import Store
    from meshcompat.verify.plan import Plan
    from meshcompat.verify.roll import Roll

ALLOWANCE = 0.5
"""Seconds that ranks have to say themselves that they waited for too long."""

SETTLING = 1.0
"""Seconds from the first trouble until signs of life are counted, for as long again."""

STEPPING_IN = 1.0
"""Seconds after the first trouble when another rank speaks, if rank 0 has not begun to."""

LAST_RESORT = 4.5
"""Seconds beyond the timeout after which the store is given up."""


def choose_device(asked: str | None, place: Place) -> torch.device:
    """Return the device of this rank; ValueError where there is none."""
    count = torch.cuda.device_count() if dist.is_nccl_available() else 0
    if asked == "cpu" or (asked is None and count == 0):
        return torch.device("cpu")
    if count == 0:
        raise ValueError(
            f"--device cuda was asked for, but torch {torch.__version__} finds no CUDA device "
            f"with NCCL here; use --device cpu, or a torch that is built for this machine"
        )
    if count == 1:  # what a launcher leaves to see of a machine that has more
        return torch.device("cuda", 0)
    if place.local_rank >= count:
        raise ValueError(
            f"rank {place.rank} is number {place.local_rank} on its machine, which has {count} "
            f"CUDA devices, numbered from 0; start at most {count} ranks there, or use "
            f"--device cpu"
        )
    return torch.device("cuda", place.local_rank)


class Rank:
    """This rank among those of a launcher."""

    def __init__(
        self, plan: Plan, place: Place, device: torch.device, timeout: float, reduce: checks.Reduce
    ) -> None:
        self.plan = plan
        self.place = place
        self.device = device
        self.timeout = timeout
        self.reduce = reduce
        self.was_told_to_stop = False
        self.store_error: str | None = None
        self.rendezvous_error: str | None = None
        self.step = 0
        self.is_ok = False
        self._heard = time.monotonic()
        self._ready = time.perf_counter()
        self._untold: list[str | None] = []
        self._pause = max(0.25, place.world_size / 1000)

    def verify(self, say: Callable[[Roll], bool], watch: Callable[[int, int], None]) -> bool:
        """Run the plan as this rank, and return whether all is right on all ranks.

        Args:
            say: Called on one rank only, rank 0 unless it is lost: tells the user, and
                returns whether all is right.
            watch: Called on rank 0 with the steps begun over all ranks, and its own step.

        Collective:
            Yes: all ranks of the launcher.
        """
        watcher = threading.Thread(target=self._watch, args=(say, watch), daemon=True)
        watcher.start()
        while watcher.is_alive():
            watcher.join(0.1)
            if time.monotonic() - self._heard > self.timeout + LAST_RESORT:
                self.store_error = f"no answer within {self.timeout:g} s"
                return False
        return self.is_ok

    def stop(self) -> None:
        """Come to an end, because the launcher says so."""
        self.was_told_to_stop = True

    def _watch(self, say: Callable[[Roll], bool], watch: Callable[[int, int], None]) -> None:
        try:
            is_server = self.place.rank == 0 and not self.place.has_store
            meet = open_server if is_server else connect
            watched = meet(self.place, self.timeout)
            check_place(self.place, watched)
            board = Board(watched, self.place.rank)
            store = connect(self.place, self.timeout)
            threading.Thread(target=self._work, args=(store,), daemon=True).start()
            is_through = self._follow(board, watch)
            is_speaker = self._is_speaker(board, is_through=is_through)
            if is_speaker:
                self.is_ok = say(self._roll(board, is_through=is_through))
                board.count("ok" if self.is_ok else "failed")
                board.count("spoken")
            self.is_ok = board.read("ok") > 0
            if is_through:
                dist.destroy_process_group()
            self._leave(board)
        except RendezvousError as error:
            self.rendezvous_error = str(error)
        except Exception as error:  # noqa: BLE001  (without a store nobody can be asked)
            self.store_error = one_line(error)

    def _work(self, store: Store) -> None:
        follower = _Follower(self, Board(store, self.place.rank))
        follower.began(0)
        world = checks.World(
            self.place.rank, self.place.world_size, self.device, store, self.timeout, self._ready
        )
        self._untold.append(checks.run(self.plan, world, follower, self.reduce))

    def _follow(self, board: Board, watch: Callable[[int, int], None]) -> bool:
        """Watch until all ranks are through, or will not be; return whether they are."""
        progress = 0
        progressed = time.monotonic()
        while board.read("ended") < self.place.world_size:
            self._wait(board)
            begun = board.read("progress") + board.read("ended")
            if begun > progress:
                progress, progressed = begun, time.monotonic()
                watch(progress, self.step)
            is_late = time.monotonic() - progressed > self.timeout + ALLOWANCE
            if is_late or self.was_told_to_stop or board.read("errors") or board.read("spoken"):
                return False
        return board.read("errors") == 0

    def _is_speaker(self, board: Board, *, is_through: bool) -> bool:
        """Choose who speaks, rank 0 or the first other rank that misses it, and hear it out."""
        patience = self.timeout if is_through else STEPPING_IN
        if self.place.rank > 0:
            self._wait_for(board, "speakers", 1, patience)
        if board.count("speakers") == 1:
            return True
        self._wait_for(board, "spoken", 1, patience + 3 * SETTLING)
        return False

    def _roll(self, board: Board, *, is_through: bool) -> Roll:
        if is_through:
            return board.roll(self.plan)
        self._wait_for(board, "ended", self.place.world_size, SETTLING)
        before = board.beats(self.place.world_size)
        self._wait_for(board, "nothing", 1, max(SETTLING, 4 * self._pause))
        after = board.beats(self.place.world_size)
        roll = board.roll(self.plan)
        for rank, member in enumerate(roll.members):
            member.is_silent = rank != self.place.rank and before[rank] == after[rank]
        return roll

    def _leave(self, board: Board) -> None:
        """Go, and go last where the store lives in this process."""
        with contextlib.suppress(RuntimeError):
            board.count("left")
            if self.place.rank == 0:
                self._wait_for(board, "left", self.place.world_size, 2 * SETTLING)

    def _wait_for(self, board: Board, name: str, value: int, seconds: float) -> None:
        """Wait until a counter is as high as *value*, but not longer than *seconds*."""
        deadline = time.monotonic() + seconds
        while board.read(name) < value and time.monotonic() < deadline:
            self._wait(board)

    def _wait(self, board: Board) -> None:
        time.sleep(self._pause)
        board.beat()
        while self._untold:
            board.ended(self._untold.pop())
        self._heard = time.monotonic()


class _Follower:
    """Hears the checks: tells the board, and keeps the step for the progress bar."""

    def __init__(self, rank: Rank, board: Board) -> None:
        self._rank = rank
        self._board = board
        self.came = board.came
        self.found = board.found
        self.measured = board.measured

    def began(self, step: int) -> None:
        self._rank.step = step
        self._board.began(step)
