"""The drop-in beside the framework's own module: each finds what the other one flattened."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
import torch.distributed as dist

import meshcompat as mc
from meshcompat import mesh_utils
from meshcompat.testing import each_rank, fake_world
from tests.support import framework, native

SHAPE = (1, 2, 2, 2, 1)
FLATTENED = {"dp": 4, "dp_shard_cp": 4, "dp_cp": 8}
HSDP = ("dp_replicate", "dp_shard_cp")


def ours(world_size=8, **sizes):
    wanted = mc.ParallelismSizes(dp_replicate_size=2, cp_size=2, **sizes)
    return mesh_utils._create_fsdp2_device_mesh(wanted, world_size=world_size)[0]  # noqa: SLF001


def over_ranks():
    return framework.over_ranks((1, 2, 2, 1, 1), [4, 5, 6, 7])


def group_of(mesh):
    return native.ranks_of(mesh), mc.get_group(mesh, mesh.mesh_dim_names[0])


def test_the_framework_finds_what_the_drop_in_flattened():
    for rank in each_rank(8):
        mesh = ours()
        for name, size in FLATTENED.items():
            assert framework.axis_size(mesh, name) == size
            flat = vars(mesh)[framework.KEPT][name]
            assert native.ranks_of(flat) == mc.get_ranks(mesh, name)
            assert rank in flat.mesh


def test_a_name_that_the_framework_wrote_is_left_to_it():
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "cp"))
        theirs = mc.flatten(mesh, "dp_cp")
        vars(mesh).setdefault(framework.KEPT, {})["dp_cp"] = theirs
        mesh_utils._register_flattened_axes(mesh, {"dp_cp": ("dp", "cp")})  # noqa: SLF001
        assert vars(mesh)[framework.KEPT]["dp_cp"] is theirs


def test_only_the_drop_in_writes_there():
    with fake_world(8):
        sizes = mc.ParallelismSizes(dp_replicate_size=2, cp_size=2)
        mesh, _ = mc.create_fsdp2_device_mesh(sizes, world_size=8)
        assert not vars(mesh).get(framework.KEPT)
        other = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "cp"))
        mesh_utils._register_flattened_axes(other, {"dp_cp": ("dp", "cp")}, publish=False)  # noqa: SLF001
        assert not vars(other).get(framework.KEPT)


@pytest.mark.parametrize("rank", [4, 7])
def test_what_the_framework_flattened_over_explicit_ranks_is_taken_up(rank):
    with fake_world(8, rank):
        mesh = over_ranks()
        kept = vars(mesh)[framework.KEPT]
        before = native.groups()
        for name in FLATTENED:
            flat = mesh_utils.get_flat_mesh(mesh, name)
            assert flat.mesh.tolist() == kept[name].mesh.tolist()
            assert mc.get_root_mesh(flat) is mesh
            assert mc.get_root_mesh(kept[name]) is mesh
            assert mesh_utils.get_flat_mesh(mesh, name) is flat
            assert native.ranks_of(flat) == flat.mesh.tolist()
            assert (
                framework.name_of(mc.get_group(flat, name))
                == vars(kept[name])["_dim_group_names"][0]
            )
        hsdp = mesh_utils.get_submesh(mesh, HSDP)
        assert hsdp.mesh.tolist() == [[4, 5], [6, 7]]
        assert mesh_utils.get_fsdp_dp_mesh(mesh).mesh.tolist() == [[4, 5], [6, 7]]
        shard = mesh_utils.get_flat_mesh(mesh, "dp_shard")
        assert mesh_utils.get_flat_mesh(shard, "dp_cp") is mesh_utils.get_flat_mesh(mesh, "dp_cp")
        assert native.groups() == before


def test_a_rank_outside_such_a_mesh_gets_the_first_group_and_no_place_in_it():
    with fake_world(8, 1):
        mesh = over_ranks()
        flat = mesh_utils.get_flat_mesh(mesh, "dp_shard_cp")
        assert flat.mesh.tolist() == [4, 5]
        assert flat.get_coordinate() is None
        with pytest.raises(mc.NotInMeshError):
            mc.get_group(flat, "dp_shard_cp")


def test_equal_meshes_of_the_framework_have_flattened_dims_of_their_own():
    with fake_world(8, 5):
        first, second = over_ranks(), over_ranks()
        for _ in range(2):
            for mesh in (first, second):
                flat = mesh_utils.get_flat_mesh(mesh, "dp_cp")
                kept = vars(mesh)[framework.KEPT]["dp_cp"]
                assert mc.get_root_mesh(flat) is mesh
                assert (
                    framework.name_of(mc.get_group(flat, "dp_cp"))
                    == vars(kept)["_dim_group_names"][0]
                )


def test_only_the_drop_in_takes_it_up():
    with fake_world(8, 5), pytest.raises(mc.MeshDimError, match="'dp_cp'"):
        mc.get_flat_mesh(over_ranks(), "dp_cp")


def test_its_group_is_no_other_dims_group():
    with fake_world(8, 5):
        mesh = framework.over_ranks(SHAPE, range(8))
        kept = mesh_utils.get_flat_mesh(mesh, "dp_shard_cp")
        own = mc.flatten(mc.get_submesh(mesh, ("dp_shard", "cp")), "own")
        assert mc.get_group(own, "own") is not mc.get_group(kept, "dp_shard_cp")


def test_what_is_no_part_of_the_mesh_is_not_taken_up():
    with fake_world(8, 5):
        mesh = over_ranks()
        kept = vars(mesh)[framework.KEPT]
        kept["ep"] = mc.init_device_mesh("cpu", (8,), mesh_dim_names=("ep",))
        kept["five"] = over_ranks()
        for name in ("ep", "five"):
            with pytest.raises(mc.MeshDimError, match=name):
                mesh_utils.get_flat_mesh(mesh, name)


def test_what_torch_flattened_for_the_framework_is_torchs_own_mesh():
    with fake_world(8, 5):
        native.forget()
        try:
            mesh = framework.over_the_world(SHAPE)
        except native.Absent:
            return  # 2.2 to 2.4 flatten nothing
        for name, kept in vars(mesh)[framework.KEPT].items():
            assert mesh_utils.get_flat_mesh(mesh, name) is kept
        assert mesh_utils.get_submesh(mesh, HSDP).mesh.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


UNRESOLVABLE = {
    "unknown": "tpp",
    "unknown beside a known one": ("tpp", "tp"),
    "overlapping": ("dp", "dp_shard"),
    "repeated": ("tp", "tp"),
    "of no kind": (3,),
    "none": (),
}


@pytest.mark.parametrize("names", UNRESOLVABLE.values(), ids=UNRESOLVABLE)
def test_names_without_a_mesh_are_a_key_error_and_ours(names):
    with fake_world(8), pytest.raises(KeyError) as caught:
        mesh_utils.get_submesh(ours(), names)
    assert isinstance(caught.value, mc.MeshCompatError)


def test_one_name_without_a_mesh_is_a_key_error_and_ours():
    with fake_world(8), pytest.raises(KeyError) as caught:
        mesh_utils.get_flat_mesh(ours(), ("dp", "cp"))  # type: ignore[arg-type]
    assert isinstance(caught.value, mc.MeshCompatError)


def test_what_is_no_mesh_and_no_double_is_refused():
    with pytest.raises(mc.MeshLayoutError, match="expected a torch"):
        mesh_utils.get_submesh({"tp": 2}, ("tp", "dp"))  # type: ignore[arg-type]


def double(*names, sizes=(), **flattened):
    """Return a mesh as tests of such a framework make one."""
    mesh = Mock(spec=["mesh_dim_names", "__getitem__", framework.KEPT])
    mesh.mesh_dim_names = names
    parts = {}

    def pick(key):
        return parts.setdefault(key, Mock(key=key, size=Mock(return_value=dict(sizes).get(key, 1))))

    mesh.__getitem__ = Mock(side_effect=pick)
    setattr(mesh, framework.KEPT, flattened)
    return mesh


def key_of(part):
    return part.key


class TestADouble:
    def test_is_asked_by_its_own_brackets(self):
        mesh = double("dp", "tp")
        assert key_of(mesh_utils.get_flat_mesh(mesh, "tp")) == "tp"
        assert key_of(mesh_utils.get_submesh(mesh, "tp")) == "tp"
        assert key_of(mesh_utils.get_submesh(mesh, ("tp",))) == "tp"
        assert key_of(mesh_utils.get_submesh(mesh, ["dp", "tp"])) == ("dp", "tp")

    def test_is_asked_for_its_flattened_meshes(self):
        flat = Mock()
        assert mesh_utils.get_flat_mesh(double("dp", "cp", dp_cp=flat), "dp_cp") is flat

    def test_may_have_a_root_of_its_own(self):
        flat, part = Mock(), Mock(mesh_dim_names=("tp",))
        part._get_root_mesh.return_value = double("dp", "tp", dp=flat)  # noqa: SLF001  (a double's)
        assert mesh_utils.get_flat_mesh(part, "dp") is flat

    def test_that_has_no_such_dim_says_what_it_has(self):
        for asked in ("ep", ("tp", "ep")):
            with pytest.raises(KeyError, match=r"'ep'.*\('dp', 'tp'\).*'dp_tp'") as caught:
                mesh_utils.get_submesh(double("dp", "tp", dp_tp=Mock()), asked)
            assert isinstance(caught.value, mc.MeshDimError)

    def test_has_native_and_flattened_dims_in_a_flattened_mesh_over_both(self, monkeypatch):
        monkeypatch.setattr(dist, "get_process_group_ranks", lambda group: group)

        def part(size, *ranks, **split):
            mesh = Mock(size=Mock(return_value=size), get_group=Mock(return_value=ranks))
            mesh._unflatten.return_value = split  # noqa: SLF001  (a double's)
            return mesh

        wrong = part(4, dp_replicate=part(2, 0, 4), dp_shard_cp=part(2, 0, 1))
        right = part(4, dp_replicate=part(2, 0, 2), dp_shard_cp=part(2, 0, 1))
        flattened = {"dp_shard_cp": part(2, 0, 1), "other": wrong, "dp_cp": right}
        mesh = double("dp_replicate", "dp_shard", "cp", **flattened)
        mesh.__getitem__ = Mock(return_value=part(2, 0, 2))
        assert mesh_utils.get_submesh(mesh, HSDP) is right._unflatten.return_value  # noqa: SLF001
        del vars(mesh)[framework.KEPT]["dp_cp"]
        with pytest.raises(mc.MeshDimError, match="no part of a flattened mesh"):
            mesh_utils.get_submesh(mesh, HSDP)

    @pytest.mark.parametrize(
        ("sizes", "key"),
        [
            ({}, "dp_shard"),
            ({"dp_replicate": 2}, ("dp_replicate", "dp_shard")),
            ({"cp": 2}, "dp_shard_cp"),
        ],
    )
    def test_is_asked_for_what_fsdp2_takes(self, sizes, key):
        names = ("dp_replicate", "dp_shard", "cp", "tp")
        mesh = double(*names, sizes=sizes, dp_shard_cp=Mock(key="dp_shard_cp"))
        assert key_of(mesh_utils.get_fsdp_dp_mesh(mesh)) == key

    def test_without_the_native_dims_is_asked_by_the_names_given(self):
        mesh = double("rep", "shard_cp", "tp")
        found = mesh_utils.get_fsdp_dp_mesh(mesh, "rep", "shard_cp")
        assert key_of(found) == ("rep", "shard_cp")
