"""Worlds end, meshes are dropped, copied and pickled: nothing of an old world is handed out."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import warnings
import weakref

import pytest
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

import meshcompat as mc
from meshcompat.testing import fake_world
from tests.support import native
from tests.support.native_faults import of_a_thread
from tests.support.small_world import KINDS, NAMES, RANK, flat_of, ours


def torchs():
    return init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)


def is_living(group):
    return dist.get_process_group_ranks(group) == [4, 5, 6, 7] and native.groups() > 1


both = pytest.mark.parametrize("make", [ours, torchs], ids=["our root", "torch's root"])


@both
def test_flattened_mesh_of_an_equal_root_is_not_handed_out_after_a_restart(make):
    with fake_world(8, RANK):
        old = flat_of(make())
    with fake_world(8, RANK):
        mesh = make()

        assert mc.get_flattened_meshes(mesh) == {}
        assert not mc.has_axis(mesh, "flat")
        new = flat_of(mesh)

        assert new is not old
        assert is_living(mc.get_group(mesh, "flat"))
        assert native.ranks_of(new) == [4, 5, 6, 7]


def test_what_torch_flattened_before_a_restart_is_not_handed_out():
    with fake_world(8, RANK):
        mesh = torchs()
        try:
            native.require("_flatten")
        except native.Absent as missing:
            pytest.skip(str(missing))
        old = native.flatten(native.pick(mesh, ("dp", "tp")), "by torch")
        assert mc.get_flat_mesh(mesh, "by torch") is old
    with fake_world(8, RANK):
        mesh = torchs()

        assert mc.get_flattened_meshes(mesh) == {}
        new = mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "by torch")
        assert new is not old
        assert native.ranks_of(new) == [4, 5, 6, 7]


@both
def test_submeshes_after_a_restart_have_groups_of_the_living_world(make):
    with fake_world(8, RANK):
        old = make()
        before = [mc.get_submesh(old, ("tp", "pp")), mc.get_flat_mesh(old, "dp")]
    with fake_world(8, RANK):
        mesh = make()
        after = [mc.get_submesh(mesh, ("tp", "pp")), mc.get_flat_mesh(mesh, "dp")]

        assert not {id(made) for made in before} & {id(made) for made in after}
        assert [mc.get_root_mesh(made) is mesh for made in after] == [True, True]
        assert native.ranks_of(after[0], 0) == [4, 5]
        assert native.ranks_of(after[1]) == [5, 7]


@both
def test_old_mesh_is_refused_also_for_what_was_looked_up_before(make):
    with fake_world(8, RANK):
        old = make()
        flat, submesh = flat_of(old), mc.get_submesh(old, ("pp", "tp"))
    with fake_world(8, RANK):
        make()
        for call in (
            lambda: mc.get_submesh(old, ("pp", "tp")),
            lambda: mc.get_flat_mesh(old, "flat"),
            lambda: mc.get_submesh(submesh, "tp"),
            lambda: mc.get_root_mesh(flat),
            lambda: mc.get_flattened_meshes(old),
            lambda: flat_of(old),
        ):
            with pytest.raises(mc.MeshLayoutError, match="destroyed"):
                call()
            with pytest.raises(mc.MeshLayoutError, match="destroyed"):
                of_a_thread(call)


def test_meshes_of_two_worlds_do_not_mix():
    with fake_world(8, RANK):
        old = mc.get_submesh(ours(), "pp")
    with fake_world(8, RANK):
        new = mc.get_submesh(ours(), "tp")

        with pytest.raises(mc.MeshLayoutError, match="destroyed"):
            mc.concatenate([new, old])
        with pytest.raises(mc.MeshLayoutError, match="destroyed"):
            mc.same_root(new, old)


def test_root_that_equals_a_submesh_of_an_ended_world_is_its_own_root():
    with fake_world(8, RANK):
        for make in (mc.init_device_mesh, init_device_mesh):
            native.pick(make("cpu", (1, 8), mesh_dim_names=("one", "eight")), "eight")
    with fake_world(8, RANK):
        mesh = init_device_mesh("cpu", (8,), mesh_dim_names=("eight",))

        assert mc.get_root_mesh(mesh) is mesh
        assert mc.get_ranks(mesh, "eight") == list(range(8))


def test_ten_worlds_one_after_the_other_are_alike():
    found = []
    for _ in range(10):
        with fake_world(8, RANK):
            mesh = ours()
            flat = flat_of(mesh)
            found.append((flat.mesh.tolist(), native.ranks_of(flat), native.groups()))

    assert found == [found[0]] * 10


def test_meshes_are_collected_when_they_are_dropped():
    with fake_world(8, RANK):
        if keeps_meshes_for_ever():
            pytest.skip("the tables of this torch keep every mesh alive, its own too")
        mesh = ours()
        made = [
            mesh,
            flat_of(mesh),
            mc.get_submesh(mesh, ("tp", "pp")),
            mc.unflatten(mesh, "tp", (1, 2), ("a", "b")),
            *mc.get_all_submeshes(mesh, "tp"),
        ]
        references = [weakref.ref(one) for one in made]

        del mesh, made
        gc.collect()

        assert [reference() for reference in references] == [None] * len(references)


def keeps_meshes_for_ever() -> bool:
    # Names of its own: an equal mesh in a table is kept in place of this one.
    mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("kept", "for", "ever"))
    reference = weakref.ref(native.pick(mesh, "ever"))
    del mesh
    gc.collect()
    return reference() is not None


def test_submesh_keeps_its_root_alive():
    with fake_world(8, RANK):
        submesh = mc.get_submesh(ours(), "tp")
        gc.collect()

        assert mc.get_root_mesh(submesh).mesh.numel() == 8


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda mesh: pickle.loads(pickle.dumps(mesh)),  # noqa: S301  (our own bytes)
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_copy_is_right_or_refused_and_leaves_the_original_alone(kind, copied):
    with fake_world(8, RANK):
        mesh = kind(ours())
        root, names = mc.get_root_mesh(mesh), mesh.mesh_dim_names
        expected = [mc.get_ranks(mesh, name) for name in names]
        before = native.groups()

        other = copied(mesh)

        for name, ranks in zip(names, expected, strict=True):
            with contextlib.suppress(mc.MeshCompatError):
                assert mc.get_ranks(other, name) == ranks
                assert dist.get_process_group_ranks(mc.get_group(other, name)) == ranks
                assert mc.get_flat_mesh(other, name).mesh.tolist() == ranks
                assert mc.get_submesh(other, names).mesh.tolist() == mesh.mesh.tolist()
        assert native.groups() == before
        assert mc.get_root_mesh(mesh) is root
        assert [mc.get_ranks(mesh, name) for name in names] == expected


@pytest.mark.parametrize("copied", [copy.deepcopy, COPIES["pickle"]], ids=["deepcopy", "pickle"])
def test_copy_of_a_mesh_of_an_ended_world_hands_out_no_dead_group(copied):
    with fake_world(8, RANK):
        mesh = flat_of(ours())
        stored = copied(mesh)
    with fake_world(8, RANK):
        try:
            group = mc.get_group(stored, "flat")
        except mc.MeshLayoutError as error:
            assert "flat" in str(error) or "DeviceMesh" in str(error)  # noqa: PT017
        else:
            assert dist.get_process_group_ranks(group) == [4, 5, 6, 7]


def test_no_public_call_warns():
    with fake_world(8, RANK), warnings.catch_warnings():
        warnings.simplefilter("error")
        mesh = ours()
        dp_tp = mc.get_submesh(mesh, ("dp", "tp"))
        fsdp_names = ("dp_replicate", "dp_shard", "cp")
        sizes = mc.ParallelismSizes(tp_size=2)
        calls = {
            "init_device_mesh": lambda: mc.init_device_mesh(
                "cpu", (2, 2), ranks=range(4), timeout=9
            ),
            "get_submesh": lambda: mc.get_submesh(mesh, ("tp", "pp")),
            "flatten": lambda: mc.flatten(dp_tp, "flat"),
            "get_flat_mesh": lambda: mc.get_flat_mesh(mesh, "flat"),
            "unflatten": lambda: mc.unflatten(
                mc.get_flat_mesh(mesh, "flat"), 0, (2, 2), ("a", "b")
            ),
            "concatenate": lambda: mc.concatenate([mc.get_flat_mesh(mesh, "pp"), dp_tp]),
            "get_all_groups": lambda: mc.get_all_groups(mesh),
            "get_local_rank": lambda: mc.get_local_rank(mesh, "flat"),
            "get_all_submeshes": lambda: mc.get_all_submeshes(mesh, "flat"),
            "get_fsdp_dp_mesh": lambda: mc.get_fsdp_dp_mesh(
                mc.init_device_mesh("cpu", (2, 4, 1), mesh_dim_names=fsdp_names)
            ),
            "get_root_mesh": lambda: mc.get_root_mesh(dp_tp),
            "same_root": lambda: mc.same_root(mesh, dp_tp),
            "is_member": lambda: mc.is_member(mesh),
            "get_flattened_meshes": lambda: mc.get_flattened_meshes(mesh),
            "get_axis_size": lambda: mc.get_axis_size(mesh, "flat"),
            "get_axis_names": lambda: mc.get_axis_names(mesh),
            "has_axis": lambda: mc.has_axis(mesh, "flat"),
            "get_group": lambda: mc.get_group(mesh, ("pp", "tp")),
            "get_ranks": lambda: mc.get_ranks(mesh, ("flat", "pp")),
            "layout_of": lambda: mc.layout_of(mesh),
            "from_group": lambda: mc.from_group(mc.get_group(mesh, "tp"), "cpu"),
            "mesh_to_dict": lambda: mc.mesh_to_dict(mesh),
            "mesh_from_dict": lambda: mc.mesh_from_dict(mc.mesh_to_dict(mesh)),
            "register_axis": lambda: mc.register_axis(mesh, "all", dist.group.WORLD),
            "register_flattened_axes": lambda: mc.register_flattened_axes(
                mesh, {"b": ("pp", "tp")}
            ),
            "init_named_mesh": lambda: mc.init_named_mesh(mc.MeshSpec((8,), ("dp",))),
            "create_moe_mesh": lambda: mc.create_moe_mesh(
                mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",)), ep_shard_size=2, ep_size=4
            ),
            "create_ring_ulysses_mesh": lambda: mc.create_ring_ulysses_mesh(
                mc.init_device_mesh("cpu", (8,), mesh_dim_names=("cp",)),
                ring_degree=4,
                ulysses_degree=2,
            ),
            "create_fsdp2_device_mesh": lambda: mc.create_fsdp2_device_mesh(sizes, world_size=8),
            "create_megatron_fsdp_device_mesh": lambda: mc.create_megatron_fsdp_device_mesh(
                sizes, world_size=8
            ),
            "create_device_meshes": lambda: mc.create_device_meshes(
                mc.FSDP2Config(), sizes, world_size=8
            ),
            "unchecked": mc.unchecked,
            "show": lambda: mc.show(mesh),
            "destroy_mesh": lambda: mc.destroy_mesh(mc.init_device_mesh("cpu", (8,))),
        }
        for call in calls.values():
            call()
            call()

    public = {name for name in mc.__all__ if name.islower() and name != "__version__"}
    assert calls.keys() == public
