"""Which GPU a rank uses, and what NCCL hears where several ranks share one."""

import os

import pytest
import torch

from meshcompat._rank_processes.gpus import gpu_of
from meshcompat.testing import _rank

pytestmark = pytest.mark.once


def test_ranks_with_a_gpu_each_leave_the_environment_alone():
    environment = {}
    assert [gpu_of(rank, 4, 4, environment) for rank in range(4)] == [0, 1, 2, 3]
    assert environment == {}


def test_ranks_that_share_a_gpu_are_hosts_of_their_own():
    environments = [{} for _ in range(4)]
    gpus = [gpu_of(rank, 4, 2, environment) for rank, environment in enumerate(environments)]
    assert gpus == [0, 1, 0, 1]
    assert len({environment["NCCL_HOSTID"] for environment in environments}) == 4
    assert {environment["NCCL_SOCKET_IFNAME"] for environment in environments} == {"lo"}


def test_what_the_environment_says_stays():
    environment = {"NCCL_SOCKET_IFNAME": "eth0"}
    gpu_of(1, 2, 1, environment)
    assert environment["NCCL_SOCKET_IFNAME"] == "eth0"


def test_a_rank_of_a_pool_takes_its_gpu(monkeypatch):
    taken = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    _rank._set_environment(_rank.Task(3, 4, "cpu:gloo,cuda:nccl", "log"))  # noqa: SLF001  (a rank needs a GPU)
    assert taken == [1]
    assert os.environ["NCCL_HOSTID"] == "rank-3"
