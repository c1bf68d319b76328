"""A root that is given up: its own groups end, those of others stay, and its meshes say so."""

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

import meshcompat as mc
from meshcompat.testing import fake_world
from tests.support import native
from tests.support.destroying import count_of_threads, make_use_and_destroy


def make():
    mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
    mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "pp_tp")
    stage = mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "stage")
    mc.unflatten(stage, 0, (2, 2), ("ep_shard", "ep"))
    return mesh


@pytest.mark.usefixtures("world")
class TestDestroyMesh:
    def test_ends_every_group_that_was_made_for_the_root(self):
        before = native.groups()
        mesh = make()
        assert native.groups() > before
        mc.destroy_mesh(mc.get_flat_mesh(mesh, "tp"))
        assert native.groups() == before

    def test_leaves_every_mesh_of_the_root_with_an_error(self):
        mesh = make()
        meshes = [mesh, *(mc.get_flat_mesh(mesh, name) for name in mc.get_axis_names(mesh))]
        inert = mc.get_all_submeshes(mesh, "tp")
        mc.destroy_mesh(mesh)
        for part in (*meshes, *inert):
            for ask in (mc.get_root_mesh, mc.get_axis_names, mc.layout_of, mc.destroy_mesh):
                with pytest.raises(
                    mc.MeshLayoutError, match=r"given up by meshcompat\.destroy_mesh"
                ):
                    ask(part)
        with pytest.raises(mc.MeshLayoutError, match="destroy_mesh"):
            mc.get_flat_mesh(mesh, "tp")
        with pytest.raises(mc.MeshLayoutError, match="destroy_mesh"):
            mesh.get_group("tp")

    def test_lets_an_equal_root_be_made(self):
        for _ in range(3):
            mesh = make()
            assert mc.get_ranks(mesh, ("pp", "tp")) == [0, 1, 4, 5] or dist.get_rank() == 5
            assert native.root(mc.get_flat_mesh(mesh, "tp")) in (mesh, mc.get_flat_mesh(mesh, "tp"))
            mc.destroy_mesh(mesh)

    def test_does_not_touch_an_equal_root_beside_it(self):
        first, second = make(), make()
        mc.destroy_mesh(first)
        assert mc.get_root_mesh(mc.get_flat_mesh(second, "pp_tp")) is second
        assert mc.get_group(second, "dp") is not None
        mc.destroy_mesh(second)

    def test_keeps_groups_that_others_own(self):
        before = native.groups()
        theirs = init_device_mesh("cpu", (2, 4), mesh_dim_names=("a", "b"))
        pair: Any = dist.new_group([1, 5])
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        of_group = mc.from_group(dist.group.WORLD, "cpu", mesh_dim_names=("all",))
        mc.register_axis(mesh, "world", dist.group.WORLD)
        kept = native.groups()
        for root in (mesh, of_group, theirs):
            mc.destroy_mesh(root)
        assert native.groups() == kept - 2  # dp and tp of our own root
        assert dist.get_process_group_ranks(pair) == [1, 5]
        assert dist.is_initialized()
        assert native.groups() > before

    def test_refuses_to_abort_what_cannot_be_and_does_nothing(self):
        mesh = make()
        groups = native.groups()
        with pytest.raises(mc.UnsupportedTorchError, match="cannot abort groups of backend 'fake'"):
            mc.destroy_mesh(mesh, abort=True)
        assert native.groups() == groups
        assert mc.get_axis_size(mesh, "stage") == 4

    def test_lets_go_of_the_meshes(self):
        mesh = make()
        known = weakref.ref(mesh)
        mc.destroy_mesh(mesh)
        del mesh
        gc.collect()
        assert known() is None

    def test_works_in_another_thread(self):
        mesh = make()
        before = native.groups()
        thread = threading.Thread(target=mc.destroy_mesh, args=(mesh,))
        thread.start()
        thread.join()
        assert native.groups() < before
        with pytest.raises(mc.MeshLayoutError, match="destroy_mesh"):
            mc.get_flat_mesh(mesh, "tp")


def torch_made():
    return init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))


def ours():
    return mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))


def over_the_world():
    return mc.init_device_mesh("cpu", (8, 1), mesh_dim_names=("dp", "tp"))


@pytest.mark.usefixtures("world")
class TestSlicesThatTorchMade:
    """Up to 2.9 only torch's tables tell whose they are, and these end with the root."""

    @pytest.mark.parametrize("make_root", [torch_made, ours, over_the_world])
    def test_raise_though_they_were_never_looked_at(self, make_root):
        root = make_root()
        slices = [native.pick(root, name) for name in ("dp", "tp", "dp", "tp")]
        mc.destroy_mesh(root)
        for part in slices:
            for ask in (mc.get_group, mc.layout_of, mc.destroy_mesh):
                with pytest.raises(mc.MeshLayoutError):
                    ask(part)

    def test_say_that_the_root_was_destroyed(self):
        root = torch_made()
        slices = [native.pick(root, "tp"), native.pick(root, "tp")]
        mc.destroy_mesh(root)
        for part in slices:
            with pytest.raises(mc.MeshLayoutError, match=r"given up by meshcompat\.destroy_mesh"):
                mc.get_group(part)

    @pytest.mark.parametrize("first", [0, 1])
    @pytest.mark.parametrize("make_root", [torch_made, ours])
    def test_of_an_equal_root_live_on(self, make_root, first):
        roots = [make_root(), make_root()]
        slices = [native.pick(root, "tp") for root in roots]
        mc.destroy_mesh(roots[first])
        with pytest.raises(mc.MeshLayoutError):
            mc.get_group(slices[first])
        assert mc.get_group(slices[1 - first]) is roots[1 - first].get_group("tp")

    def test_do_not_end_an_equal_root_that_is_made_afterwards(self):
        root = over_the_world()
        part = native.pick(root, "dp")
        mc.destroy_mesh(root)
        new = init_device_mesh("cpu", (8,), mesh_dim_names=("dp",))
        assert mc.get_group(new) is dist.group.WORLD
        assert mc.get_root_mesh(new) is new
        with pytest.raises(mc.MeshLayoutError, match="destroy_mesh"):
            mc.get_group(part)

    def test_do_not_end_other_roots_with_the_same_groups(self):
        root = over_the_world()
        other = init_device_mesh("cpu", (8,), mesh_dim_names=("other",))
        mc.destroy_mesh(root)
        assert mc.get_group(other) is dist.group.WORLD


def test_a_rank_outside_destroys_too():
    with fake_world(8, 7):
        mesh = mc.init_device_mesh("cpu", (2, 2), ranks=[0, 1, 2, 3], mesh_dim_names=("a", "b"))
        mc.destroy_mesh(mesh)
        with pytest.raises(mc.MeshLayoutError, match="destroy_mesh"):
            mc.is_member(mesh)


def rounds(count):
    """Make and destroy two layouts *count* times, and return groups and threads after each."""
    seen = []
    for _ in range(count):
        make_use_and_destroy()
        seen.append((native.groups(), count_of_threads()))
    return seen


def waits_in_vain():
    """Abort on rank 0 while it waits for the others, which never come."""
    mesh = mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",), timeout=60)
    if not hasattr(dist.ProcessGroup, "abort"):
        with pytest.raises(mc.UnsupportedTorchError, match="cannot abort"):
            mc.destroy_mesh(mesh, abort=True)
        return "cannot"
    group = mc.get_group(mesh, "dp")
    work = dist.all_reduce(torch.ones(1), group=group, async_op=True) if dist.get_rank() else None
    mc.destroy_mesh(mesh, abort=True)
    if work is not None:
        with pytest.raises(RuntimeError):
            work.wait()
    return "aborted"


@pytest.mark.multiprocess
class TestOnRanks:
    def test_groups_and_threads_stay_flat(self, pool):
        for seen in pool.run(rounds, 12):
            groups, counts = zip(*seen, strict=True)
            assert len(set(groups)) == 1
            assert counts[-1] <= counts[2] + 2

    def test_an_abort_ends_a_collective_that_waits(self, pool):
        assert len(set(pool.run(waits_in_vain))) == 1
