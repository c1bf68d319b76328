"""What a look-up does: counted, since counts are the same on a busy machine."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc
from meshcompat import _eras
from meshcompat._mesh.links import links
from meshcompat._mesh.lookup import view_of
from meshcompat._mesh.memory import Root, View, remember, remembered
from meshcompat.testing import fake_world
from tests.support import native
from tests.support.native_faults import of_a_thread

NAMES = ("dp_replicate", "dp_shard", "cp", "tp")
HSDP = ("dp_replicate", "dp_shard_cp")
WORLDS = (64, 1024)


def make_mesh(world_size=64):
    mesh = mc.init_device_mesh("cpu", (2, world_size // 32, 2, 8), mesh_dim_names=NAMES)
    mc.flatten(mc.get_submesh(mesh, ("dp_shard", "cp")), "dp_shard_cp")
    return mesh


@pytest.fixture
def mesh():
    with fake_world(64, 37):
        yield make_mesh()


LOOK_UPS = {
    "get_flat_mesh": lambda mesh: mc.get_flat_mesh(mesh, "tp"),
    "get_flat_mesh of a flattened dim": lambda mesh: mc.get_flat_mesh(mesh, "dp_shard_cp"),
    "get_submesh": lambda mesh: mc.get_submesh(mesh, HSDP),
    "get_submesh of one name": lambda mesh: mc.get_submesh(mesh, "cp"),
    "get_root_mesh": mc.get_root_mesh,
    "get_axis_size": lambda mesh: mc.get_axis_size(mesh, "tp"),
    "get_axis_size of a flattened dim": lambda mesh: mc.get_axis_size(mesh, "dp_shard_cp"),
}
look_ups = pytest.mark.parametrize("look_up", LOOK_UPS.values(), ids=LOOK_UPS)
of_meshes = pytest.mark.parametrize("look_up", list(LOOK_UPS.values())[:5], ids=list(LOOK_UPS)[:5])


OURS = str(Path(mc.__file__).parent)


def calls_of(look_up, mesh):
    """Return the functions of meshcompat that *look_up* calls, by name.

    What torch's constructor does beside them is torch's, and grows with the world on 2.10 to 2.12.
    """
    called = []

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            called.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        look_up(mesh)
    finally:
        sys.setprofile(before)
    return called


def first_calls_of(look_up, world_size):
    return calls_of(look_up, make_mesh(world_size))


@look_ups
@pytest.mark.parametrize("world_size", WORLDS)
@pytest.mark.parametrize("run", [lambda call: call(), of_a_thread], ids=["here", "in a thread"])
def test_second_look_up_calls_two_functions(look_up, world_size, run):
    with fake_world(world_size, 37):
        mesh = make_mesh(world_size)

        def twice():
            look_up(mesh)
            return calls_of(look_up, mesh)

        called = run(twice)

    assert len(called) == 2
    assert called[0].startswith("get_")
    assert called[1] in {"recall", "recall_told"}


def copy_of(mesh):
    """Return an equal mesh as torch's slices are: known, but not the one that is handed out."""
    view = remembered(mesh)
    ranks = view.root.ranks_of(view.layouts, 32)
    make = _eras.primitives().make_submesh
    twin = make(view.root.mesh, lambda: ranks, view.layouts, view.names)
    remember(twin, View(view.root, view.dims, view.anchor))
    return twin


AGAIN = {
    "concatenate": lambda mesh: mc.concatenate([mc.get_flat_mesh(mesh, n) for n in ("cp", "tp")]),
    "flatten": lambda mesh: mc.flatten(mesh, ("cp", "tp"), "cp_tp"),
    "flatten a list": lambda mesh: mc.flatten(mesh, ["cp", "tp"], mesh_dim_name="cp_tp"),
    "flatten by one name": lambda mesh: mc.flatten(mc.get_submesh(mesh, ("cp", "tp")), "cp_tp"),
    "unflatten": lambda mesh: mc.unflatten(mesh, "tp", (2, 4), ("a", "b")),
    "get_group": lambda mesh: mc.get_group(mesh, "tp"),
    "get_group of two": lambda mesh: mc.get_group(mesh, ["cp", "tp"]),
    "get_ranks": lambda mesh: mc.get_ranks(mesh, ("cp", "tp")),
    "get_all_submeshes": lambda mesh: mc.get_all_submeshes(mesh, "tp"),
}


@pytest.mark.parametrize("call", AGAIN.values(), ids=AGAIN)
@pytest.mark.parametrize("run", [lambda call: call(), of_a_thread], ids=["here", "in a thread"])
def test_the_same_call_again_is_recalled_before_it_is_looked_at(call, run, mesh):
    first = call(mesh)

    def again():
        second = call(mesh)
        return second, calls_of(call, mesh)

    second, called = run(again)
    if isinstance(first, list):
        assert second == first
        assert second is not first
    else:
        assert second is first
    assert not {"view_of", "once", "as_names", "as_sizes"} & set(called)


def test_a_call_is_told_from_one_with_an_equal_argument_of_another_type(mesh):
    assert mc.unflatten(mesh, 1, (2, 1), ("a", "b")).ndim == 5
    with pytest.raises(mc.MeshDimError, match="True"):
        mc.unflatten(mesh, True, (2, 1), ("a", "b"))


def test_many_submeshes_of_other_ranks_live_no_longer_than_somebody_has_them():
    with fake_world(1024, 37):
        many = mc.init_device_mesh("cpu", (128, 8), mesh_dim_names=("dp", "tp"))
        known = [weakref.ref(each) for each in mc.get_all_submeshes(many, "tp")]
        gc.collect()
        alive = [reference() for reference in known if reference() is not None]
        if _eras.era().links == "one_root":  # up to 2.9 torch's tables keep every mesh
            assert len(alive) == 1
        assert mc.get_ranks(mc.get_all_submeshes(many, "tp")[0], "tp") == list(range(8))


def test_concatenating_slices_that_are_made_anew_keeps_none_of_them(mesh):
    cp = mc.get_flat_mesh(mesh, "cp")
    before = len(remembered(cp).told)
    for _ in range(5):
        assert mc.concatenate([cp, copy_of(mc.get_flat_mesh(mesh, "tp"))]).ndim == 2
    assert len(remembered(cp).told) == before


def test_a_group_that_somebody_destroyed_is_not_recalled(mesh):
    dist.destroy_process_group(mc.get_group(mesh, "tp"))
    with pytest.raises(mc.MeshLayoutError, match="has no process group"):
        mc.get_group(mesh, "tp")


@look_ups
def test_first_look_up_does_as_much_in_a_large_world_as_in_a_small_one(look_up):
    called = []
    assert all(hasattr(mc, name) for name in mc.__all__)  # each is imported from its room
    for world_size in WORLDS:
        with fake_world(world_size, 37):
            # In a new thread torch's tables know no equal mesh of another test.
            called.append(of_a_thread(first_calls_of, look_up, world_size))

    assert called[0] == called[1]


@look_ups
def test_second_look_up_makes_no_mesh(look_up, mesh, monkeypatch):
    made = []
    constructor = DeviceMesh.__init__

    def note(self, *args, **kwargs):
        made.append(self)
        constructor(self, *args, **kwargs)

    monkeypatch.setattr(DeviceMesh, "__init__", note)
    look_up(mesh)
    first = len(made)
    look_up(mesh)
    of_a_thread(look_up, mesh)

    assert len(made) == first <= 1


def retained_by(make):
    """Return the bytes of Python objects that the call leaves, and what it returns."""
    gc.collect()
    tracemalloc.start()
    made = make()
    gc.collect()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size, made


def retained_by_root(world_size):
    """Return the bytes that one root keeps: the least of five, as the table of all roots grows with one of them."""
    make = _eras.primitives().make_root
    ranks, shape = range(world_size), (8, world_size // 8)
    with fake_world(world_size, 37):
        Root(make("cpu", ranks, (world_size,), None, keep_order=False))  # what is made once
        meshes = [make("cpu", ranks, shape, None, keep_order=False) for _ in range(5)]
        kept = [retained_by(partial(Root, mesh)) for mesh in meshes]
        assert all(root.size == len(root.rank_map) == world_size for _, root in kept)
    return min(size for size, _ in kept)


def test_root_keeps_nothing_that_grows_with_the_world():
    sizes = [retained_by_root(world_size) for world_size in WORLDS]
    assert abs(sizes[0] - sizes[1]) < 512  # a list of ranks would take 8 bytes a rank, an array 4


class TestAnswers:
    def test_are_kept_where_a_view_and_its_root_use_one_name(self, mesh):
        experts = mc.create_moe_mesh(mesh, ep_shard_size=8, ep_size=8)
        own = mc.get_flat_mesh(experts, "ep")
        outside = mc.get_flat_mesh(experts, "ep_shard")
        with pytest.raises(mc.MeshDimError):
            mc.get_flat_mesh(mesh, "ep")
        with pytest.raises(mc.MeshDimError):
            mc.get_axis_size(outside, "ep")

        flat = mc.flatten(mc.get_submesh(mesh, ("cp", "tp")), "ep")

        assert mc.get_flat_mesh(experts, "ep") is own
        assert mc.get_axis_size(experts, "ep") == 8
        assert mc.get_flat_mesh(mesh, "ep") is flat
        assert mc.get_flat_mesh(outside, "ep") is flat
        assert mc.get_axis_size(outside, "ep") == 16

    def test_of_a_submesh_by_a_name_of_the_root_cannot_become_another(self, mesh):
        tp = mc.get_flat_mesh(mesh, "tp")
        before = mc.get_submesh(tp, "cp"), mc.get_axis_size(tp, "cp")
        for part in (tp, mesh, mc.get_submesh(mesh, ("dp_shard", "tp"))):
            with pytest.raises(mc.MeshLayoutError, match="'cp'"):
                mc.flatten(part, "cp")
        assert (mc.get_submesh(tp, "cp"), mc.get_axis_size(tp, "cp")) == before

    def test_default_is_not_kept_as_an_answer(self, mesh):
        assert mc.get_axis_size(mesh, "later", 7) == 7
        mc.flatten(mc.get_submesh(mesh, ("cp", "tp")), "later")
        assert mc.get_axis_size(mesh, "later", 7) == 16
        assert mc.get_axis_size(mesh, "sooner", None) is None

    def test_are_the_same_for_a_name_of_another_type_and_for_a_list(self, mesh):
        assert mc.get_flat_mesh(mesh, mc.MeshAxisName.TP) is mc.get_flat_mesh(mesh, "tp")
        assert mc.get_axis_size(mesh, mc.MeshAxisName.CP) == mc.get_axis_size(mesh, "cp") == 2
        for _ in range(2):
            assert mc.get_submesh(mesh, list(HSDP)) is mc.get_submesh(mesh, HSDP)
            assert mc.get_submesh(mesh, (mc.MeshAxisName.CP,)) is mc.get_submesh(mesh, ["cp"])

    def test_of_several_names_are_none_of_one_name(self, mesh):
        mc.get_submesh(mesh, HSDP)
        with pytest.raises(mc.MeshDimError):
            mc.get_flat_mesh(mesh, HSDP)  # type: ignore[arg-type]
        with pytest.raises(mc.MeshDimError):
            mc.get_axis_size(mesh, HSDP)  # type: ignore[call-overload]

    def test_end_with_their_world(self):
        def refused(look_up):
            with pytest.raises(mc.MeshLayoutError, match="default process group"):
                look_up(mesh)
            return True

        with fake_world(64, 37):
            mesh = make_mesh()
            for look_up in LOOK_UPS.values():
                look_up(mesh)
        assert all(map(refused, LOOK_UPS.values()))
        with fake_world(64, 37):
            assert all(map(refused, LOOK_UPS.values()))

    def test_keep_no_dead_mesh_alive(self, mesh):
        """Of our own memory: torch's tables keep every mesh up to 2.9, see test_lifetime."""

        class Mesh:
            device_type = "cpu"

        made: Any = Mesh()
        view = remember(made, View(view_of(mesh).root, (), made))
        view.made["me"] = made
        reference = weakref.ref(made)
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(lambda mesh: links.recall(mesh, "other"), made).result() is None
            del made, view
            thread.submit(gc.collect).result()  # the thread goes on, and has let its first call go
            assert reference() is None


@of_meshes
def test_torch_knows_the_root_in_every_one_of_many_short_threads(look_up, mesh):
    """Ids of threads are used again; what torch was told in one that ended is gone."""
    made = look_up(mesh)
    is_known = native.root(made) is mesh

    def look():
        look_up(mesh)
        look_up(mesh)
        return native.root(made) is mesh

    assert [of_a_thread(look) for _ in range(20)] == [is_known] * 20


def test_name_flattened_later_reaches_a_thread_that_knew_the_root(mesh):
    with ThreadPoolExecutor(1) as thread:
        thread.submit(mc.get_flat_mesh, mesh, "dp_shard_cp").result()
        mc.flatten(mc.get_submesh(mesh, ("dp_replicate", "dp_shard")), "dp")
        is_published = "dp" in native.flattened_names(mesh)

        def look():
            mc.get_submesh(mesh, ("dp", "tp"))
            return "dp" in native.flattened_names(mesh)

        assert thread.submit(look).result() is is_published


def test_meshes_of_a_root_keep_no_list_of_all_its_ranks():
    world_size = 4096

    def kept():
        mesh = mc.init_device_mesh("cpu", (64, 64), mesh_dim_names=("dp", "tp"))
        gc.collect()
        tracemalloc.start()
        found = [mc.get_flat_mesh(mesh, name) for name in ("dp", "tp")]
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(found) == 2
        return grown

    with fake_world(world_size, 37):
        kept()  # what only the first look-up of a process keeps
        assert kept() < 8 * world_size  # less than one word a rank
