"""The thread that makes groups has the current device of the thread that asked, of whatever type."""

from __future__ import annotations

import threading
import types
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat._eras import stores

pytestmark = pytest.mark.multiprocess

TYPE = "hpu"
"""A type whose module comes with another package."""


class Devices(types.ModuleType):
    """The module of a device type, such as `torch.cuda`: each thread has a device, 0 at first."""

    def __init__(self):
        super().__init__(TYPE)
        self.of_thread = threading.local()

    def is_available(self):
        return True

    def is_initialized(self):
        return True

    def device_count(self):
        return 8

    def current_device(self):
        return getattr(self.of_thread, "index", 0)

    def set_device(self, index):
        self.of_thread.index = index


def devices_seen():
    """Return the threads, and the current devices, in which a backend of another device type begins."""
    devices, seen = Devices(), []
    setattr(torch, TYPE, devices)

    def begin(store, rank, size, timeout):
        is_main = threading.current_thread() is threading.main_thread()
        seen.append((is_main, devices.current_device()))
        return dist.ProcessGroupGloo(store, rank, size, timeout)

    dist.Backend.register_backend("dummy", begin, devices=[TYPE])
    store = dist.PrefixStore("dummy", stores.default_store())
    rank, size = dist.get_rank(), dist.get_world_size()
    dist.barrier()
    dist.destroy_process_group()
    dist.init_process_group(
        "dummy", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=60)
    )
    devices.set_device(rank)
    seen.clear()
    mc.init_device_mesh(TYPE, (2, 4), mesh_dim_names=("dp", "tp"))
    return seen


def test_groups_begin_on_the_current_device_of_the_caller(pool):
    for rank, seen in enumerate(pool.run(devices_seen)):
        assert len(seen) >= 2
        assert {index for _, index in seen} == {rank}
        assert not any(is_main for is_main, _ in seen)
