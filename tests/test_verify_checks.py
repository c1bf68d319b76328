"""What a rank says of its own devices, groups and meshes, without a second rank."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat._rank_processes.place import Place
from meshcompat.verify import checks
from meshcompat.verify.arguments import Request
from meshcompat.verify.launched import command as launched
from meshcompat.verify.launched.rank import choose_device
from meshcompat.verify.plan import Row
from tests.support.verify_faults import standard_plan

ENVIRONMENT = {"RANK": "5", "WORLD_SIZE": "8", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}


class Mesh:
    """As much of a mesh as is asked."""

    def __init__(self, local_rank):
        self.get_local_rank = lambda: local_rank


@pytest.mark.parametrize(
    ("listed", "place", "fault"),
    [
        ([0, 2], 0, None),
        ([2, 0], 0, "the mesh lists ranks 2, 0, and should list 0, 2"),
        ([0, 2], 1, "the mesh counts it as number 1, and it is number 0"),
    ],
)
def test_a_mesh_must_agree_with_the_sum(monkeypatch, listed, place, fault):
    monkeypatch.setattr(mc, "get_ranks", lambda *_: listed)
    monkeypatch.setattr(mc, "get_flat_mesh", lambda *_: Mesh(place))
    row = Row("fsdp2", "dp_shard", (2,))
    mesh: Any = Mesh(place)
    assert checks.fault_of(standard_plan(4), row, 0, mesh, [(0, 1), (2, 1)]) == fault


def test_a_rank_chooses_its_device_before_it_joins(monkeypatch):
    chosen = []

    def refuse(backend, **_):
        raise RuntimeError(f"no {backend} here")

    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(dist, "init_process_group", refuse)
    device = torch.device("cuda", 1)
    world = checks.World(0, 1, device, dist.HashStore(), 60.0)

    class Silent:
        def began(self, step):
            pass

    silent: Any = Silent()
    error = checks.run(standard_plan(1), world, silent)
    assert error == "RuntimeError: no nccl here"
    assert chosen == [device]


def test_a_rank_on_a_gpu_tells_the_version_of_nccl(monkeypatch):
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 29, 7))
    world = checks.World(0, 1, torch.device("cuda", 1), dist.HashStore(), 60.0)
    identity = checks.identity_of(world, 5.0)
    assert (identity.device, identity.nccl, identity.waited) == ("cuda:1", "2.29.7", 5.0)
    assert type(identity.torch) is str, "torch's own class would bring torch along"


@pytest.mark.parametrize(
    ("asked", "count", "local_rank", "device"),
    [
        (None, 0, 3, "cpu"),
        (None, 4, 3, "cuda:3"),
        ("cpu", 4, 3, "cpu"),
        ("cuda", 4, 0, "cuda:0"),
        (None, 1, 3, "cuda:0"),
    ],
)
def test_device_is_that_of_the_local_rank(monkeypatch, asked, count, local_rank, device):
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    place = Place.of({**ENVIRONMENT, "LOCAL_RANK": str(local_rank)})
    assert str(choose_device(asked, place)) == device


@pytest.mark.parametrize(
    ("asked", "count", "words"),
    [
        ("cuda", 0, "finds no CUDA device with NCCL here; use --device cpu"),
        (None, 2, "rank 5 is number 5 on its machine, which has 2 CUDA devices"),
    ],
)
def test_a_rank_without_a_device_is_told_what_to_do(monkeypatch, asked, count, words):
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(ValueError, match=words):
        choose_device(asked, Place.of(ENVIRONMENT))


@pytest.mark.parametrize(("local_rank", "is_told"), [("2", True), ("3", False)])
def test_the_first_rank_without_a_device_says_it(monkeypatch, capsys, local_rank, is_told):
    for name, value in {**ENVIRONMENT, "LOCAL_RANK": local_rank}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    request = Request(standard_plan(8), None, 60.0, as_json=False, is_launched=True)
    assert launched.run(request, None) == 2
    assert ("which has 2 CUDA devices" in capsys.readouterr().err) == is_told
