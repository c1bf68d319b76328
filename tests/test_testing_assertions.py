"""The kit's statement about a mesh: what it lets pass, what it tells."""

import numpy as np
import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat.testing import assert_mesh, fake_world, reset

pytestmark = pytest.mark.mesh_world(8, rank=5)


@pytest.fixture
def mesh(mesh_world):
    assert mesh_world.rank == 5
    mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
    mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "dp_tp")
    return mesh


@pytest.mark.parametrize("form", [list, np.array, torch.tensor])
def test_assert_mesh_takes_what_is_right_in_any_form(mesh, form):
    assert_mesh(
        mesh,
        ranks=form([[[0, 1], [2, 3]], [[4, 5], [6, 7]]]),
        groups={"pp": (1, 5), "tp": [4, 5], "dp_tp": range(4, 8)},
        names=["pp", "dp", "tp"],
        coordinate=(1, 0, 1),
    )


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"ranks": [0, 1]}, "ranks: [[[0, 1], [2, 3]], [[4, 5], [6, 7]]], and should be [0, 1]"),
        ({"names": ("a",)}, "mesh dim names: ('pp', 'dp', 'tp'), and should be ('a',)"),
        ({"coordinate": (0, 0, 0)}, "coordinate: [1, 0, 1], and should be [0, 0, 0]"),
        ({"groups": {"tp": [5, 4]}}, "'tp': listed ranks: [4, 5], and should be [5, 4]"),
        ({"groups": {"tp": [5]}}, "'tp': ranks of the process group: [4, 5], and should be [5]"),
    ],
)
def test_assert_mesh_tells_what_differs_and_where(mesh, expected, words):
    with pytest.raises(AssertionError, match="the mesh differs on rank 5") as raised:
        assert_mesh(mesh, **expected)
    assert words in str(raised.value)


def test_assert_mesh_tells_all_that_differs_at_once(mesh):
    with pytest.raises(AssertionError) as raised:
        assert_mesh(mesh, ranks=[], names=(), groups={"pp": [1, 5]})
    assert len(str(raised.value).splitlines()) == 3


def test_assert_mesh_refuses_to_compare_nothing(mesh):
    with pytest.raises(ValueError, match="give ranks, groups, names or coordinate"):
        assert_mesh(mesh)


def test_assert_mesh_refuses_an_unknown_name(mesh):
    with pytest.raises(mc.MeshDimError, match="'cp'"):
        assert_mesh(mesh, groups={"cp": [0]})


def test_reset_lets_a_new_world_begin_without_a_trace_of_the_last():
    reset()
    world = fake_world(4)
    world.__enter__()
    mesh = torch.distributed.device_mesh.init_device_mesh(
        "cpu", (2, 2), mesh_dim_names=("dp", "tp")
    )
    _ = mesh["tp"]
    reset()
    assert not dist.is_initialized()
    with fake_world(4, rank=3):
        again = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        assert_mesh(again, groups={"dp": [1, 3], "tp": [2, 3]})
        assert mc.get_root_mesh(again) is again
    reset()
