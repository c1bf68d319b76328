"""Groups that a rank is not in are counted, and nobody can tell: torch's books are as if all were made."""

import functools
from typing import Any

import pytest
import torch.distributed as dist
from torch.distributed import distributed_c10d

import meshcompat as mc
from meshcompat import _layout
from meshcompat._eras import counting
from meshcompat.testing import fake_world, recorded_groups
from tests.support.layout_table import LAYOUTS, build_ours


def books():
    """Return what torch has written down of all groups, in plain values."""
    world: Any = distributed_c10d._world  # noqa: SLF001
    return {
        "count": world.group_count,
        "names": sorted(world.pg_names.values()),
        "ranks": sorted(
            (world.pg_names.get(group, "none of mine"), sorted(ranks.items()))
            for group, ranks in world.pg_group_ranks.items()
        ),
        "groups": len(world.pg_map),
    }


def name_of(group):
    return distributed_c10d._world.pg_names[group]  # noqa: SLF001


def books_after(make, *, is_counted, world_size, rank):
    with fake_world(world_size, rank):
        if is_counted:
            made = make()
        else:
            with recorded_groups():  # whoever watches new_group sees every call
                made = make()
        return books(), made


class Calls:
    """Counts what torch is asked for, below what `recorded_groups` replaces."""

    def __init__(self, monkeypatch):
        self.count = 0
        original = distributed_c10d._new_process_group_helper  # noqa: SLF001

        def counted(*args, **kwargs):
            self.count += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(distributed_c10d, "_new_process_group_helper", counted)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("rank", [0, 6, 15])
def test_torchs_books_are_as_if_all_groups_were_made(layout, rank):
    def make():
        ours = build_ours(layout)
        of_dims = [name_of(mesh.get_group(dim)) for mesh, dim in ours.dims()]
        return of_dims, name_of(dist.new_group(list(range(layout.world_size))))

    at = {"world_size": layout.world_size, "rank": rank}
    assert books_after(make, is_counted=True, **at) == books_after(make, is_counted=False, **at)


def test_torchs_books_are_as_if_all_groups_were_made_for_every_part_of_the_world():
    def make(ranks):
        mesh = mc.init_device_mesh("cpu", (2, 2), ranks=ranks, mesh_dim_names=("dp", "tp"))
        mc.flatten(mesh, "all")
        return mesh.mesh.tolist()

    for ranks in ([0, 1, 2, 3], [1, 3, 4, 6], [2, 3, 6, 7]):
        of_these = functools.partial(make, ranks)
        for rank in range(8):
            at = {"world_size": 8, "rank": rank}
            counted = books_after(of_these, is_counted=True, **at)
            assert counted == books_after(of_these, is_counted=False, **at)


@pytest.mark.parametrize("world_size", [64, 4096])
def test_a_rank_asks_for_two_groups_of_a_mesh_dim_in_a_world_of_any_size(world_size, monkeypatch):
    with fake_world(world_size, 37):
        calls = Calls(monkeypatch)
        shape = (2, world_size // 16, 8)
        mc.init_device_mesh("cpu", shape, mesh_dim_names=("pp", "dp", "tp"))
    assert calls.count == 6


def test_cosets_are_numbered_as_they_are_listed():
    for axes in (((2, 4),), ((2, 8), (2, 1)), ((4, 4),), (), ((2, 8), (2, 4), (2, 2), (2, 1))):
        listed = list(_layout.cosets(axes, 16))
        assert [_layout.coset_at(axes, 16, number) for number in range(len(listed))] == listed
        for number, positions in enumerate(listed):
            assert {_layout.coset_number(axes, 16, place) for place in positions} == {number}


class TestEveryCallIsMade:
    """Where a call on a rank outside does something."""

    @pytest.fixture
    def calls(self, monkeypatch):
        with fake_world(64, 37):
            yield Calls(monkeypatch)

    def make(self):
        mc.init_device_mesh("cpu", (2, 16, 2), mesh_dim_names=("pp", "dp", "tp"))

    IN_ALL = 32 + 4 + 32

    def test_but_for_an_ordinary_world(self, calls):
        self.make()
        assert calls.count == 6

    @pytest.mark.usefixtures("world")
    def test_with_a_barrier_after_each_group(self, monkeypatch):
        monkeypatch.setenv("TORCH_DIST_INIT_BARRIER", "1")
        assert not counting.can_count(None)
        monkeypatch.setenv("TORCH_DIST_INIT_BARRIER", "0")
        assert counting.can_count(None)

    def test_where_somebody_watches_new_group(self, calls):
        with recorded_groups() as groups:
            self.make()
        assert calls.count == len(groups) == self.IN_ALL

    @pytest.mark.usefixtures("world")
    def test_where_something_that_is_no_function_stands_for_new_group(self, monkeypatch):
        monkeypatch.setattr(dist, "new_group", functools.partial(dist.new_group))
        assert not counting.can_count(None)

    @pytest.mark.usefixtures("world")
    def test_of_a_default_group_that_makes_its_groups_itself(self, monkeypatch):
        monkeypatch.setattr(dist.ProcessGroup, "new_group", print, raising=False)
        assert not counting.can_count(None)

    @pytest.mark.usefixtures("world")
    def test_with_a_bound_device(self, monkeypatch):
        monkeypatch.setattr(dist.ProcessGroup, "bound_device_id", "cuda:0", raising=False)
        assert not counting.can_count(None)

    @pytest.mark.parametrize("backend", ["mpi", "cpu:gloo,cuda:mpi"])
    @pytest.mark.usefixtures("world")
    def test_of_a_backend_that_makes_its_groups_on_all_ranks(self, backend):
        assert not counting.can_count(backend)

    @pytest.mark.usefixtures("world")
    def test_of_a_backend_that_is_not_torchs_own(self):
        dist.Backend.register_backend("homemade", print, devices=["cpu"])
        assert not counting.can_count("homemade")
        assert counting.can_count("cpu:gloo,cuda:nccl")
