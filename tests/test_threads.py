"""Results, roots and flattened names are the same in every thread of the process."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed.device_mesh import init_device_mesh

import meshcompat as mc
from meshcompat.testing import fake_world, recorded_groups
from tests.support import native
from tests.support.native_faults import of_a_thread

NAMES = ("pp", "dp", "tp")
RANK = 5

MADE = {
    "submesh": lambda mesh: mc.get_submesh(mesh, ("pp", "dp")),
    "submesh of one dim": lambda mesh: mc.get_submesh(mesh, "tp"),
    "submesh in another order": lambda mesh: mc.get_submesh(mesh, ("tp", "pp")),
    "flat mesh": lambda mesh: mc.get_flat_mesh(mesh, "dp"),
    "flattened": lambda mesh: mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "flat"),
    "flattened, dims apart": lambda mesh: mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "apart"),
    "unflattened": lambda mesh: mc.unflatten(mesh, "tp", (1, 2), ("a", "b")),
    "concatenated": lambda mesh: mc.concatenate(
        [mc.get_submesh(mesh, "pp"), mc.get_submesh(mesh, "tp")]
    ),
    "of another subgroup": lambda mesh: mc.get_all_submeshes(mesh, "tp")[-1],
}


@pytest.fixture
def mesh():
    with fake_world(8, RANK):
        yield mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_root_and_result_are_the_same_in_another_thread(make, mesh):
    made = make(mesh)

    assert of_a_thread(mc.get_root_mesh, made) is mesh
    if make is not MADE["of another subgroup"]:
        assert of_a_thread(make, mesh) is made


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_mesh_made_in_a_thread_is_known_in_the_others(make, mesh):
    made = of_a_thread(make, mesh)

    assert mc.get_root_mesh(made) is mesh
    assert mc.same_root(made, mesh)
    assert of_a_thread(mc.layout_of, made) == mc.layout_of(made)


def test_root_made_in_a_thread_is_known_in_the_others():
    with fake_world(8, RANK):
        mesh = of_a_thread(lambda: mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES))
        flat = of_a_thread(MADE["flattened"], mesh)

        assert mc.get_root_mesh(flat) is mesh
        assert mc.get_flat_mesh(mesh, "flat") is flat
        assert mc.get_ranks(flat, "flat") == [4, 5, 6, 7]


def test_flattened_names_are_the_same_in_another_thread(mesh):
    flat, apart = MADE["flattened"](mesh), MADE["flattened, dims apart"](mesh)
    before = native.groups()

    assert of_a_thread(mc.get_flattened_meshes, mesh) == {"flat": flat, "apart": apart}
    assert of_a_thread(mc.get_axis_names, mesh) == (*NAMES, "flat", "apart")
    assert of_a_thread(mc.get_flat_mesh, mesh, "apart") is apart
    assert native.groups() == before


def test_slice_of_torch_keeps_its_root_or_is_its_own_in_another_thread():
    with fake_world(8, RANK):
        mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
        sliced = native.pick(mesh, "tp")

        assert of_a_thread(mc.get_root_mesh, sliced) in (mesh, sliced)
        assert of_a_thread(mc.get_ranks, sliced, "tp") == [4, 5]


def test_slice_of_torch_that_was_seen_keeps_its_root_in_another_thread():
    with fake_world(8, RANK):
        mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
        sliced = native.pick(mesh, "tp")
        mc.get_root_mesh(sliced)

        assert of_a_thread(mc.get_root_mesh, sliced) is mesh


@pytest.mark.parametrize("kind", ["submesh", "submesh of one dim", "flattened"])
def test_torch_finds_the_root_in_a_thread_that_has_looked_the_mesh_up(kind, mesh):
    make = MADE[kind]
    made = make(mesh)
    if native.root(made) is not mesh:
        pytest.skip("this torch links no such mesh to its root, in no thread")

    def look() -> object:
        make(mesh)
        return native.root(made)

    assert of_a_thread(look) is mesh


def test_torch_finds_flattened_names_in_a_thread_that_has_looked_the_root_up(mesh):
    MADE["flattened"](mesh)
    is_known = "flat" in native.flattened_names(mesh)

    def look() -> object:
        mc.get_flat_mesh(mesh, "flat")
        return "flat" in native.flattened_names(mesh)

    assert of_a_thread(look) == is_known


def test_torch_slices_a_published_name_in_a_thread_that_has_looked_it_up(mesh):
    MADE["flattened"](mesh)
    if "flat" not in native.flattened_names(mesh):
        pytest.skip("flattened names are not written to torch's registry on this release")

    def look() -> object:
        mc.get_flat_mesh(mesh, "flat")
        return native.pick(mesh, ("pp", "flat")).mesh.tolist()

    assert of_a_thread(look) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("make", list(MADE.values())[:-1], ids=list(MADE)[:-1])
def test_threads_that_ask_at_once_get_one_object_and_one_group(make):
    count = 12
    with fake_world(8, RANK):
        for _ in range(5):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
            start = threading.Barrier(count)

            def ask(mesh=mesh, start=start):
                start.wait()
                return make(mesh)

            with ThreadPoolExecutor(count) as threads, recorded_groups() as groups:
                answers = [threads.submit(ask) for _ in range(count)]
                made = {id(answer.result()) for answer in answers}

            alone = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
            with recorded_groups() as expected:
                make(alone)
            assert len(made) == 1
            assert groups == expected


def test_threads_that_ask_for_different_things_at_once_get_each_their_own(mesh):
    calls = list(MADE.values())[:-1] * 4
    start = threading.Barrier(len(calls))

    def ask(make):
        start.wait()
        return make(mesh)

    with ThreadPoolExecutor(len(calls)) as threads:
        answers = [future.result() for future in [threads.submit(ask, make) for make in calls]]

    for make, answer in zip(calls, answers, strict=True):
        assert answer is make(mesh)
        assert mc.get_root_mesh(answer) is mesh


ASKED = {
    "two roots": (
        lambda root, _: mc.get_flat_mesh(root, "tp"),
        lambda _, twin: mc.get_flat_mesh(twin, "tp"),
    ),
    "a dim and that dim of a view": (
        lambda root, _: mc.get_flat_mesh(root, "tp"),
        lambda root, _: mc.get_flat_mesh(mc.get_submesh(root, ("tp", "pp")), "tp"),
    ),
    "a flattened dim and that dim of a view": (
        lambda root, _: mc.flatten(mc.get_submesh(root, ("dp", "tp")), "flat"),
        lambda root, _: mc.get_flat_mesh(mc.get_submesh(root, ("pp", "flat")), "flat"),
    ),
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_torch_finds_the_root_of_that_of_two_equal_meshes_that_was_asked_for_last(asked, mesh):
    twin = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)

    def roots():
        return [id(native.root(ask(mesh, twin))) for ask in asked]

    first = roots()
    assert [roots(), roots(), of_a_thread(roots), roots()] == [first] * 4


def test_torch_finds_what_another_thread_flattened_like_before_in_an_ended_world():
    with fake_world(8, 3):
        MADE["flattened"](mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES))
    with fake_world(8, RANK):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
        flat = of_a_thread(MADE["flattened"], mesh)

        assert mc.get_flat_mesh(mesh, "flat") is flat
        assert native.ranks_of(flat, "flat") == [4, 5, 6, 7]
