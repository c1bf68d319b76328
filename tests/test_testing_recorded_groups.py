"""The kit's record of group creation: everything, in order, and no trace afterwards."""

import sys
import types
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist
from torch.distributed import device_mesh, distributed_c10d
from torch.distributed.device_mesh import init_device_mesh

from meshcompat.testing import GroupRecord, each_rank, fake_world, recorded_groups


@pytest.fixture
def world():
    with fake_world(8, rank=5):
        yield


@pytest.mark.usefixtures("world")
def test_recorded_groups_has_ranks_backend_and_timeout():
    minute = timedelta(minutes=1)
    with recorded_groups() as groups:
        dist.new_group([6, 4], timeout=minute, backend="FAKE")
        dist.new_group()
    assert groups == [
        GroupRecord("new_group", (6, 4), "fake", minute),
        GroupRecord("new_group", tuple(range(8)), None, None),
    ]


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize(
    "module", [dist, distributed_c10d, device_mesh], ids=lambda module: module.__name__
)
def test_recorded_groups_sees_calls_through_every_module_of_torch(module):
    with recorded_groups() as groups:
        module.new_group([0, 1])
    assert [record.ranks for record in groups] == [(0, 1)]


@pytest.mark.usefixtures("world")
def test_recorded_groups_sees_calls_of_a_module_that_imported_the_name(monkeypatch):
    importer: Any = types.ModuleType("importer")
    importer.new_group = original = dist.new_group
    monkeypatch.setitem(sys.modules, "importer", importer)
    with recorded_groups() as groups:
        importer.new_group([0, 1])
    assert len(groups) == 1
    assert importer.new_group is original


@pytest.mark.usefixtures("world")
def test_recorded_groups_sees_the_groups_of_a_mesh():
    with recorded_groups() as groups:
        init_device_mesh("cpu", (2, 4))
    partitions = {record.ranks for record in groups}
    assert {(0, 4), (1, 5), (2, 6), (3, 7), (0, 1, 2, 3), (4, 5, 6, 7)} <= partitions


@pytest.mark.usefixtures("world")
def test_recorded_groups_is_empty_when_a_mesh_is_only_sliced():
    mesh = init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
    with recorded_groups() as groups:
        _ = mesh["tp"]
    assert groups == []


@pytest.mark.usefixtures("world")
def test_recorded_groups_keeps_the_record_of_a_refused_group():
    with recorded_groups() as groups, pytest.raises((RuntimeError, ValueError)):
        dist.new_group([0, 99])
    assert [record.ranks for record in groups] == [(0, 99)]


@pytest.mark.usefixtures("world")
def test_recorded_groups_nests():
    with recorded_groups() as outer:
        dist.new_group([0])
        with recorded_groups() as inner:
            dist.new_group([1])
        dist.new_group([2])
    assert [record.ranks for record in outer] == [(0,), (1,), (2,)]
    assert [record.ranks for record in inner] == [(1,)]


def fail():
    raise KeyError


@pytest.mark.usefixtures("world")
def test_recorded_groups_restores_torch_after_an_error():
    modules = (dist, distributed_c10d, device_mesh)
    before = [module.new_group for module in modules]
    with pytest.raises(KeyError), recorded_groups():
        fail()
    assert [module.new_group for module in modules] == before


@pytest.mark.usefixtures("world")
def test_recorded_groups_falls_silent_where_its_function_was_kept():
    with recorded_groups() as groups:
        kept = dist.new_group
    kept([0, 1])
    assert groups == []


@pytest.mark.skipif(
    not hasattr(distributed_c10d, "split_group"), reason="split_group is new in torch 2.5"
)
def test_recorded_groups_counts_each_group_of_a_split(monkeypatch):
    # The fake backend cannot be split on every release; what is asked for does not depend on it.
    monkeypatch.setattr(distributed_c10d, "split_group", lambda *_, **__: None)
    with recorded_groups() as groups:
        distributed_c10d.split_group(split_ranks=[[0, 2], [1, 3]], backend="fake")
    assert groups == [
        GroupRecord("split_group", (0, 2), "fake", None),
        GroupRecord("split_group", (1, 3), "fake", None),
    ]


def test_recorded_groups_of_all_ranks_are_equal():
    records = set()
    for _ in each_rank(8):
        with recorded_groups() as groups:
            init_device_mesh("cpu", (2, 2, 2))
        records.add(tuple(groups))
    assert len(records) == 1
