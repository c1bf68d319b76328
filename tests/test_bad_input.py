"""Bad calls: each raises its contract error before any collective and leaves nothing behind."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed import device_mesh

import meshcompat as mc
from meshcompat.testing import fake_world, recorded_groups
from tests.support import native

if TYPE_CHECKING:
    from collections.abc import Iterator

from tests.support.bad_calls import NAMES, OF_A_MESH, RANK, TABLE


def snapshot(world: SimpleNamespace) -> object:
    """Return what a bad call must not change: groups, and names in both registries."""
    roots = (world.mesh, world.other, world.unnamed, world.fsdp, world.outside)
    names = [list(mc.get_flattened_meshes(mesh).items()) for mesh in roots]
    return native.groups(), names, [native.flattened_names(mesh) for mesh in roots]


@pytest.fixture(scope="class")
def world() -> Iterator[SimpleNamespace]:
    with fake_world(8, RANK):
        dead = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
        mc.get_submesh(dead, ("pp", "tp"))  # what is cached must not be handed out either
    with fake_world(8, RANK):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
        other = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
        dead_group = dist.new_group([4, 5])
        dist.destroy_process_group(dead_group)
        fsdp = ("dp_replicate", "dp_shard", "cp")
        world = SimpleNamespace(
            mesh=mesh,
            dp=mc.get_submesh(mesh, "dp"),
            pp_dp=mc.get_submesh(mesh, ("pp", "dp")),
            tp_pp=mc.get_submesh(mesh, ("tp", "pp")),
            dp_and_tp=mc.get_submesh(mesh, ("dp", "tp")),
            dp_tp=mc.flatten(mc.get_submesh(mesh, ("dp", "tp"))),
            pp_tp=mc.flatten(mc.get_submesh(mesh, ("pp", "tp"))),
            unnamed=mc.init_device_mesh("cpu", (2, 4)),
            fsdp=mc.init_device_mesh("cpu", (1, 4, 2), mesh_dim_names=fsdp),
            outside=mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"), ranks=range(4)),
            other=other,
            other_tp=mc.get_submesh(other, "tp"),
            dead=dead,
            tp_group=mc.get_group(mesh, "tp"),
            dp_group=mc.get_group(mesh, "dp"),
            same_ranks=dist.new_group([4, 5, 6, 7]),
            odd_group=dist.new_group([2, 5]),
            dead_group=dead_group,
            gloo_options=SimpleNamespace(backend="gloo", _timeout=timedelta(seconds=60)),
        )
        with recorded_groups() as world.asked_for:
            yield world


class TestInAWorld:
    @pytest.mark.parametrize("bad", TABLE, ids=[bad.label for bad in TABLE])
    def test_bad_call_says_what_to_do_and_changes_nothing(self, world, bad):
        before = snapshot(world)

        with pytest.raises(mc.MeshCompatError) as caught:
            bad.call(world)

        message = str(caught.value)
        asked = bad.asked if isinstance(bad.asked, str) else repr(bad.asked(world))
        assert type(caught.value) is bad.error
        assert asked in message
        assert [word for word in bad.words if word not in message] == []
        assert world.asked_for == []
        assert snapshot(world) == before

    def test_right_calls_still_work_after_all_bad_ones(self, world):
        submesh = mc.get_submesh(world.mesh, ("tp", "pp"))

        assert submesh.mesh.tolist() == [[0, 4], [1, 5]]
        assert mc.get_ranks(world.mesh, "dp_tp") == [4, 5, 6, 7]


@pytest.mark.parametrize("name", OF_A_MESH)
def test_mesh_without_a_world_is_refused(name):
    with fake_world(8, RANK):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)

    with pytest.raises(mc.MeshLayoutError, match="init_process_group") as caught:
        OF_A_MESH[name](mesh)

    assert repr(mesh) in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: mc.init_device_mesh("cpu", (8,)),
        lambda: mc.init_device_mesh("cpu", (8,), backend_override="gloo"),
        lambda: mc.from_group(None, "cpu"),
        lambda: mc.from_group([], "cpu", [0]),
    ],
    ids=["init_device_mesh", "with a backend", "from_group", "from no groups"],
)
def test_new_mesh_without_a_world_is_refused(make, monkeypatch):
    for variable in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(variable, raising=False)

    with pytest.raises(mc.MeshLayoutError, match="init_process_group"):
        make()


def test_every_public_function_has_bad_calls():
    functions = {name for name in mc.__all__ if name.islower() and name != "__version__"}
    covered = {name for bad in TABLE for name in functions if bad.label.startswith(name)}

    assert functions - {"unchecked"} == covered  # which takes no arguments
    assert len(TABLE) >= 200


@pytest.mark.soak
def test_all_bad_calls_are_refused_in_one_world(world, figure):
    for bad in TABLE:
        with pytest.raises(bad.error):
            bad.call(world)
    assert world.asked_for == []
    figure("bad inputs", "bad calls", len(TABLE))


def test_torch_mesh_without_groups_is_refused_where_a_group_is_asked():
    with fake_world(8):
        flag = next(
            name
            for name in ("_init_backend", "_init_process_groups")
            if name in device_mesh.DeviceMesh.__init__.__code__.co_varnames
        )
        without: dict[str, Any] = {flag: False}
        mesh = device_mesh.DeviceMesh("cpu", torch.arange(8), mesh_dim_names=("dp",), **without)

        with pytest.raises(mc.MeshLayoutError, match="without groups"):
            mc.get_group(mesh, "dp")


def test_sizes_that_cut_across_the_parts_of_a_flattened_dim_are_refused():
    with fake_world(12):
        mesh = mc.init_device_mesh("cpu", (3, 2, 2), mesh_dim_names=NAMES)
        flat = mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "pp_tp")

        with (
            recorded_groups() as groups,
            pytest.raises(mc.MeshLayoutError, match="sizes that keep these apart") as caught,
        ):
            mc.unflatten(flat, "pp_tp", (2, 3), ("a", "b"))

        assert "(2, 3)" in str(caught.value)
        assert "(3, 2)" in str(caught.value)
        assert groups == []
