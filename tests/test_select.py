"""Meshes picked by name: on every rank what reshaping gives, with no new group, ever."""

import enum
import itertools
from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc
from meshcompat import _eras
from meshcompat.testing import each_rank, fake_world, recorded_groups
from tests.support.oracle import OUTSIDE, Grid, facts_of, seen

NAMES = ("pp", "rep", "shard", "cp")
CONTRACT = Grid(
    (2, 2, 2, 2), NAMES, shard_cp=("shard", "cp"), pp_shard=("pp", "shard"), pp_cp=("pp", "cp")
)
"""The root that the contract's table is about, with flattened dims; two are not adjacent."""
SMALL = Grid((2, 2, 2), ("pp", "dp", "tp"))

SLICES = [
    names for count in (1, 2, 3) for names in itertools.permutations(("pp", "dp", "tp"), count)
]

COMPOSITIONS = [
    ("shard", "pp"),
    ("rep", "shard_cp"),
    ("shard_cp", "rep"),
    ("rep", "pp_shard"),
    ("pp_shard", "cp", "rep"),
    ("cp", "pp_shard"),
    ("rep", "pp", "shard_cp"),
    ("pp_cp", "shard"),
    ("pp_shard",),
]


def root_of(grid):
    natives = [name for name, axes in grid.axes.items() if len(axes) == 1]
    mesh = mc.init_device_mesh("cpu", grid.ranks.shape, mesh_dim_names=natives)
    for name, axes in grid.axes.items():
        if len(axes) > 1:
            mc.flatten(mc.get_submesh(mesh, [natives[axis] for axis in axes]), name)
    return mesh


def joined(names):
    return "-".join([names] if isinstance(names, str) else names)


@pytest.fixture
def mesh(world):  # noqa: ARG001  (the mesh lives in it)
    return root_of(CONTRACT_OF_8)


CONTRACT_OF_8 = Grid((1, 2, 2, 2), NAMES, shard_cp=("shard", "cp"), rep_cp=("rep", "cp"))


class TestGetSubmesh:
    def test_gives_every_choice_of_dims_in_every_order(self):
        for _ in each_rank(8):
            mesh = root_of(SMALL)
            for names in SLICES:
                assert seen(mc.get_submesh(mesh, names)) == SMALL.facts(names)

    def test_gives_every_slice_of_every_slice(self):
        for _ in each_rank(8):
            mesh = root_of(SMALL)
            for outer, inner in itertools.product(SLICES[3:], SLICES[:9]):
                submesh = mc.get_submesh(mc.get_submesh(mesh, outer), inner)
                assert seen(submesh) == SMALL.facts(inner)
                assert mc.get_root_mesh(submesh) is mesh

    def test_composes_flattened_and_native_dims_and_slices_them_again(self):
        for _ in each_rank(16):
            mesh = root_of(CONTRACT)
            for names in COMPOSITIONS:
                submesh = mc.get_submesh(mesh, names)
                assert seen(submesh) == CONTRACT.facts(names)
                assert mc.get_root_mesh(submesh) is mesh
                for again in itertools.permutations(names, 2):
                    assert seen(mc.get_submesh(submesh, again)) == CONTRACT.facts(again)

    def test_is_right_for_dims_of_size_one(self):
        grid = Grid((2, 1, 2, 1, 2), ("pp", "rep", "shard", "cp", "tp"), rep_cp=("rep", "cp"))
        for _ in each_rank(8):
            mesh = root_of(grid)
            for names in itertools.permutations(("rep", "tp", "cp", "pp"), 2):
                assert seen(mc.get_submesh(mesh, names)) == grid.facts(names)
            assert seen(mc.get_submesh(mesh, ("tp", "rep_cp"))) == grid.facts(("tp", "rep_cp"))

    def test_is_right_in_a_world_of_32(self):
        grid = Grid((2, 4, 4), "abc", ac=("a", "c"))
        for _ in each_rank(32):
            mesh = root_of(grid)
            for names in [("b", "ac"), ("ac", "b"), ("c", "a")]:
                assert seen(mc.get_submesh(mesh, names)) == grid.facts(names)

    def test_is_right_for_sizes_that_are_no_powers_of_two(self):
        grid = Grid((2, 3, 2), "abc", ac=("a", "c"))
        for _ in each_rank(12):
            mesh = root_of(grid)
            for names in [("c", "b"), ("b", "ac"), ("ac", "b"), ("c", "a"), ("b", "a", "c")]:
                assert seen(mc.get_submesh(mesh, names)) == grid.facts(names)

    def test_returns_the_same_object_for_every_spelling_of_the_names(self, mesh):
        class Name(str, enum.Enum):
            REP = "rep"
            CP = "cp"

        one = mc.get_submesh(mesh, "rep")
        assert all(mc.get_submesh(mesh, names) is one for names in (["rep"], ("rep",), Name.REP))
        two = mc.get_submesh(mesh, ("rep", "cp"))
        assert mc.get_submesh(mesh, ["rep", "cp"]) is two
        assert mc.get_submesh(mesh, (Name.REP, Name.CP)) is two
        assert mc.get_submesh(mesh, ("rep", "cp")) is two
        assert [type(name) for name in two.mesh_dim_names] == [str, str]

    def test_returns_the_same_from_every_mesh_of_the_root(self, mesh):
        """Up to 2.9 an equal mesh does: torch can take *dims* for the root of its dims."""
        dims = mc.get_submesh(mesh, ("rep", "shard_cp"))
        for name, other in (
            ("rep", mc.get_submesh(mesh, "rep")),
            ("shard_cp", mc.get_flat_mesh(mesh, "shard_cp")),
        ):
            assert mc.get_submesh(dims, name) == other
            assert mc.layout_of(mc.get_submesh(dims, name)) == mc.layout_of(other)
            assert mc.get_submesh(dims, name).get_group() is other.get_group()
        assert mc.get_submesh(dims, ("rep", "shard_cp")) is dims
        assert mc.get_submesh(dims, NAMES) is mesh

    def test_keeps_the_groups_of_the_dims(self, mesh):
        submesh = mc.get_submesh(mesh, ("shard_cp", "rep"))
        assert submesh.get_group(0) is mc.get_flat_mesh(mesh, "shard_cp").get_group()
        assert submesh.get_group(1) is mesh.get_group("rep")

    def test_is_a_real_device_mesh(self, mesh):
        assert type(mc.get_submesh(mesh, ("cp", "shard"))) is DeviceMesh

    def test_looks_up_own_dims_then_flattened_ones_then_those_of_the_root(self, mesh):
        view = mc.unflatten(mc.get_flat_mesh(mesh, "shard_cp"), 0, (2, 2), ("rep", "rep_cp"))
        array = CONTRACT_OF_8.array("shard_cp").reshape(2, 2)
        pair = mc.get_submesh(view, ("rep_cp", "rep"))
        assert seen(pair) == facts_of(array.T, ("rep_cp", "rep"))
        assert seen(mc.get_submesh(view, "pp")) == CONTRACT_OF_8.facts("pp")
        assert seen(mc.get_submesh(mesh, "rep_cp")) == CONTRACT_OF_8.facts("rep_cp")
        assert mc.get_submesh(pair, "shard_cp") is mc.get_flat_mesh(mesh, "shard_cp")

    @pytest.mark.parametrize(
        "names", [("shard", "shard_cp"), ("shard_cp", "rep_cp"), ("cp", "rep_cp")], ids=joined
    )
    def test_refuses_dims_that_overlap(self, mesh, names):
        with pytest.raises(mc.MeshLayoutError, match="overlap"):
            mc.get_submesh(mesh, names)

    def test_refuses_an_unknown_name_and_tells_the_known_ones(self, mesh):
        submesh = mc.get_submesh(mesh, ("rep", "cp"))
        with pytest.raises(mc.MeshDimError) as caught:
            mc.get_submesh(submesh, "tp")
        assert str(caught.value) == (
            "unknown mesh dim 'tp': the mesh has ('rep', 'cp'); its root has flattened "
            "('shard_cp', 'rep_cp'); its root has ('pp', 'rep', 'shard', 'cp'); ask for one of "
            "these, or make it with meshcompat.flatten first"
        )

    def test_tells_how_a_mesh_without_names_gets_them(self, world):  # noqa: ARG002
        with pytest.raises(mc.MeshDimError, match="has no names; give mesh_dim_names"):
            mc.get_submesh(mc.init_device_mesh("cpu", (2, 4)), "dp")

    def test_names_that_cannot_be_a_key_are_no_names(self, mesh):
        with pytest.raises(mc.MeshDimError, match="asked for by name"):
            mc.get_submesh(mesh, [["rep"]])  # type: ignore[list-item]


class TestForeignMeshes:
    """Any DeviceMesh goes in: torch made these."""

    def test_a_root_that_torch_made_is_sliced_and_flattened(self):
        for _ in each_rank(8):
            mesh = torch_root(SMALL)
            assert seen(mc.get_submesh(mesh, ("tp", "pp"))) == SMALL.facts(("tp", "pp"))
            flat = mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "pp_tp")
            grid = Grid((2, 2, 2), ("pp", "dp", "tp"), pp_tp=("pp", "tp"))
            assert seen(flat) == grid.facts("pp_tp")
            assert seen(mc.get_submesh(mesh, ("pp_tp", "dp"))) == grid.facts(("pp_tp", "dp"))
            assert mc.get_root_mesh(flat) is mesh

    def test_a_slice_that_torch_made_has_the_root_that_torch_gave_it(self):
        for _ in each_rank(8):
            mesh = torch_root(SMALL)
            part = mesh["dp"]
            assert mc.get_root_mesh(part) is mesh
            assert mc.get_submesh(part, "dp") is part
            assert seen(mc.get_submesh(part, ("tp", "dp"))) == SMALL.facts(("tp", "dp"))
            assert mc.layout_of(part).dims == (((2, 2),),)

    def test_torch_slices_a_mesh_that_was_made_here(self):
        for _ in each_rank(8):
            mesh = root_of(SMALL)
            part = mesh["tp"]
            assert seen(part) == SMALL.facts("tp")
            assert mc.get_root_mesh(part) is mesh

    def test_a_mesh_without_names_goes_in(self):
        for _ in each_rank(8):
            mesh = torch_root(SMALL, names=None)
            assert seen(mc.flatten(mesh, "all")) == facts_of(np.arange(8), ("all",))
            split = mc.unflatten(mc.flatten(mesh, "all"), 0, (4, 2), ("a", "b"))
            assert seen(split) == facts_of(np.arange(8).reshape(4, 2), ("a", "b"))

    @pytest.mark.skipif(not hasattr(DeviceMesh, "_flatten"), reason="this torch flattens nothing")
    @pytest.mark.parametrize("dims", [("dp", "tp"), ("pp", "tp")], ids=joined)
    def test_what_torch_flattened_is_found(self, dims):
        (other,) = {"pp", "dp", "tp"} - {*dims}
        for rank in each_rank(8):
            # Up to 2.9 torch finds a dead mesh of the same name, of the rank before.
            name = f"{joined(dims)}-{rank}"
            grid = Grid((2, 2, 2), ("pp", "dp", "tp"), **{name: dims})
            mesh = torch_root(grid)
            flat = torch_flatten(mesh, dims, name)
            with recorded_groups() as groups:
                assert mc.get_flat_mesh(mesh, name) is flat
                assert mc.flatten(mc.get_submesh(mesh, dims), name) is flat
                assert seen(mc.get_submesh(mesh, (other, name))) == grid.facts((other, name))
                assert mc.get_axis_names(mesh) == ("pp", "dp", "tp", name)
            assert groups == []

    def test_a_slice_of_a_root_over_some_ranks_is_a_part_of_it(self):
        grid = Grid((2, 2), ("dp", "tp"), ranks=[1, 2, 5, 7])
        for _ in (rank for rank in each_rank(8) if rank in (1, 2, 5, 7)):
            mesh = mc.init_device_mesh(
                "cpu", (2, 2), mesh_dim_names=("dp", "tp"), ranks=[1, 2, 5, 7]
            )
            part = mesh["dp"]
            assert mc.get_root_mesh(part) is mesh
            assert seen(mc.get_submesh(part, ("tp", "dp"))) == grid.facts(("tp", "dp"))

    @pytest.mark.parametrize(
        ("ranks", "is_part"),
        [([2, 3], True), ([0, 2], True), ([1, 2], False), ([6, 7], False), ([0, 3, 1, 2], False)],
        ids=str,
    )
    def test_a_mesh_is_a_part_of_torchs_root_only_where_its_ranks_are_a_part(self, ranks, is_part):
        """From 2.5 to 2.9 torch can name the root of an equal mesh."""
        era: Any = _eras.primitives()
        with fake_world(8):
            mesh = mc.init_device_mesh(
                "cpu", (2, 2), mesh_dim_names=("dp", "tp"), ranks=[0, 1, 2, 3]
            )
            other = era.make_outside(mesh, ranks, (len(ranks),), ("x",))
            if _eras.era().links == "tables":
                era.link(other, mesh)
            assert mc.same_root(other, mesh) == is_part
            assert mc.get_ranks(other, "x") == ranks
            assert mc.get_submesh(other, "x") is other

    def test_a_flattened_mesh_of_another_root_is_not_taken_up(self, mesh):
        other = root_of(CONTRACT_OF_8)
        alien = mc.get_flat_mesh(other, "shard_cp")
        _eras.primitives().publish_flattened(mesh, "alien", alien, (2, 3))
        assert not mc.has_axis(mesh, "alien")
        assert mc.get_root_mesh(alien) is other

    def test_equal_roots_are_not_mixed_up(self):
        for _ in each_rank(8):
            first, second = root_of(SMALL), root_of(SMALL)
            flat = mc.flatten(mc.get_submesh(first, ("dp", "tp")), "dp_tp")
            assert mc.get_root_mesh(mc.get_submesh(first, "tp")) is first
            assert mc.get_root_mesh(mc.get_submesh(second, "tp")) is second
            assert mc.get_root_mesh(flat) is first
            assert not mc.has_axis(second, "dp_tp")

    def test_a_mesh_of_a_destroyed_world_is_refused(self):
        with fake_world(8):
            mesh = root_of(SMALL)
            part = mc.get_submesh(mesh, "tp")
        for old in (mesh, part):
            with pytest.raises(mc.MeshLayoutError, match="no default process group"):
                mc.get_submesh(old, "dp")
        with fake_world(8):
            for old in (mesh, part):
                with pytest.raises(mc.MeshLayoutError, match="was destroyed"):
                    mc.get_submesh(old, "tp")


class TestGetFlatMesh:
    def test_gives_native_and_flattened_dims(self):
        for _ in each_rank(16):
            mesh = root_of(CONTRACT)
            for name in CONTRACT.axes:
                assert seen(mc.get_flat_mesh(mesh, name)) == CONTRACT.facts(name)

    def test_returns_the_same_object(self, mesh):
        assert mc.get_flat_mesh(mesh, "cp") is mc.get_flat_mesh(mesh, "cp")
        assert mc.get_flat_mesh(mesh, "cp") is mc.get_submesh(mesh, ("cp",))


class TestGetAllSubmeshes:
    def test_are_all_subgroups_in_ascending_order(self):
        grid = Grid((2, 2, 2), ("pp", "dp", "tp"), dp_tp=("dp", "tp"), pp_tp=("pp", "tp"))
        for _ in each_rank(8):
            mesh = root_of(grid)
            for name, groups in [
                ("pp", [[0, 4], [1, 5], [2, 6], [3, 7]]),
                ("dp", [[0, 2], [1, 3], [4, 6], [5, 7]]),
                ("dp_tp", [[0, 1, 2, 3], [4, 5, 6, 7]]),
                ("pp_tp", [[0, 1, 4, 5], [2, 3, 6, 7]]),
            ]:
                found = mc.get_all_submeshes(mesh, name)
                wanted = [facts_of(np.array(group), (name,)) for group in groups]
                assert [seen(submesh) for submesh in found] == wanted
                assert mc.get_flat_mesh(mesh, name) in found

    def test_can_be_selected_from_and_reshaped_on_a_rank_outside(self, mesh):
        part = mc.get_submesh(mesh, ("rep", "shard_cp"))
        (other,) = (m for m in mc.get_all_submeshes(part, "shard_cp") if not mc.is_member(m))
        array = np.array([0, 1, 2, 3])
        assert seen(mc.get_flat_mesh(other, "shard_cp")) == facts_of(array, ("shard_cp",))
        assert seen(mc.get_submesh(other, "cp")) == facts_of(array[:2], ("cp",))
        split = mc.unflatten(other, 0, (2, 2), ("a", "b"))
        assert seen(split) == facts_of(array.reshape(2, 2), ("a", "b"))
        joined_again = mc.flatten(split, "again")
        assert seen(joined_again) == facts_of(array, ("again",))
        both = mc.concatenate([mc.get_submesh(split, "b"), mc.get_submesh(split, "a")])
        assert seen(both) == facts_of(array.reshape(2, 2).T, ("b", "a"))
        assert mc.get_root_mesh(joined_again) is mc.get_root_mesh(both) is mesh

    def test_are_those_inside_the_mesh_that_was_asked(self, mesh):
        part = mc.get_submesh(mesh, ("shard", "cp"))
        assert [m.mesh.tolist() for m in mc.get_all_submeshes(part, "cp")] == [[4, 5], [6, 7]]

    def test_refuse_a_dim_that_reaches_outside_the_mesh(self, mesh):
        with pytest.raises(mc.MeshDimError, match="reaches ranks outside this mesh"):
            mc.get_all_submeshes(mc.get_submesh(mesh, ("shard", "cp")), "rep")

    def test_have_no_group_for_a_rank_that_is_not_in_them(self, mesh):
        _, other = mc.get_all_submeshes(mc.get_submesh(mesh, ("shard", "cp")), "cp")
        assert seen(other).groups == [OUTSIDE]
        assert other.get_coordinate() is None


class TestConcatenate:
    def test_has_the_dims_of_the_meshes_in_their_order(self):
        for _ in each_rank(16):
            mesh = root_of(CONTRACT)
            choices: list[list[tuple[str, ...]]] = [
                [("pp",), ("cp",)],
                [("cp",), ("pp",)],
                [("shard_cp",), ("rep", "pp")],
                [("rep",), ("pp_shard",), ("cp",)],
                [("cp", "rep"), ("shard", "pp")],
                [("shard",)],
            ]
            for parts in choices:
                whole = mc.concatenate([mc.get_submesh(mesh, part) for part in parts])
                names = tuple(itertools.chain(*parts))
                assert seen(whole) == CONTRACT.facts(names)
                assert mc.get_root_mesh(whole) is mesh
                assert whole is mc.get_submesh(mesh, names)

    def test_takes_dims_that_unflatten_made(self):
        grid = Grid((2, 2, 2), ("pp", "a", "b"), dp=("a", "b"))
        for _ in each_rank(8):
            mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("pp", "dp"))
            view = mc.unflatten(mesh, "dp", (2, 2), ("a", "b"))
            whole = mc.concatenate([mc.get_submesh(view, "b"), mc.get_submesh(mesh, "pp")])
            assert seen(whole) == grid.facts(("b", "pp"))
            assert whole.get_group("b") is view.get_group("b")

    def test_refuses_meshes_of_different_roots(self, mesh):
        other = root_of(CONTRACT_OF_8)
        with pytest.raises(mc.MeshLayoutError, match="have different roots"):
            mc.concatenate([mc.get_submesh(mesh, "rep"), mc.get_submesh(other, "cp")])

    @pytest.mark.parametrize("meshes", [[], (), None, "rep"], ids=repr)
    def test_refuses_what_is_no_list_of_meshes(self, meshes):
        with pytest.raises(mc.MeshLayoutError, match="list or tuple of at least one mesh"):
            mc.concatenate(meshes)

    def test_refuses_a_name_twice(self, mesh):
        with pytest.raises(mc.MeshLayoutError, match="not one name each"):
            mc.concatenate([mc.get_submesh(mesh, "rep"), mc.get_submesh(mesh, "rep")])

    def test_refuses_dims_that_overlap(self, mesh):
        with pytest.raises(mc.MeshLayoutError, match="overlap"):
            mc.concatenate([mc.get_submesh(mesh, "shard"), mc.get_submesh(mesh, "shard_cp")])


class TestGetFsdpDpMesh:
    @pytest.mark.parametrize(
        ("rep", "cp", "names", "native_names"),
        [
            (1, 1, ("dp_shard",), ("dp_shard",)),
            (2, 1, ("dp_replicate", "dp_shard"), ("dp_replicate", "dp_shard")),
            (1, 2, ("dp_shard_cp",), ("dp_shard", "cp")),
            (2, 2, ("dp_replicate", "dp_shard_cp"), ("dp_replicate", "dp_shard_cp")),
        ],
        ids=["neither", "replication", "context parallelism", "both"],
    )
    def test_is_what_fsdp_shards_over(self, rep, cp, names, native_names):
        axes = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
        grid = Grid((2, rep, 2, cp, 1), axes, dp_shard_cp=("dp_shard", "cp"))
        for _ in each_rank(grid.ranks.size):
            mesh = root_of(grid)
            with recorded_groups() as groups:
                found = mc.get_fsdp_dp_mesh(mesh)
                native = mc.get_fsdp_dp_mesh(mesh, native_dims=True)
            assert groups == []
            assert seen(found) == grid.facts(names)
            assert seen(native) == grid.facts(native_names)
            assert mc.get_root_mesh(found) is mc.get_root_mesh(native) is mesh

    def test_takes_other_names(self):
        grid = Grid((2, 2, 2), ("replicas", "dp_shard", "cp"), shards=("dp_shard", "cp"))
        for _ in each_rank(8):
            found = mc.get_fsdp_dp_mesh(root_of(grid), "replicas", "shards")
            assert seen(found) == grid.facts(("replicas", "shards"))

    def test_is_both_names_where_the_mesh_has_no_native_dims(self):
        grid = Grid((2, 4), ("outer", "inner"))
        for _ in each_rank(8):
            found = mc.get_fsdp_dp_mesh(root_of(grid), "outer", "inner")
            assert seen(found) == grid.facts(("outer", "inner"))

    def test_refuses_a_flattened_dim_that_was_not_made(self, world):  # noqa: ARG002
        mesh = root_of(Grid((2, 2, 2), ("dp_replicate", "dp_shard", "cp")))
        with pytest.raises(mc.MeshDimError, match="'dp_shard_cp'"):
            mc.get_fsdp_dp_mesh(mesh)


def test_selecting_makes_no_group():
    for _ in each_rank(16):
        mesh = root_of(CONTRACT)
        with recorded_groups() as groups:
            pair = mc.get_submesh(mesh, ("cp", "pp"))
            mc.get_submesh(mesh, ("rep", "pp_shard"))
            mc.get_flat_mesh(mesh, "pp_cp")
            mc.get_all_submeshes(mesh, "shard_cp")
            mc.concatenate([pair, mc.get_flat_mesh(mesh, "shard")])
        assert groups == []


def torch_root(grid, names=("pp", "dp", "tp")):
    return DeviceMesh("cpu", grid.ranks.tolist(), mesh_dim_names=names)


def torch_flatten(mesh, dims, name):
    flatten = getattr(mesh[dims], "_flatten")  # noqa: B009  (private, and what users call)
    return flatten(name)


def test_groups_are_those_of_the_default_backend(mesh):
    assert dist.get_backend(mc.get_submesh(mesh, ("cp", "rep")).get_group(0)) == "fake"


def test_submeshes_of_a_mesh_come_in_the_order_of_that_mesh():
    for _ in each_rank(4):
        mesh = mc.init_device_mesh("cpu", (2, 2, 1), mesh_dim_names=("pp", "dp", "tp"))
        turned = mc.get_submesh(mesh, ("dp", "pp", "tp"))

        ranks = [submesh.mesh.tolist() for submesh in mc.get_all_submeshes(turned, "tp")]
        assert ranks == [[0], [2], [1], [3]]


def test_a_mesh_of_other_ranks_leads_back_to_this_one():
    with fake_world(4, rank=2):
        mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        elsewhere = mc.get_all_submeshes(mesh, "tp")[0]
        assert elsewhere.mesh.tolist() == [0, 1]

        assert mc.get_submesh(elsewhere, "dp") is mc.get_submesh(mesh, "dp")
        assert mc.get_all_submeshes(mesh, "tp")[0] is elsewhere


def test_a_concatenated_mesh_has_the_ranks_of_the_first_one():
    with fake_world(8, rank=5):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
        elsewhere, dp = mc.get_all_submeshes(mesh, "tp")[0], mc.get_submesh(mesh, "dp")
        assert mc.concatenate([elsewhere, dp]).mesh.tolist() == [[0, 2], [1, 3]]
        assert mc.concatenate([dp, elsewhere]).mesh.tolist() == [[4, 5], [6, 7]]
