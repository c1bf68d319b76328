"""Ways in which a rank dies or hangs around a call of ours, and how the others leave word of it."""

from __future__ import annotations

import functools
import json
import os
import signal
import time

import torch.distributed as dist

from meshcompat import _groups
from meshcompat._agreement.comparison import AGREED, Comparison
from meshcompat._agreement.talk import Talk

TIMEOUT = 4.0
ALLOWANCE = 5
"""Seconds beyond the timeout after which every rank has its error."""


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def hang(*_, **__):
    time.sleep(TIMEOUT + ALLOWANCE)
    die()


def die_before(_):
    die()


def die_while_it_waits(patch):
    arrive = Comparison.arrive
    patch.setattr(Comparison, "arrive", lambda *arguments: die(arrive(*arguments)))


def die_before_it_says_that_all_agree(patch):
    """Come last, and die with the verdict unsaid."""
    first = Talk.set

    def come_last(self, key, value):
        if value == AGREED:
            die()
        first(self, key, value)

    patch.setattr(Talk, "set", come_last)
    time.sleep(1)


def die_between_comparison_and_groups(patch):
    patch.setattr(_groups, "_make", die)


def hang_between_comparison_and_groups(patch):
    patch.setattr(_groups, "_make", hang)


def stop_between_comparison_and_groups(patch):
    patch.setattr(_groups, "_make", lambda *_, **__: os.kill(os.getpid(), signal.SIGSTOP))


def die_between_two_groups(patch):
    first = dist.new_group

    @functools.wraps(first)
    def make_one(*args, **kwargs):
        patch.setattr(dist, "new_group", die)
        return first(*args, **kwargs)

    patch.setattr(dist, "new_group", make_one)


HUNG = "hung between comparison and groups"
STOPPED = "stopped between comparison and groups"
FAULTS = {
    "killed before its call": die_before,
    "killed while it waits for the others": die_while_it_waits,
    "killed before it says that all agree": die_before_it_says_that_all_agree,
    "killed between comparison and groups": die_between_comparison_and_groups,
    "killed between two groups": die_between_two_groups,
    HUNG: hang_between_comparison_and_groups,
    STOPPED: stop_between_comparison_and_groups,
}
KILLS = [fault for fault in FAULTS if "killed" in fault]


def call_and_write(path, call):
    """Make a call and leave what came of it in a file: the pool only tells of who died."""
    start = time.monotonic()
    told: dict[str, object] = {"kind": None}
    try:
        call()
    except RuntimeError as error:
        told = {"kind": type(error).__name__, "text": str(error)}
        told |= {"missing": list(getattr(error, "missing", ()))}
    path.write_text(json.dumps({**told, "seconds": time.monotonic() - start}))


def told_in(folder):
    return {int(path.name): json.loads(path.read_text()) for path in sorted(folder.iterdir())}
