"""`TORCH_DISTRIBUTED_DEBUG=DETAIL` puts a wrapper around each group: timeouts are those of the group inside."""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat._eras import process_groups, stores

pytestmark = pytest.mark.multiprocess

ABSENT = 5
TIMEOUT = 6
"""Seconds: also what ranks have to make the default process group in, on a machine that may be busy."""


@contextlib.contextmanager
def detailed_world(backend):
    store = dist.PrefixStore("detail", stores.default_store())
    rank, size, limit = dist.get_rank(), dist.get_world_size(), timedelta(seconds=TIMEOUT)
    dist.barrier()
    dist.destroy_process_group()
    before = dist.get_debug_level()
    dist.set_debug_level(dist.DebugLevel.DETAIL)
    try:
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
        yield
    finally:
        dist.set_debug_level(before)


def wait_for_one_that_is_absent(backend):
    with detailed_world(backend):
        default = process_groups.default_timeout().total_seconds()
        start = time.monotonic()
        missing = None
        if dist.get_rank() != ABSENT:
            try:
                mc.init_device_mesh("cpu", (2, 4))
            except mc.MeshMismatchError as error:
                missing = error.missing
        return default, missing, time.monotonic() - start


@pytest.mark.parametrize("backend", ["gloo", "cpu:gloo,cuda:gloo"])
def test_ranks_wait_as_long_as_the_group_inside_the_wrapper(pool, backend):
    for rank, (default, missing, took) in enumerate(pool.run(wait_for_one_that_is_absent, backend)):
        assert default == TIMEOUT
        assert missing == (None if rank == ABSENT else (ABSENT,))
        assert took < TIMEOUT + 5
