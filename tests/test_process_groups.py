"""Groups and ranks of meshes, and groups made elsewhere that become a mesh or an axis."""

import itertools

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc
from meshcompat import _eras
from meshcompat.testing import each_rank, fake_world, recorded_groups
from tests.support import native
from tests.support.oracle import Grid, facts_of, seen

NAMES = ("pp", "dp", "tp")
GRID = Grid((2, 2, 2), NAMES)
NEW = ("p", "q")


def make_mesh(**options):
    return mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES, **options)


@pytest.fixture
def mesh(world):  # noqa: ARG001  (the mesh lives in it)
    return make_mesh()


def groups_of(*partition):
    """Make a group of each list of ranks, on all ranks; return that of this rank."""
    made = [dist.new_group(ranks) for ranks in partition]
    mine = [group for group in made if group != dist.GroupMember.NON_GROUP_MEMBER]
    return mine[0] if mine else None


def root_of_torch():
    native.forget()
    return DeviceMesh("cpu", GRID.ranks.tolist(), mesh_dim_names=("x", "y", "z"))


def view_of_torch(root):
    """Return a factorisation of all ranks that torch made: p is x and y together."""
    try:
        native.require("_unflatten")
        return native.unflatten(native.flatten(root, "w"), 0, (4, 2), NEW)
    except native.Absent as absent:
        pytest.skip(str(absent))


def flat_of_torch(root):
    try:
        native.require("_flatten")
        return native.flatten(native.pick(root, ("x", "y")), "p")
    except native.Absent as absent:
        pytest.skip(str(absent))


class TestGetGroup:
    def test_holds_the_ranks_of_every_choice_of_dims(self):
        for _ in each_rank(8):
            mesh = make_mesh()
            for count in (1, 2, 3):
                for names in itertools.permutations(NAMES, count):
                    ranks = sorted(GRID.array(names).flatten().tolist())
                    assert dist.get_process_group_ranks(mc.get_group(mesh, names)) == ranks
                    assert mc.get_ranks(mesh, names) == ranks

    def test_is_over_all_dims_where_no_names_are_given(self):
        for rank in each_rank(8):
            mesh = make_mesh()
            tp = mc.get_flat_mesh(mesh, "tp")
            bare = mc.init_device_mesh("cpu", (8,))
            with recorded_groups() as groups:
                assert mc.get_group(mesh) is mc.get_group(bare) is dist.group.WORLD
                assert mc.get_group(tp) is mesh.get_group("tp")
            assert groups == []
            assert mc.get_ranks(mesh) == mc.get_ranks(bare) == list(range(8))
            assert mc.get_ranks(tp) == [rank - rank % 2, rank - rank % 2 + 1]

    def test_of_every_dim(self, mesh):
        groups = mc.get_all_groups(mc.get_submesh(mesh, ("tp", "pp")))
        assert [dist.get_process_group_ranks(group) for group in groups] == [[4, 5], [1, 5]]

    def test_takes_a_group_that_is_there(self, mesh):
        flat = mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "x")
        with recorded_groups() as groups:
            assert mc.get_group(mesh, "tp") is mesh.get_group("tp")
            assert mc.get_group(mesh, ["x"]) is flat.get_group()
            assert mc.get_group(mesh, ("dp", "tp")) is flat.get_group()
            assert mc.get_group(mesh, ("tp", "dp")) is flat.get_group()
            assert mc.get_group(mesh, NAMES) is dist.group.WORLD
        assert groups == []

    def test_makes_one_under_the_default_name_where_none_is_there(self, mesh):
        group = mc.get_group(mesh, ("tp", "pp"))
        assert mc.get_flat_mesh(mesh, "pp_tp").get_group() is group
        assert mc.get_group(mc.get_submesh(mesh, "dp"), ("pp", "tp")) is group

    def test_composes_flattened_dims(self):
        grid = Grid((2, 2, 2, 2), "abcd", bd=("b", "d"), abd=("a", "b", "d"))
        for _ in each_rank(16):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=tuple("abcd"))
            mc.flatten(mc.get_submesh(mesh, ("b", "d")), "bd")
            group = mc.get_group(mesh, ("bd", "a"))
            assert dist.get_process_group_ranks(group) == grid.array("abd").tolist()

    def test_takes_a_group_of_dims_that_stand_between_each_other(self):
        names = ("pp", "rep", "shard", "cp")
        for _ in each_rank(16):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=names)
            for parts, name in ((("pp", "cp"), "pp_cp"), (("rep", "shard"), "rs")):
                mc.flatten(mesh, parts, name)
            mc.flatten(mesh, ("pp", "shard"), "ps")
            prs = mc.flatten(mesh, ("pp", "rep", "shard"), "prs")
            with recorded_groups() as groups:
                assert mc.get_group(mesh, ("pp_cp", "rs")) is dist.group.WORLD
                assert mc.get_group(mesh, ("ps", "rep")) is prs.get_group()
                assert mc.get_ranks(mesh, ("rep", "ps")) == prs.mesh.tolist()
            assert groups == []

    def test_makes_a_group_of_dims_that_stand_between_each_other(self):
        grid = Grid((2, 2, 2, 2), "abcd", abc=("a", "b", "c"))
        for _ in each_rank(16):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=tuple("abcd"))
            mc.flatten(mesh, ("a", "c"), "ac")
            group = mc.get_group(mesh, ("ac", "b"))
            assert dist.get_process_group_ranks(group) == grid.array("abc").tolist()
            assert seen(mc.get_flat_mesh(mesh, "ac_b")) == grid.facts("abc", ("ac_b",))
            assert mc.get_group(mesh, ("a", "b", "c")) is group

    def test_of_a_view_that_has_names_of_its_root(self):
        for _ in each_rank(8):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=tuple("abc"))
            view = mc.unflatten(mc.flatten(mesh, "all"), 0, (2, 2, 2), ("x", "c", "b"))
            part = mc.unflatten(mc.get_flat_mesh(mesh, "all"), 0, (4, 2), ("b", "c"))
            of_root = mc.get_group(mesh, ("b", "c"))
            assert mc.get_group(part, ("b", "c")) is dist.group.WORLD
            assert mc.get_group(view, ("c", "b")) is of_root
            assert mc.get_flat_mesh(view, "b_c").get_group() is of_root

    def test_of_names_that_join_to_the_same_name(self):
        for _ in each_rank(16):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=("a", "a_b", "b_c", "c"))
            there = mc.flatten(mesh, ("a_b", "c"), "there")
            first = mc.get_group(mesh, ("a", "b_c"))
            with recorded_groups() as groups:
                assert mc.get_group(mesh, ("a_b", "c")) is there.get_group()
                assert mc.get_flat_mesh(mesh, "a_b_c").get_group() is first
            assert groups == []

    def test_is_made_without_a_name_where_the_name_is_that_of_a_dim(self):
        for rank in each_rank(8):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("a", "b", "a_b"))
            group = mc.get_group(mesh, ("b", "a"))
            assert dist.get_process_group_ranks(group) == [rank % 2 + 2 * i for i in range(4)]
            assert mc.get_group(mesh, ["a", "b"]) is group
            assert mc.get_axis_names(mesh) == ("a", "b", "a_b")
            assert mc.flatten(mesh, ("a", "b"), "x").get_group() is group

    @pytest.mark.parametrize("shape", list(itertools.product((1, 2), repeat=3)), ids=str)
    def test_makes_names_that_do_not_depend_on_sizes(self, shape):
        with fake_world(8):
            ranks = range(int(np.prod(shape)))
            mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=NAMES, ranks=ranks)
            mc.flatten(mesh, ("dp", "tp"), "stage")
            for names in (("tp", "pp"), ("dp", "pp"), NAMES, ("stage", "pp")):
                mc.get_group(mesh, names)
            view = mc.unflatten(mesh, "tp", (1, shape[2]), ("z", "y"))
            for names in (("y", "dp"), ("y", "z")):
                mc.get_group(view, names)
            made = ("stage", "pp_tp", "pp_dp", "pp_dp_tp", "pp_stage", "dp_y", "z_y")
            assert mc.get_axis_names(mesh) == (*NAMES, *made)

    def test_of_other_options_is_not_taken(self, mesh):
        slow = mc.flatten(mesh, ("dp", "tp"), "slow", timeout=77)
        group = mc.get_group(mesh, ("dp", "tp"))
        assert group is not slow.get_group()
        assert mc.get_flat_mesh(mesh, "dp_tp").get_group() is group

    def test_of_ranks_that_descend_is_over_them_all_the_same(self):
        for _ in each_rank(4):
            mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"), ranks=[0, 2, 1, 3])
            ranks = mc.get_ranks(mesh, ("a", "b"))
            assert sorted(ranks) == [0, 1, 2, 3]
            with recorded_groups() as groups:
                assert dist.get_process_group_ranks(mc.get_group(mesh, ("b", "a"))) == ranks
            assert len(groups) == (ranks != [0, 1, 2, 3])  # torch 2.15 keeps their order

    def test_of_another_subgroup_is_refused_on_this_rank(self, mesh):
        other, _ = mc.get_all_submeshes(mc.get_submesh(mesh, ("pp", "dp")), "dp")
        assert other.mesh.tolist() == [1, 3]
        with pytest.raises(mc.NotInMeshError, match="rank 5 is not in this mesh"):
            mc.get_group(other, "dp")
        assert mc.get_ranks(other, "dp") == [1, 3]

    @pytest.mark.parametrize("ask", [mc.get_group, mc.get_ranks])
    def test_refuses_dims_that_overlap(self, mesh, ask):
        mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "x")
        with pytest.raises(mc.MeshLayoutError, match="overlap"):
            ask(mesh, ("tp", "x"))

    @pytest.mark.parametrize("ask", [mc.get_group, mc.get_ranks])
    def test_refuses_unknown_names(self, mesh, ask):
        with pytest.raises(mc.MeshDimError, match="unknown mesh dim 'cp'"):
            ask(mesh, ("tp", "cp"))

    def test_of_ranks_outside_is_those_of_the_first_group(self):
        for rank in each_rank(8):
            mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"), ranks=[1, 3, 4, 6])
            grid = Grid((2, 2), ("a", "b"), ranks=[1, 3, 4, 6])
            assert mc.get_ranks(mesh, "a") == grid.array("a").tolist()
            if rank in (0, 2, 5, 7):
                assert mc.get_ranks(mesh, "a") == [1, 4]


class TestFromGroup:
    def test_is_a_root_over_one_group(self):
        for _ in each_rank(8):
            group = groups_of([0, 2, 4, 6], [1, 3, 5, 7])
            with recorded_groups() as groups:
                mesh = mc.from_group(group, "cpu", mesh_dim_names=("dp",))
            assert groups == []
            assert seen(mesh) == Grid((4, 2), ("dp", "other")).facts("dp")
            assert mesh.get_group() is group
            assert mc.get_root_mesh(mesh) is mesh

    def test_is_a_root_over_several_groups(self):
        grid = Grid((4, 2), ("dp", "tp"), ranks=[0, 1, 2, 3, 4, 5, 6, 7])
        for _ in each_rank(8):
            dp = groups_of([0, 2, 4, 6], [1, 3, 5, 7])
            tp = groups_of([0, 1], [2, 3], [4, 5], [6, 7])
            mesh = mc.from_group([dp, tp], "cpu", grid.ranks.tolist(), mesh_dim_names=("dp", "tp"))
            assert seen(mesh) == grid.facts(("dp", "tp"))
            assert (mesh.get_group("dp"), mesh.get_group("tp")) == (dp, tp)
            assert seen(mc.get_submesh(mesh, ("tp", "dp"))) == grid.facts(("tp", "dp"))
            assert mc.get_submesh(mesh, "dp").get_group() is dp

    def test_needs_no_names_and_takes_a_tensor(self, world):  # noqa: ARG002
        mesh = mc.from_group([dist.group.WORLD], "cpu", torch.arange(8))
        assert seen(mesh) == facts_of(Grid((8,), "a").ranks, None)

    def test_works_on_a_rank_outside(self):
        grid = Grid((4,), ("dp",), ranks=[0, 2, 4, 6])
        for rank in each_rank(8):
            group = groups_of([0, 2, 4, 6])
            mesh = mc.from_group([group], "cpu", [0, 2, 4, 6], mesh_dim_names=("dp",))
            assert seen(mesh) == grid.facts("dp")
            assert mc.is_member(mesh) == (rank % 2 == 0)

    def test_is_flattened_and_split_like_any_root(self):
        grid = Grid((2, 2, 2), ("a", "b", "tp"), dp=("a", "b"))
        for _ in each_rank(8):
            dp = groups_of([0, 2, 4, 6], [1, 3, 5, 7])
            tp = groups_of([0, 1], [2, 3], [4, 5], [6, 7])
            ranks = [[0, 1], [2, 3], [4, 5], [6, 7]]
            mesh = mc.from_group([dp, tp], "cpu", ranks, mesh_dim_names=("dp", "tp"))
            assert mc.flatten(mesh).get_group() is dist.group.WORLD
            view = mc.unflatten(mesh, "dp", (2, 2), ("a", "b"))
            assert seen(view) == grid.facts(("a", "b", "tp"))
            assert mc.flatten(mc.get_submesh(mesh, "dp"), "again").get_group() is dp

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (lambda _: ([], "cpu"), "one or more process groups"),
            (lambda _: (["dp"], "cpu"), "give mesh"),
            (lambda group: ([group, group], "cpu"), "give mesh"),
            (lambda _: ([None], "cpu", [4, 5]), "living process groups that rank 5 is in"),
            (lambda group: (group, "cpu", [1, 2, 3, 5]), "holds ranks"),
            (lambda group: (group, "cpu", [[1, 3, 5, 7]]), "one dim per group"),
            (lambda group: (group, "cpu", []), "one dim per group"),
            (lambda group: (group, "cpu", "ranks"), "tensor or nested list of global ranks"),
        ],
        ids=[
            "nothing",
            "no group",
            "two without mesh",
            "none",
            "other ranks",
            "dims",
            "empty",
            "text",
        ],
    )
    def test_refuses_what_does_not_fit(self, world, arguments, words):  # noqa: ARG002
        group = groups_of([1, 3, 5, 7])
        with pytest.raises(mc.MeshLayoutError, match=words):
            mc.from_group(*arguments(group))

    def test_refuses_a_group_of_a_destroyed_world(self):
        with fake_world(8):
            group = groups_of([0, 1])
        with pytest.raises(mc.MeshLayoutError, match="of an initialised world"):
            mc.from_group(group, "cpu")
        with fake_world(8), pytest.raises(mc.MeshLayoutError, match="living process group"):
            mc.from_group(group, "cpu")


class TestRegisterAxis:
    @pytest.mark.parametrize("dims", [("dp", "tp"), ("pp", "tp"), ("dp",), NAMES], ids="-".join)
    def test_keeps_the_group_as_a_flattened_dim(self, dims):
        grid = Grid((2, 2, 2), NAMES, axis=dims)
        partition = sorted({tuple(array) for array in every(grid, "axis")})
        for _ in each_rank(8):
            mesh = make_mesh()
            group = groups_of(*map(list, partition))
            with recorded_groups() as groups:
                axis = mc.register_axis(mesh, "axis", group)
            assert groups == []
            assert seen(axis) == grid.facts("axis")
            assert axis.get_group() is group
            assert mc.get_flat_mesh(mesh, "axis") is axis
            assert mc.get_root_mesh(axis) is mesh
            for other in {*NAMES} - {*dims}:
                assert seen(mc.get_submesh(mesh, (other, "axis"))) == grid.facts((other, "axis"))

    def test_again_is_the_same_mesh(self, mesh):
        group = groups_of([0, 1, 4, 5], [2, 3, 6, 7])
        axis = mc.register_axis(mesh, "axis", group)
        assert mc.register_axis(mesh, "axis", group) is axis

    def test_of_one_rank_is_an_axis_of_size_one(self, mesh):
        axis = mc.register_axis(mesh, "me", groups_of([5]))
        assert seen(axis).ranks == [5]

    @pytest.mark.parametrize("name", ["dp", "axis"], ids=["native", "flattened"])
    def test_refuses_a_name_that_is_taken(self, mesh, name):
        mc.register_axis(mesh, "axis", groups_of([0, 1, 4, 5], [2, 3, 6, 7]))
        with pytest.raises(mc.MeshLayoutError, match=f"'{name}' is taken"):
            mc.register_axis(mesh, name, groups_of([4, 5], [6, 7]))

    def test_refuses_another_group_of_the_same_ranks_under_the_name(self, mesh):
        mc.register_axis(mesh, "axis", groups_of([0, 1, 4, 5], [2, 3, 6, 7]))
        with pytest.raises(mc.MeshLayoutError, match="'axis' is taken"):
            mc.register_axis(mesh, "axis", groups_of([0, 1, 4, 5], [2, 3, 6, 7]))

    @pytest.mark.parametrize("ranks", [[4, 5, 6], [3, 5], [0, 5, 6, 7]], ids=str)
    def test_refuses_ranks_that_are_no_union_of_dims(self, mesh, ranks):
        with pytest.raises(mc.MeshLayoutError, match="no union of mesh dims"):
            mc.register_axis(mesh, "axis", groups_of(ranks))
        assert mc.get_axis_names(mesh) == NAMES

    def test_refuses_a_group_that_reaches_outside_the_root(self, world):  # noqa: ARG002
        mesh = mc.init_device_mesh("cpu", (4,), mesh_dim_names=("dp",), ranks=[4, 5, 6, 7])
        with pytest.raises(mc.MeshLayoutError, match="no union of mesh dims"):
            mc.register_axis(mesh, "axis", dist.group.WORLD)

    def test_refuses_a_submesh(self, mesh):
        with pytest.raises(mc.MeshLayoutError, match="is no root mesh"):
            mc.register_axis(mc.get_submesh(mesh, "dp"), "axis", dist.group.WORLD)

    def test_refuses_a_rank_outside(self, world):  # noqa: ARG002
        mesh = mc.init_device_mesh("cpu", (2,), mesh_dim_names=("dp",), ranks=[0, 1])
        with pytest.raises(mc.NotInMeshError, match="rank 5 is outside the mesh"):
            mc.register_axis(mesh, "axis", dist.group.WORLD)

    def test_refuses_what_is_no_group(self, mesh):
        with pytest.raises(mc.MeshLayoutError, match="must be a living process group"):
            mc.register_axis(mesh, "axis", None)


class TestForeignGroups:
    """Groups of meshes that were made elsewhere are taken as they are, or refused."""

    @pytest.fixture
    def foreign(self, world):  # noqa: ARG002  (the mesh lives in it)
        return DeviceMesh("cpu", [[0, 1, 2, 3], [4, 5, 6, 7]], mesh_dim_names=("dp", "tp"))

    def test_are_kept(self, foreign):
        assert mc.get_group(foreign, "tp") is foreign.get_group("tp")
        assert mc.flatten(mc.get_submesh(foreign, "tp"), "x").get_group() is foreign.get_group("tp")

    @pytest.mark.parametrize("derive", [view_of_torch, flat_of_torch])
    @pytest.mark.parametrize(
        "ask",
        [
            lambda root: mc.flatten(root, ("x", "y"), "xy"),
            lambda root: mc.unflatten(root, "x", (2, 1), ("x0", "x1"), share_groups=True),
            lambda root: mc.unflatten(mc.flatten(root, "all"), 0, (4, 2), NEW, share_groups=True),
        ],
        ids=["flatten", "unflatten", "unflatten to all dims of the view"],
    )
    def test_that_one_rank_looked_at_decide_nothing(self, derive, ask):
        made = []
        for looks in (True, False):
            with fake_world(8, rank=5):
                root = root_of_torch()
                derived = derive(root)
                if looks:
                    assert mc.get_axis_size(derived, derived.mesh_dim_names[0]) == 4
                with recorded_groups() as groups:
                    ask(root)
                made.append([record.ranks for record in groups])
        assert made[0] == made[1]

    def test_that_one_rank_looked_at_serve_once_all_ranks_register_them(self):
        chosen = []
        for looks in (True, False):
            with fake_world(8, rank=5):
                root = root_of_torch()
                view = view_of_torch(root)
                if looks:
                    assert mc.get_axis_size(view, "p") == 4
                first = mc.flatten(root, ("x", "y"), "first")
                mc.register_axis(root, "theirs", view.get_group("p"))
                later = mc.flatten(root, ("x", "y"), "later")
                chosen.append(later.get_group() is first.get_group())
        assert chosen == [True, True]

    def test_of_a_view_serve_a_registered_axis_at_once(self):
        for looks in (True, False):
            with fake_world(8, rank=5):
                root = root_of_torch()
                view = view_of_torch(root)
                if looks:
                    assert mc.get_axis_size(view, "p") == 4
                mc.register_axis(root, "theirs", view.get_group("p"))
                with recorded_groups() as groups:
                    flat = mc.flatten(root, ("x", "y"), "xy")
                assert flat.get_group() is view.get_group("p")
                assert groups == []

    @pytest.mark.parametrize(
        ("ranks", "name", "sorted_ranks"),
        [
            ([[3, 2], [1, 0]], "b", (0, 1, 2, 3)),
            ([[3, 2], [1, 0]], "a", (0, 1, 2, 3)),
            ([[0, 1], [3, 2]], "b", (2, 3)),
        ],
        ids=["both dims", "the first", "one group of two"],
    )
    def test_that_torch_sorted_are_refused_or_made_anew(self, ranks, name, sorted_ranks):
        grid = Grid((2, 2), ("a", "b"), ranks=[rank for row in ranks for rank in row])
        made = []
        for rank in each_rank(4):
            native.forget()
            mesh = DeviceMesh("cpu", ranks, mesh_dim_names=("a", "b"))
            part = mc.get_submesh(mesh, name)
            row = grid.array(name).flatten().tolist()
            assert mc.get_ranks(mesh, name) == mc.get_ranks(part) == row
            assert row[mc.get_local_rank(mesh, name)] == rank
            if rank in sorted_ranks:
                with pytest.raises(mc.MeshLayoutError, match=f"'{name}' has ranks that do not"):
                    mc.get_group(mesh, name)
                with pytest.raises(mc.MeshLayoutError, match=f"'{name}' has ranks that do not"):
                    part.get_group()
            else:
                assert native.ranks_of(part) == row
            with recorded_groups() as groups:
                if _eras.primitives().orders_groups():
                    flat = mc.flatten(mesh, (name,), "again")
                    assert mc.get_ranks(flat) == native.ranks_of(flat) == row
                    assert mc.get_local_rank(mesh, "again") == flat.get_local_rank()
                    assert mc.flatten(mesh, (name,), "more").get_group() is flat.get_group()
                else:
                    with pytest.raises(mc.MeshLayoutError, match="root over ranks that ascend"):
                        mc.flatten(mesh, (name,), "again")
            made.append([record.ranks for record in groups])
        assert made == [made[0]] * 4

    def test_that_torch_sorted_are_not_registered(self):
        with fake_world(4, rank=2):
            native.forget()
            mesh = DeviceMesh("cpu", [[3, 2], [1, 0]], mesh_dim_names=("a", "b"))
            assert mc.get_axis_size(mesh, "b") == 2
            with pytest.raises(mc.MeshLayoutError, match=r"ranks \[3, 2\] whose .* ranks \[2, 3\]"):
                mc.register_axis(mesh, "theirs", mesh.get_group("b"))

    def test_that_torch_sorted_in_a_flattened_mesh_are_refused(self):
        with fake_world(4):
            native.forget()
            mesh = DeviceMesh("cpu", [[3, 2], [1, 0]], mesh_dim_names=("a", "b"))
            try:
                native.flatten(mesh, "all")
            except native.Absent as absent:
                pytest.skip(str(absent))
            assert mc.get_ranks(mesh, "all") == [3, 2, 1, 0]
            for ask in (lambda: mc.get_group(mesh, "all"), lambda: mc.flatten(mesh, "all")):
                with pytest.raises(mc.MeshLayoutError, match="'all' has ranks that do not"):
                    ask()

    def test_that_torch_kept_in_order_are_shared(self):
        with fake_world(4):
            if not _eras.primitives().orders_groups():
                pytest.skip("this torch sorts the ranks of every group")
            ranks = [[3, 2], [1, 0]]
            mesh = DeviceMesh("cpu", ranks, mesh_dim_names=("a", "b"), preserve_rank_order=True)
            with recorded_groups() as groups:
                flat = mc.flatten(mesh, ("b",), "again")
            assert groups == []
            assert flat.get_group() is mc.get_group(mesh, "b")
            assert native.ranks_of(flat) == [1, 0]

    def test_that_were_destroyed_are_refused(self, foreign):
        dist.destroy_process_group(foreign.get_group("tp"))
        with pytest.raises(mc.MeshLayoutError, match=r"ranks \[4, 5, 6, 7\] whose .* is gone"):
            mc.get_group(foreign, "tp")

    def test_that_do_not_exist_on_a_rank_outside_are_refused_there(self, world):  # noqa: ARG002
        foreign = DeviceMesh("cpu", [6, 7], mesh_dim_names=("dp",))
        assert mc.get_ranks(foreign, "dp") == [6, 7]
        with pytest.raises(mc.NotInMeshError, match="rank 5 is not in this mesh"):
            mc.get_group(foreign, "dp")

    def test_that_were_never_made_are_refused(self, world):  # noqa: ARG002
        make = _eras.primitives().make_root
        bare = make("cpu", range(8), (2, 4), ("dp", "tp"), keep_order=False)
        turned = mc.get_submesh(bare, ("tp", "dp"))
        assert turned.mesh.tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
        for mesh in (bare, turned):
            with pytest.raises(mc.MeshLayoutError, match="the mesh was made without groups"):
                mc.get_group(mesh, "dp")


def every(grid, name):
    for _ in each_rank(grid.ranks.size):
        yield grid.array(name).flatten().tolist()
