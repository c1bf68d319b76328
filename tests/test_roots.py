"""Roots: over the world, over some ranks, in another order; their groups, and their refusals."""

import itertools
import re
import socket
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc
from meshcompat import _eras
from meshcompat._eras import process_groups
from meshcompat.testing import each_rank, fake_world, recorded_groups
from tests.support.oracle import Grid, facts_of, seen

NAMES = ("pp", "dp", "tp")


def ranks_of(records):
    return [list(record.ranks) for record in records]


class TestOverTheWorld:
    @pytest.mark.parametrize(
        "shape", [(8,), (2, 4), (2, 2, 2), (1, 8, 1), (2, 1, 4), (1, 1, 1, 8)], ids=str
    )
    def test_has_the_ranks_of_a_row_major_array(self, shape):
        grid = Grid(shape, "abcd"[: len(shape)])
        for _ in each_rank(8):
            mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=tuple(grid.axes))
            assert seen(mesh) == grid.facts(tuple(grid.axes))
            assert type(mesh) is DeviceMesh
            assert mc.get_root_mesh(mesh) is mesh

    def test_needs_no_names(self):
        for _ in each_rank(8):
            mesh = mc.init_device_mesh("cpu", [2, 4])
            assert seen(mesh) == Grid((2, 4), "ab").facts(("a", "b"), called=None)

    def test_takes_one_size_and_one_name(self, world):  # noqa: ARG002
        mesh = mc.init_device_mesh("cpu", 8, mesh_dim_names="dp")  # type: ignore[arg-type]
        assert seen(mesh) == Grid((8,), ("dp",)).facts("dp")

    def test_makes_one_group_per_partition_and_takes_the_default_group(self, world):  # noqa: ARG002
        with recorded_groups() as groups:
            mesh = mc.init_device_mesh("cpu", (1, 8, 1, 1), mesh_dim_names=("a", "b", "c", "d"))
        assert mesh.get_group("b") is dist.group.WORLD
        assert mesh.get_group("a") is mesh.get_group("c") is mesh.get_group("d")
        assert ranks_of(groups) == [[rank] for rank in range(8)]

    def test_makes_its_groups_dim_by_dim_in_ascending_order(self, world):  # noqa: ARG002
        with recorded_groups() as groups:
            mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        assert ranks_of(groups) == [[0, 4], [1, 5], [2, 6], [3, 7], [0, 1, 2, 3], [4, 5, 6, 7]]

    def test_with_a_timeout_has_a_group_of_its_own_over_the_world(self, world):  # noqa: ARG002
        with recorded_groups() as groups:
            mesh = mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",), timeout=90)
        assert [(record.ranks, record.timeout) for record in groups] == [
            (tuple(range(8)), timedelta(seconds=90))
        ]
        assert mesh.get_group() is not dist.group.WORLD

    @pytest.mark.parametrize(
        "override", ["fake", {0: "fake"}, {"dp": ("fake", None)}, {"dp": "Fake"}], ids=repr
    )
    def test_takes_every_form_of_backend_override(self, world, override):  # noqa: ARG002
        mesh = mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",), backend_override=override)
        assert mesh.get_group() is dist.group.WORLD

    def test_in_a_fake_world_refuses_a_real_backend(self, world):  # noqa: ARG002
        """Asked for one, torch 2.14 and 2.15 end the process."""
        with recorded_groups() as groups, pytest.raises(mc.MeshLayoutError, match="fake world"):
            mc.init_device_mesh("cpu", (8,), backend_override="gloo")
        assert groups == []


class TestAfterAnotherWorld:
    """From 2.5 to 2.9 torch's tables outlive a world, and know meshes by what they are equal to."""

    def test_has_nothing_of_a_dead_submesh_that_equals_it(self):
        with fake_world(8, rank=5):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dead", "tp"))
            mc.flatten(mc.get_submesh(mesh, ("dead", "tp")), "dead_tp")
            dead = mc.get_submesh(mesh, ("pp", "dead_tp"))
        grid = Grid((2, 4), ("pp", "dead_tp"))
        with fake_world(8, rank=5):
            mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("pp", "dead_tp"))
            assert mesh.mesh.tolist() == dead.mesh.tolist()
            assert seen(mesh) == grid.facts(("pp", "dead_tp"))
            assert seen(mc.get_submesh(mesh, "dead_tp")) == grid.facts("dead_tp")

    def test_has_no_flattened_dims_of_a_dead_root_that_equals_it(self):
        for _ in range(2):
            with fake_world(8, rank=5):
                mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
                assert mc.get_axis_names(mesh) == ("dp", "tp")
                assert seen(mc.flatten(mesh)) == facts_of(np.arange(8), ("dp_tp",))


class TestOverSomeRanks:
    RANKS = (1, 2, 5, 7)
    GRID = Grid((2, 2), ("dp", "tp"), ranks=RANKS, flat=("dp", "tp"))

    def root(self):
        return mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"), ranks=self.RANKS)

    def test_is_right_on_members_and_tells_the_others_that_they_are_none(self):
        for rank in each_rank(8):
            mesh = self.root()
            assert seen(mesh) == self.GRID.facts(("dp", "tp"))
            assert mc.is_member(mesh) == (rank in self.RANKS)
            assert type(mesh) is DeviceMesh

    def test_lets_every_rank_make_every_call(self):
        for rank in each_rank(8):
            mesh = self.root()
            flat = mc.flatten(mesh, "flat")
            for names in [("dp",), ("tp", "dp"), ("flat",)]:
                submesh = mc.get_submesh(mesh, names)
                assert seen(submesh) == self.GRID.facts(names)
                assert mc.get_root_mesh(submesh) is mesh
                assert mc.is_member(submesh) == (rank in self.RANKS)
            view = mc.unflatten(flat, 0, (1, 4), ("one", "four"))
            grid = Grid((1, 4), ("one", "four"), ranks=self.RANKS)
            assert seen(view) == grid.facts(("one", "four"))
            parts = [mc.get_flat_mesh(mesh, "tp"), mc.get_flat_mesh(mesh, "dp")]
            assert seen(mc.concatenate(parts)) == self.GRID.facts(("tp", "dp"))
            columns = mc.get_all_submeshes(mesh, "dp")
            assert [column.mesh.tolist() for column in columns] == [[1, 5], [2, 7]]
            assert mc.get_ranks(mesh, ("dp", "tp")) == [1, 2, 5, 7]
            assert mc.get_axis_size(mesh, "flat") == 4
            assert mc.get_axis_names(mesh) == ("dp", "tp", "flat")
            assert mc.layout_of(mesh).shape == (2, 2)

    def test_tells_a_rank_outside_through_every_function_that_asks_for_its_group(self):
        with fake_world(8, rank=6):
            mesh = self.root()
            flat = mc.flatten(mesh, "flat")
            for ask in (
                lambda: mc.get_group(mesh, "dp"),
                lambda: mc.get_group(mesh, ("dp", "tp")),
                lambda: mc.get_group(flat, "flat"),
                mesh.get_all_groups if hasattr(mesh, "get_all_groups") else mesh.get_group,
                lambda: mesh.get_group(1),
                lambda: mesh.get_local_rank("tp"),
                flat.get_local_rank,
            ):
                with pytest.raises(mc.NotInMeshError, match="rank 6 is not in this mesh"):
                    ask()

    def test_makes_its_groups_on_all_ranks_in_one_order(self):
        everywhere = set()
        for _ in each_rank(8):
            with recorded_groups() as groups:
                self.root()
            everywhere.add(tuple(groups))
        (records,) = everywhere
        assert ranks_of(records) == [[1, 5], [2, 7], [1, 2], [5, 7]]

    def test_may_be_one_rank(self):
        grid = Grid((1, 1), ("dp", "tp"), ranks=[6])
        for _ in each_rank(8):
            mesh = mc.init_device_mesh("cpu", (1, 1), mesh_dim_names=("dp", "tp"), ranks=[6])
            assert seen(mesh) == grid.facts(("dp", "tp"))

    def test_takes_ranks_as_a_tensor(self, world):  # noqa: ARG002
        ranks: Any = torch.tensor(self.RANKS)
        mesh = mc.init_device_mesh("cpu", (2, 2), ranks=ranks)
        assert mesh.mesh.tolist() == [[1, 2], [5, 7]]

    def test_lies_beside_another_root_over_the_other_ranks(self):
        for rank in each_rank(8):
            low = mc.init_device_mesh("cpu", (4,), mesh_dim_names=("dp",), ranks=range(4))
            high = mc.init_device_mesh("cpu", (4,), mesh_dim_names=("dp",), ranks=range(4, 8))
            assert [mc.is_member(low), mc.is_member(high)] == [rank < 4, rank >= 4]
            mine = low if rank < 4 else high
            assert dist.get_process_group_ranks(mine.get_group()) == mine.mesh.tolist()


class TestInAnotherOrder:
    @pytest.mark.parametrize(
        "ranks",
        [(0, 4, 1, 5, 2, 6, 3, 7), (0, 2, 1, 3, 4, 6, 5, 7), (0, 1, 4, 5, 2, 3, 6, 7)],
        ids=str,
    )
    def test_is_right_where_ranks_ascend_along_every_dim(self, ranks):
        grid = Grid((2, 2, 2), NAMES, ranks=ranks)
        for _ in each_rank(8):
            try:
                mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES, ranks=ranks)
            except mc.MeshLayoutError:
                assert not ascends(grid)
                continue
            assert ascends(grid)
            for names in [NAMES, ("tp", "dp"), ("dp", "pp"), ("tp",)]:
                assert seen(mc.get_submesh(mesh, names)) == grid.facts(names)

    @pytest.mark.parametrize(
        "ranks", [tuple(range(7, -1, -1)), (0, 1, 2, 3, 7, 6, 5, 4), (3, 1, 2, 5)], ids=str
    )
    def test_that_descends_is_right_or_refused(self, ranks):
        """A group can keep such an order from 2.15 on; before, mesh and group would disagree."""
        shape = (2, len(ranks) // 2)
        grid = Grid(shape, ("dp", "tp"), ranks=ranks, flat=("dp", "tp"))
        for _ in each_rank(8):
            with recorded_groups() as groups:
                if not _eras.primitives().orders_groups():
                    with pytest.raises(mc.MeshLayoutError, match=r"ranks \[.*\] descend along"):
                        mc.init_device_mesh("cpu", shape, ranks=ranks)
                    assert groups == []
                    continue
                mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp"), ranks=ranks)
            assert seen(mesh) == grid.facts(("dp", "tp"))
            assert seen(mc.get_submesh(mesh, ("tp", "dp"))) == grid.facts(("tp", "dp"))
            assert seen(mc.flatten(mesh, "flat")) == grid.facts("flat")


class TestRefusals:
    def test_of_a_shape_that_does_not_fit_spells_the_product_out(self, world):  # noqa: ARG002
        with pytest.raises(mc.MeshLayoutError, match=re.escape("2 * 3 = 6 ranks, but the world")):
            mc.init_device_mesh("cpu", (2, 3))

    @pytest.mark.parametrize("device_type", ["tpu?", "cpu:0", 3, None], ids=repr)
    def test_of_a_device_type_say_what_is_one(self, world, device_type):  # noqa: ARG002
        with pytest.raises(mc.MeshLayoutError, match="without an index"):
            mc.init_device_mesh(device_type, (8,))


@pytest.fixture
def world_of_one():
    """A world of one rank that really communicates, for what a fake one leaves out."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class TestDevice:
    @pytest.mark.usefixtures("world_of_one")
    @pytest.mark.parametrize(
        ("devices", "is_chosen", "chosen"),
        [(4, False, [3]), (1, False, [0]), (2, False, [1]), (4, True, []), (0, False, [])],
        ids=["nobody chose", "one to see", "two to see", "somebody chose", "no device"],
    )
    def test_is_chosen_by_local_rank_where_nobody_has(
        self, monkeypatch, devices, is_chosen, chosen
    ):
        seen_devices = []
        monkeypatch.setenv("LOCAL_RANK", "3")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: is_chosen)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
        monkeypatch.setattr(torch.cuda, "set_device", seen_devices.append)
        mc.init_device_mesh("cuda", (1,))
        assert seen_devices == chosen

    @pytest.mark.usefixtures("world_of_one")
    def test_must_be_there(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(mc.MeshLayoutError, match="not available on this machine"):
            mc.init_device_mesh("cuda", (1,))


def name_world(monkeypatch, world_size):
    """Name a world in the environment as torchrun does."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    variables = {
        "RANK": 0,
        "WORLD_SIZE": world_size,
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": port,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


class TestWithoutAWorld:
    @pytest.fixture(autouse=True)
    def _end_of_the_world(self):
        yield
        if dist.is_initialized():
            dist.destroy_process_group()

    def test_makes_the_one_that_torchruns_environment_names(self, monkeypatch):
        """With a backend that the device type can use: 2.2 would take NCCL too, and find no GPU."""
        name_world(monkeypatch, world_size=1)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        mesh = mc.init_device_mesh("cpu", (1,), mesh_dim_names=("dp",))
        assert mesh.get_group() is dist.group.WORLD
        assert dist.get_backend() == "gloo"

    @pytest.mark.parametrize(
        "call",
        [
            lambda: mc.init_device_mesh("cpu:0", (1,)),
            lambda: mc.init_device_mesh("gpu", (1,)),
            lambda: mc.init_device_mesh("cpu", (2,)),
            lambda: mc.init_device_mesh("cpu", (0,)),
            lambda: mc.init_device_mesh("cpu", (1,), mesh_dim_names=("dp", "tp")),
            lambda: mc.init_device_mesh("cpu", (1, 1), mesh_dim_names=("dp", "dp")),
            lambda: mc.init_device_mesh("cpu", (1,), timeout=-1),
            lambda: mc.init_device_mesh("cpu", (1,), ranks=[1]),
            lambda: mc.init_device_mesh("cpu", (1,), backend_override={"tp": "gloo"}),
            lambda: mc.init_device_mesh("cpu", (1,), backend_override="gluu"),
            lambda: mc.init_device_mesh("cpu", (1,), backend_override=7),
            lambda: mc.init_named_mesh(mc.MeshSpec((1,), ("dp",)), timeout=1, timeout_minutes=1),
            lambda: mc.init_named_mesh(mc.MeshSpec((1,), ("dp",)), device_type="cpu:0"),
            lambda: mc.create_fsdp2_device_mesh(mc.ParallelismSizes(tp_size=2), world_size=1),
        ],
    )
    def test_checks_all_arguments_before_it_makes_one(self, monkeypatch, call):
        name_world(monkeypatch, world_size=1)
        with pytest.raises((mc.MeshLayoutError, mc.MeshDimError)):
            call()
        assert not dist.is_initialized()

    def test_says_what_to_call_where_no_environment_names_one(self, monkeypatch):
        monkeypatch.delenv("RANK", raising=False)
        with pytest.raises(mc.MeshLayoutError, match="init_process_group, or start with torchrun"):
            mc.init_device_mesh("cpu", (8,))


class TestSplitOfTheWorld:
    """With an eagerly bound device torch splits the world instead of making groups one by one."""

    @pytest.fixture
    def splits(self, world, monkeypatch):  # noqa: ARG002
        made = []
        bound = SimpleNamespace(name=lambda: "fake")
        world_group = SimpleNamespace(
            bound_device_id=torch.device("cuda", 0),
            _device_types=[torch.device("cuda")],
            _get_backend=lambda _: bound,
        )

        def split_group(*, split_ranks, **kwargs):
            made.append((split_ranks, kwargs))
            groups = [dist.new_group(ranks) for ranks in split_ranks]
            (mine,) = (group for group in groups if group != dist.GroupMember.NON_GROUP_MEMBER)
            return mine

        stand_in = SimpleNamespace(
            **{name: getattr(dist, name) for name in ("get_rank", "get_world_size")},
            group=SimpleNamespace(WORLD=world_group),
            split_group=split_group,
        )
        monkeypatch.setattr(process_groups, "dist", stand_in)
        monkeypatch.setattr(process_groups, "device_mesh", stand_in)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        return made, world_group, stand_in, bound

    def test_makes_all_groups_of_a_dim_in_one_call(self, splits):
        made, *_ = splits
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"), timeout=60)
        assert [split for split, _ in made] == [
            [[0, 4], [1, 5], [2, 6], [3, 7]],
            [[0, 1, 2, 3], [4, 5, 6, 7]],
        ]
        assert {options["timeout"] for _, options in made} == {timedelta(minutes=1)}
        assert seen(mesh) == Grid((2, 4), ("dp", "tp")).facts(("dp", "tp"))

    def test_takes_the_ranks_outside_along_in_a_group_that_nobody_gets(self, splits):
        made, *_ = splits
        mesh = mc.init_device_mesh("cpu", (2,), mesh_dim_names=("dp",), ranks=[0, 1])
        assert [split for split, _ in made] == [[[0, 1], [2, 3, 4, 5, 6, 7]]]
        assert seen(mesh) == Grid((2,), ("dp",), ranks=[0, 1]).facts("dp")

    @pytest.mark.parametrize("without", ["a bound device", "split_group", "its backend", "CUDA"])
    def test_is_not_made_without(self, splits, without, monkeypatch):
        made, world_group, stand_in, bound = splits
        if without == "a bound device":
            world_group.bound_device_id = None
        elif without == "split_group":
            del stand_in.split_group
        elif without == "its backend":
            bound.name = lambda: "nccl"
        else:
            monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert not process_groups.splits_world(process_groups.GroupOptions("fake"))
        assert made == []


def ascends(grid):
    arrays = [grid.ranks.swapaxes(axis, -1) for axis in range(grid.ranks.ndim)]
    lines = itertools.chain(*(array.reshape(-1, array.shape[-1]).tolist() for array in arrays))
    return all(line == sorted(line) for line in lines)
