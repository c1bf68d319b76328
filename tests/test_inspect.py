"""Questions about a mesh: answered on every rank, by arithmetic, without a group."""

import pickle

import pytest
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc
from meshcompat.testing import each_rank, fake_world, recorded_groups

NAMES = ("pp", "dp", "tp")


@pytest.fixture
def mesh(world):  # noqa: ARG001  (the mesh lives in it)
    return make_mesh()


def make_mesh():
    mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
    mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "pp_tp")
    mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "dp_tp")
    return mesh


def make_view(mesh):
    return mc.unflatten(mc.get_flat_mesh(mesh, "dp_tp"), 0, (4, 1), ("ep", "dp"))


class TestRoot:
    def test_is_the_same_object_for_every_mesh_derived_from_it(self):
        for _ in each_rank(8):
            mesh = make_mesh()
            pair = mc.get_submesh(mesh, ("tp", "pp"))
            derived = [
                mesh,
                pair,
                mc.get_submesh(pair, "pp"),
                mc.get_flat_mesh(mesh, "pp_tp"),
                mc.get_submesh(mesh, ("pp_tp", "dp")),
                make_view(mesh),
                mc.get_flat_mesh(make_view(mesh), "ep"),
                mc.concatenate([mc.get_flat_mesh(mesh, "tp"), mc.get_flat_mesh(mesh, "dp")]),
                *mc.get_all_submeshes(mesh, "dp"),
            ]
            assert {id(mc.get_root_mesh(each)) for each in derived} == {id(mesh)}
            assert all(mc.same_root(mesh, each) for each in derived)

    def test_of_an_equal_mesh_is_another(self, mesh):
        other = make_mesh()
        assert not mc.same_root(mesh, other)
        assert not mc.same_root(mc.get_flat_mesh(mesh, "tp"), mc.get_flat_mesh(other, "tp"))


class TestIsMember:
    def test_is_whether_the_rank_is_in_the_mesh(self):
        for rank in each_rank(8):
            some = mc.init_device_mesh("cpu", (3,), mesh_dim_names=("dp",), ranks=[1, 4, 6])
            assert mc.is_member(some) == (rank in (1, 4, 6))
            first, *others = mc.get_all_submeshes(make_mesh(), "pp")
            assert mc.is_member(first) == (rank in (0, 4))
            assert sum(map(mc.is_member, [first, *others])) == 1


class TestFlattenedMeshes:
    def test_are_listed_by_name_in_the_order_they_were_made(self, mesh):
        found = mc.get_flattened_meshes(mc.get_submesh(mesh, "tp"))
        assert {name: flat.mesh.tolist() for name, flat in found.items()} == {
            "pp_tp": [0, 1, 4, 5],
            "dp_tp": [4, 5, 6, 7],
        }
        assert list(found) == ["pp_tp", "dp_tp"]
        assert found["pp_tp"] is mc.get_flat_mesh(mesh, "pp_tp")

    def test_are_read_only(self, mesh):
        with pytest.raises(TypeError):
            mc.get_flattened_meshes(mesh)["x"] = mesh  # type: ignore[index]


class TestAxes:
    def test_have_sizes_by_name(self, mesh):
        sizes = {name: mc.get_axis_size(mesh, name) for name in (*NAMES, "pp_tp", "dp_tp")}
        assert sizes == {"pp": 2, "dp": 2, "tp": 2, "pp_tp": 4, "dp_tp": 4}

    def test_of_the_mesh_itself_come_before_those_of_its_root(self, mesh):
        view = make_view(mesh)
        assert [mc.get_axis_size(view, name) for name in ("ep", "dp", "tp")] == [4, 1, 2]

    def test_have_a_default_size_only_where_the_name_is_unknown(self, mesh):
        assert mc.get_axis_size(mesh, "cp", 1) == 1
        assert mc.get_axis_size(mesh, "cp", default=None) is None
        assert mc.get_axis_size(mesh, "tp", 1) == 2
        with pytest.raises(mc.MeshDimError, match="unknown mesh dim 'cp'"):
            mc.get_axis_size(mesh, "cp")

    def test_are_named_native_first_then_flattened_as_they_were_made(self, mesh):
        assert mc.get_axis_names(mesh) == (*NAMES, "pp_tp", "dp_tp")
        assert mc.get_axis_names(mesh, flattened=False) == NAMES
        assert mc.get_axis_names(mc.get_submesh(mesh, ("tp", "dp"))) == (*NAMES, "pp_tp", "dp_tp")
        assert mc.get_axis_names(make_view(mesh)) == (*NAMES, "ep", "pp_tp", "dp_tp")

    def test_of_a_mesh_without_names_are_the_flattened_ones(self, world):  # noqa: ARG002
        mesh = mc.init_device_mesh("cpu", (2, 4))
        assert mc.get_axis_names(mesh) == ()
        mc.flatten(mesh, "all")
        assert mc.get_axis_names(mesh) == ("all",)

    def test_that_are_named_are_those_that_can_be_asked_for(self, mesh):
        for one in (mesh, make_view(mesh), mc.get_submesh(mesh, ("pp_tp", "dp"))):
            for name in mc.get_axis_names(one):
                assert mc.has_axis(one, name)
                assert mc.get_flat_mesh(one, name).size() == mc.get_axis_size(one, name)
            assert not mc.has_axis(one, "cp")
            assert not mc.has_axis(one, 0)  # type: ignore[arg-type]


class TestLocalRank:
    def test_is_the_place_of_the_rank_along_a_dim(self):
        for rank in each_rank(8):
            mesh = make_mesh()
            coordinate = (rank // 4, rank // 2 % 2, rank % 2)
            assert tuple(mc.get_local_rank(mesh, name) for name in NAMES) == coordinate
            assert mc.get_local_rank(mesh, "pp_tp") == 2 * coordinate[0] + coordinate[2]
            assert mc.get_local_rank(make_view(mesh), "ep") == rank % 4
            assert mc.get_local_rank(mc.get_flat_mesh(mesh, "tp"), "dp_tp") == rank % 4


class TestLayout:
    def test_is_root_shape_dims_and_names(self, mesh):
        assert mc.layout_of(mc.get_submesh(mesh, ("pp_tp", "dp"))) == mc.MeshLayout(
            root_shape=(2, 2, 2), dims=(((2, 4), (2, 1)), ((2, 2),)), names=("pp_tp", "dp")
        )

    def test_has_no_names_where_the_mesh_has_none(self, world):  # noqa: ARG002
        layout = mc.layout_of(mc.init_device_mesh("cpu", (1, 8)))
        assert layout == mc.MeshLayout(root_shape=(1, 8), dims=((), ((8, 1),)), names=None)

    def test_is_the_same_on_every_rank_and_after_a_pickle(self):
        layouts = set()
        for _ in each_rank(8):
            layout = mc.layout_of(mc.get_submesh(make_mesh(), ("dp", "pp_tp")))
            layouts |= {layout, pickle.loads(pickle.dumps(layout))}  # noqa: S301  (our own)
        assert len(layouts) == 1

    def test_tells_dims_apart_that_have_the_same_sizes(self, mesh):
        layouts = {mc.layout_of(mc.get_flat_mesh(mesh, name)) for name in NAMES}
        assert len(layouts) == 3


def test_questions_make_no_group():
    for _ in each_rank(8):
        mesh = make_mesh()
        with recorded_groups() as groups:
            mc.get_root_mesh(mesh)
            mc.same_root(mesh, mesh)
            mc.is_member(mesh)
            mc.get_flattened_meshes(mesh)
            mc.get_axis_size(mesh, "dp_tp")
            mc.get_axis_names(mesh)
            mc.has_axis(mesh, "dp_tp")
            mc.layout_of(mesh)
            mc.get_ranks(mesh, ("pp", "dp"))
        assert groups == []


QUESTIONS = {
    "get_root_mesh": mc.get_root_mesh,
    "same_root": lambda mesh: mc.same_root(mesh, mesh),
    "is_member": mc.is_member,
    "get_flattened_meshes": mc.get_flattened_meshes,
    "get_axis_size": lambda mesh: mc.get_axis_size(mesh, "tp", 1),
    "get_axis_names": mc.get_axis_names,
    "has_axis": lambda mesh: mc.has_axis(mesh, "tp"),
    "layout_of": mc.layout_of,
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_questions_about_a_destroyed_world_are_refused(ask):
    with fake_world(8):
        mesh = make_mesh()
    with pytest.raises(mc.MeshLayoutError, match="no default process group is initialised"):
        ask(mesh)
    with fake_world(8), pytest.raises(mc.MeshLayoutError, match="was destroyed"):
        ask(mesh)


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
def test_questions_about_what_is_no_mesh_are_refused(world, ask):  # noqa: ARG001
    with pytest.raises(mc.MeshLayoutError, match=r"expected a torch.*DeviceMesh, got 'mesh'"):
        ask("mesh")


def test_questions_take_a_mesh_that_torch_made(world):  # noqa: ARG001
    mesh = DeviceMesh("cpu", [[0, 2, 4, 6], [1, 3, 5, 7]], mesh_dim_names=("dp", "tp"))
    assert mc.get_root_mesh(mesh) is mesh
    assert mc.layout_of(mesh).dims == (((2, 4),), ((4, 1),))
    assert mc.get_ranks(mesh, "tp") == [1, 3, 5, 7]
