"""Mesh dims joined and split: the ranks of reshaping, and groups only where ranks are new."""

from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist
from torch.distributed.constants import default_pg_timeout

import meshcompat as mc
from meshcompat import _eras
from meshcompat.testing import each_rank, fake_world, on_every_rank, recorded_groups
from tests.support import native
from tests.support.oracle import Grid, seen

FSDP_NAMES = ("pp", "dp_replicate", "dp_shard", "cp", "tp")
FSDP_FLATTENED = {
    "dp": ("dp_replicate", "dp_shard"),
    "dp_shard_cp": ("dp_shard", "cp"),
    "dp_cp": ("dp_replicate", "dp_shard", "cp"),
}
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def small_root(**options):
    return mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"), **options)


def fsdp_mesh(shape, **options):
    mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=FSDP_NAMES, **options)
    for name, dims in FSDP_FLATTENED.items():
        mc.flatten(mc.get_submesh(mesh, dims), name)
    return mesh


NAMES = ("pp", "dp", "tp")


def ranks_of(records):
    return [list(record.ranks) for record in records]


@pytest.fixture
def mesh(world):  # noqa: ARG001  (the mesh lives in it)
    return small_root()


class TestFlatten:
    def test_of_named_dims_is_that_of_their_submesh(self):
        for _ in each_rank(8):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
            flat = mc.flatten(mesh, ("pp", "tp"))
            assert flat is mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "pp_tp")
            assert flat is mc.flatten(mesh, ["pp", "tp"], "pp_tp")
            assert flat is mc.flatten(mesh, mesh_dims=("pp", "tp"), mesh_dim_name="pp_tp")
            assert mc.flatten(mesh, "all") is mc.flatten(mesh, NAMES, "all")
            assert mc.flatten(mesh, mesh_dim_name="all") is mc.get_flat_mesh(mesh, "all")
            assert (
                mc.flatten(mesh, "tp", "tp")
                is mc.flatten(mesh, ("tp",))
                is mc.get_flat_mesh(mesh, "tp")
            )

    def test_of_named_dims_is_around_the_ranks_of_a_mesh_elsewhere(self):
        with fake_world(8, rank=5):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
            stage = mc.get_all_submeshes(mesh, "pp")[0]
            assert mc.flatten(stage, ("dp", "tp"), "dp_tp").mesh.tolist() == [0, 1, 2, 3]

    def test_joins_every_choice_of_dims_in_the_order_of_the_root(self):
        choices = ["ab", "ac", "ad", "bc", "bd", "cd", "abc", "abd", "acd", "bcd", "abcd"]
        joined: dict[str, Any] = {f"flat_{choice}": choice for choice in choices}
        grid = Grid((2, 2, 2, 2), "abcd", **joined)
        for _ in each_rank(16):
            mesh = mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=tuple("abcd"))
            for choice in choices:
                flat = mc.flatten(mc.get_submesh(mesh, tuple(choice)), f"flat_{choice}")
                assert seen(flat) == grid.facts(f"flat_{choice}")
                assert mc.get_root_mesh(flat) is mesh
                assert mc.get_flat_mesh(mesh, f"flat_{choice}") is flat

    def test_joins_flattened_and_native_dims(self):
        grid = Grid(
            (2, 2, 2, 2),
            ("pp", "rep", "shard", "cp"),
            shard_cp=("shard", "cp"),
            pp_shard_cp=("pp", "shard", "cp"),
            rep_shard_cp=("rep", "shard", "cp"),
        )
        for _ in each_rank(16):
            mesh = mc.init_device_mesh(
                "cpu", (2, 2, 2, 2), mesh_dim_names=("pp", "rep", "shard", "cp")
            )
            mc.flatten(mc.get_submesh(mesh, ("shard", "cp")))
            for names in (("pp", "shard_cp"), ("rep", "shard_cp")):
                flat = mc.flatten(mc.get_submesh(mesh, names))
                assert seen(flat) == grid.facts("_".join(names))
                again = mc.flatten(flat, f"again_{names[0]}")
                assert seen(again) == grid.facts("_".join(names), called=again.mesh_dim_names)

    def test_takes_sizes_of_one_in_any_order(self):
        names = ("pp", "one", "dp", "uno")
        grid = Grid((2, 1, 4, 1), names, one_dp=("one", "dp"), ones=("uno", "one"))
        for _ in each_rank(8):
            mesh = mc.init_device_mesh("cpu", (2, 1, 4, 1), mesh_dim_names=names)
            assert seen(mc.flatten(mc.get_submesh(mesh, ("one", "dp")))) == grid.facts("one_dp")
            ones = mc.flatten(mc.get_submesh(mesh, ("uno", "one")), "ones")
            assert seen(ones) == grid.facts("ones")
            assert ones.get_group() is mesh.get_group("one")

    def test_joins_names_by_default(self, mesh):
        flat = mc.flatten(mc.get_submesh(mesh, ("pp", "tp")))
        assert flat.mesh_dim_names == ("pp_tp",)
        assert mc.get_flat_mesh(mesh, "pp_tp") is flat

    def test_again_gives_the_same_object_and_no_group(self, mesh):
        part = mc.get_submesh(mesh, ("pp", "tp"))
        flat = mc.flatten(part, "x")
        with recorded_groups() as groups:
            assert mc.flatten(part, "x") is flat
            assert mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "x", timeout=None) is flat
        assert groups == []

    def test_of_one_dim_to_its_own_name_is_that_mesh(self, mesh):
        part = mc.get_submesh(mesh, "tp")
        assert mc.flatten(part, "tp") is part
        assert mc.flatten(part) is part
        flat = mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "pp_tp")
        assert mc.flatten(flat) is flat

    def test_of_a_mesh_without_names_needs_one(self, world):  # noqa: ARG002
        mesh = mc.init_device_mesh("cpu", (2, 4))
        with pytest.raises(mc.MeshLayoutError, match="has no default name"):
            mc.flatten(mesh)
        assert mc.flatten(mesh, "all").mesh.tolist() == list(range(8))

    def test_shares_a_group_with_the_same_partition(self, mesh):
        with recorded_groups() as groups:
            again = mc.flatten(mc.get_submesh(mesh, "tp"), "another_tp")
            both = mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "x")
            other = mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "y")
        assert again.get_group() is mesh.get_group("tp")
        assert both.get_group() is other.get_group()
        assert ranks_of(groups) == [[0, 1, 4, 5], [2, 3, 6, 7]]

    def test_without_sharing_makes_a_group_of_its_own(self, mesh):
        with recorded_groups() as groups:
            own = mc.flatten(mc.get_submesh(mesh, "tp"), "own", share_groups=False)
            later = mc.flatten(mc.get_submesh(mesh, "tp"), "later")
        assert ranks_of(groups) == [[0, 1], [2, 3], [4, 5], [6, 7]]
        assert own.get_group() is not mesh.get_group("tp")
        assert later.get_group() is mesh.get_group("tp")

    @pytest.mark.parametrize("share_groups", [True, False], ids=["shared", "own"])
    def test_over_the_world_has_the_default_group(self, mesh, share_groups):
        with recorded_groups() as groups:
            flat = mc.flatten(mesh, "all", share_groups=share_groups)
        assert flat.get_group() is dist.group.WORLD
        assert groups == []

    @pytest.mark.parametrize(
        ("dims", "name", "words"),
        [
            (("pp", "tp"), "dp", "'dp' is the name of a mesh dim already"),
            (("dp", "tp"), "dp", "'dp' is the name of a mesh dim already"),
            (("dp", "tp"), "taken", "taken by a flattened mesh of other ranks, of size 4"),
            (("tp", "pp"), "x", r"do not ascend.*select the dims in the order \('pp', 'tp'\)"),
        ],
        ids=["another dim", "own dim", "other ranks", "order"],
    )
    def test_refuses_what_would_be_ambiguous(self, mesh, dims, name, words):
        mc.flatten(mc.get_submesh(mesh, ("pp", "dp")), "taken")
        part = mc.get_submesh(mesh, dims)
        with recorded_groups() as groups, pytest.raises(mc.MeshLayoutError, match=words):
            mc.flatten(part, name)
        assert groups == []
        assert mc.get_axis_names(mesh) == ("pp", "dp", "tp", "taken")

    def test_says_what_to_join_where_no_order_of_the_dims_will_do(self, mesh):
        mc.flatten(mesh, ("pp", "tp"), "ends")
        with pytest.raises(mc.MeshLayoutError, match=r"in its order \('pp', 'dp', 'tp'\)"):
            mc.flatten(mesh, ("ends", "dp"), "x")

    def test_names_the_dims_of_the_root_where_no_order_ascends(self, mesh):
        mc.flatten(mesh, ("pp", "tp"), "outer")
        advice = r"in its order \('pp', 'dp', 'tp'\)"
        with pytest.raises(mc.MeshLayoutError, match=advice):
            mc.flatten(mesh, ("outer", "dp"))
        mc.get_group(mesh, ("outer", "dp"))  # a flattened mesh now, whose ranks ascend
        with pytest.raises(mc.MeshLayoutError, match=advice):
            mc.flatten(mesh, ("outer", "dp"))

    def test_names_get_group_where_no_order_ascends_and_the_root_has_other_dims(self):
        with fake_world(16):
            mesh = mc.init_device_mesh("cpu", (16,), mesh_dim_names=("all",))
            part = mc.unflatten(mesh, 0, (2, 2, 2, 2), ("a", "b", "c", "d"))
            mc.flatten(mc.get_submesh(part, ("a", "c")), "ac")
            both = mc.get_submesh(part, ("ac", "b"))
            with pytest.raises(mc.MeshLayoutError, match=r"no order.*ask meshcompat\.get_group"):
                mc.flatten(both)
            assert dist.get_process_group_ranks(mc.get_group(both)) == list(range(0, 16, 2))

    @pytest.mark.parametrize("name", ["tp", "x"], ids=["native", "flattened"])
    def test_refuses_other_options_than_the_mesh_was_made_with(self, mesh, name):
        mc.flatten(mc.get_submesh(mesh, ("pp", "dp")), "x")
        dims = name if name == "tp" else ("pp", "dp")
        with pytest.raises(mc.MeshLayoutError, match="another backend, options or timeout"):
            mc.flatten(mc.get_submesh(mesh, dims), name, timeout=MINUTE)

    def test_writes_to_torchs_registry_only_where_its_consumers_need_it(self, mesh):
        era: Any = _eras.primitives()
        mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "run")
        mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "gap")
        is_found_there_only = _eras.era().links == "tables" and era.publishes_flattened()
        assert ("run" in native.flattened_names(mesh)) == is_found_there_only
        assert "gap" not in native.flattened_names(mesh)


class TestUnflatten:
    SPLITS = Grid(
        (2, 2, 2, 2), "abcd", abcd="abcd", bcd="bcd", acd="acd", cd="cd", bc="bc", bd="bd", ac="ac"
    )

    def test_splits_native_flattened_and_root_dims(self):
        grid = self.SPLITS
        for _ in each_rank(16):
            mesh = mc.init_device_mesh("cpu", (2, 8), mesh_dim_names=("a", "bcd"))
            every = mc.flatten(mesh, "abcd")
            splits: list[tuple[Any, ...]] = [
                (mesh, "bcd", (2, 4), ("b", "cd"), ("a", "b", "cd")),
                (mesh, 1, (4, 2), ("bc", "d"), ("a", "bc", "d")),
                (mesh, -1, (2, 2, 2), ("b", "c", "d"), ("a", "b", "c", "d")),
                (mc.get_flat_mesh(mesh, "bcd"), 0, (2, 4), ("b", "cd"), ("b", "cd")),
                (every, "abcd", (2, 2, 4), ("a", "b", "cd"), ("a", "b", "cd")),
            ]
            for whole, dim, sizes, names, wanted in splits:
                view = mc.unflatten(whole, dim, sizes, names)
                assert seen(view) == grid.facts(wanted)
                assert mc.get_root_mesh(view) is mesh

    def test_splits_dims_with_a_gap_and_dims_that_it_made(self):
        grid = self.SPLITS
        for _ in each_rank(16):
            mesh = mc.init_device_mesh("cpu", (2, 2, 4), mesh_dim_names=("a", "b", "cd"))
            flat = mc.flatten(mc.get_submesh(mesh, ("a", "cd")), "acd")
            view = mc.unflatten(flat, "acd", (4, 2), ("ac", "d"))
            assert seen(view) == grid.facts(("ac", "d"))
            again = mc.unflatten(view, "ac", (2, 2), ("a", "c"))
            assert seen(again) == grid.facts(("a", "c", "d"))
            assert seen(mc.get_submesh(again, ("d", "a"))) == grid.facts(("d", "a"))
            assert seen(mc.get_submesh(again, ("d", "b"))) == grid.facts(("d", "b"))
            assert mc.get_root_mesh(mc.get_submesh(again, ("c", "d"))) is mesh
            assert seen(mc.flatten(mc.get_submesh(again, ("c", "d")), "x")).ranks == (
                grid.array("cd").tolist()
            )

    def test_gives_expert_meshes_per_pipeline_stage(self):
        grid = Grid((2, 4, 2), ("pp", "ep_shard", "ep"))
        for _ in each_rank(16):
            mesh = fsdp_mesh((2, 1, 2, 2, 2))
            stage = mc.get_submesh(mesh, ("dp_replicate", "dp_shard", "cp", "tp"))
            flat = mc.flatten(stage, "non_pp")
            assert seen(mc.unflatten(flat, 0, (4, 2), ("ep_shard", "ep"))) == grid.facts(
                ("ep_shard", "ep")
            )

    def test_keeps_the_groups_of_the_other_dims(self, mesh):
        view = mc.unflatten(mesh, "dp", (1, 2), ("one", "two"))
        assert view.get_group("pp") is mesh.get_group("pp")
        assert view.get_group("tp") is mesh.get_group("tp")

    def test_makes_own_groups_but_for_sizes_of_one_and_the_world(self, world):  # noqa: ARG002
        mesh = mc.init_device_mesh("cpu", (8, 1), mesh_dim_names=("dp", "tp"))
        with recorded_groups() as groups:
            split = mc.unflatten(mesh, "dp", (2, 1, 4), ("a", "one", "b"))
            whole = mc.unflatten(mesh, "dp", (8, 1), ("c", "uno"))
        assert ranks_of(groups) == [[0, 4], [1, 5], [2, 6], [3, 7], [0, 1, 2, 3], [4, 5, 6, 7]]
        assert split.get_group("one") is whole.get_group("uno") is mesh.get_group("tp")
        assert whole.get_group("c") is dist.group.WORLD

    def test_makes_own_groups_though_others_would_serve(self, mesh):
        flat = mc.flatten(mesh, "all")
        with recorded_groups() as groups:
            first = mc.unflatten(flat, 0, (4, 2), ("x", "tp"))
            second = mc.unflatten(flat, 0, (4, 2), ("y", "tp"))
        assert len(groups) == 2 * (2 + 4)
        assert len({view.get_group("tp") for view in (first, second, mesh)}) == 3

    def test_takes_groups_that_serve_when_told_to(self, mesh):
        flat = mc.flatten(mesh, "all")
        with recorded_groups() as groups:
            view = mc.unflatten(flat, 0, (4, 2), ("x", "y"), share_groups=True)
        assert view.get_group("y") is mesh.get_group("tp")
        assert ranks_of(groups) == [[0, 2, 4, 6], [1, 3, 5, 7]]

    def test_again_gives_the_same_object_and_no_group(self, mesh):
        view = mc.unflatten(mesh, "dp", (1, 2), ("one", "two"))
        with recorded_groups() as groups:
            assert mc.unflatten(mesh, 1, [1, 2], ["one", "two"]) is view
            assert mc.unflatten(mesh, -2, (1, 2), ("one", "two"), backend_override={}) is view
        assert groups == []

    def test_may_use_names_of_the_root_for_other_dims(self, mesh):
        flat = mc.flatten(mc.get_submesh(mesh, ("dp", "tp")), "dp_tp")
        view = mc.unflatten(flat, 0, (2, 2), ("tp", "dp"))
        grid = Grid((2, 2, 2), ("pp", "tp", "dp"))
        assert seen(view) == grid.facts(("tp", "dp"))
        assert seen(mc.get_flat_mesh(view, "dp")) == grid.facts("dp")
        assert mc.get_flat_mesh(mesh, "dp").mesh.tolist() == [5, 7]

    @pytest.mark.parametrize(
        ("split", "error", "words"),
        [
            (("cp", (1, 2), ("a", "b")), mc.MeshDimError, "unknown mesh_dim 'cp'"),
            ((3, (1, 2), ("a", "b")), mc.MeshDimError, "an index below 3"),
            (("dp", (2, 2), ("a", "b")), mc.MeshLayoutError, "multiply to 2 \\* 2 = 4"),
            (("dp", (1, 2), ("a", "pp")), mc.MeshLayoutError, "not one name each"),
        ],
        ids=["unknown name", "unknown index", "sizes", "taken name"],
    )
    def test_refuses_what_is_no_split(self, mesh, split, error, words):
        with recorded_groups() as groups, pytest.raises(error, match=words):
            mc.unflatten(mesh, *split)
        assert groups == []

    def test_refuses_sizes_that_cut_through_a_gap(self):
        for _ in each_rank(12):
            mesh = mc.init_device_mesh("cpu", (2, 2, 3), mesh_dim_names=("a", "b", "c"))
            flat = mc.flatten(mc.get_submesh(mesh, ("a", "c")), "ac")
            with pytest.raises(mc.MeshLayoutError, match=r"parts of sizes \(2, 3\)"):
                mc.unflatten(flat, 0, (3, 2), ("x", "y"))


class TestGroupsThatAreMade:
    def test_the_fsdp_mesh_holds_four_groups_per_rank_in_36_calls(self):
        for rank in each_rank(16):
            with recorded_groups() as records:
                mesh = fsdp_mesh((2, 1, 4, 1, 2))
            assert len(records) == 36
            assert sum(rank in record.ranks for record in records) == 4
            natives = [mesh.get_group(name) for name in FSDP_NAMES]
            flats = [mc.get_flat_mesh(mesh, name).get_group() for name in FSDP_FLATTENED]
            assert len({*natives, *flats}) == 4

    @pytest.mark.parametrize("ranks", [None, [2, 3, 4, 5, 7, 9, 12, 14]], ids=["world", "some"])
    def test_are_made_in_the_same_order_on_all_ranks(self, ranks):
        shape = (2, 2, 4) if ranks is None else (2, 2, 2)

        def records():
            with recorded_groups() as groups:
                mesh = mc.init_device_mesh(
                    "cpu", shape, mesh_dim_names=("pp", "dp", "tp"), ranks=ranks
                )
                flat = mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "pp_tp")
                view = mc.unflatten(flat, 0, (shape[2], 2), ("x", "y"))
                mc.flatten(mc.get_submesh(view, ("x", "y")), "xy", share_groups=False)
                mc.flatten(mesh, "all", timeout=MINUTE)
                mc.unflatten(mesh, "dp", (1, 2), ("one", "two"), share_groups=True)
            return tuple(groups)

        everywhere = on_every_rank(16, records)
        assert len(set(everywhere)) == 1
        assert len(everywhere[0]) > 8


class TestTimeout:
    @pytest.mark.parametrize("timeout", [MINUTE, 60, 60.0], ids=["timedelta", "int", "float"])
    def test_of_the_root_reaches_every_group_that_is_made_later(self, world, timeout):  # noqa: ARG002
        with recorded_groups() as groups:
            mesh = mc.init_device_mesh(
                "cpu", (2, 4, 1), mesh_dim_names=("pp", "dp", "tp"), timeout=timeout
            )
            flat = mc.flatten(mesh, "all")
            mc.unflatten(flat, 0, (4, 2), ("a", "b"))
            mc.flatten(mc.get_submesh(mesh, "dp"), "own", share_groups=False)
        assert len(groups) == (4 + 2 + 8) + 1 + (2 + 4) + 2
        assert {record.timeout for record in groups} == {MINUTE}

    def test_of_a_call_is_that_of_its_groups(self, world):  # noqa: ARG002
        mesh = small_root(timeout=HOUR)
        with recorded_groups() as groups:
            mc.flatten(mc.get_submesh(mesh, ("pp", "tp")), "x", timeout=MINUTE)
            mc.unflatten(mesh, "dp", (2, 1), ("a", "b"), timeout=60)
            mc.flatten(mesh, "all", timeout=MINUTE)
        assert len(groups) == 2 + (4 + 8) + 1
        assert {record.timeout for record in groups} == {MINUTE}

    def test_is_part_of_what_groups_are_shared_by(self, mesh):
        with recorded_groups() as groups:
            mc.flatten(mc.get_submesh(mesh, "tp"), "x", timeout=MINUTE)
            mc.flatten(mc.get_submesh(mesh, "tp"), "y", timeout=MINUTE)
            mc.flatten(mc.get_submesh(mesh, "tp"), "z", timeout=HOUR)
            mc.flatten(mc.get_submesh(mesh, "tp"), "default")
        assert [record.timeout for record in groups] == [MINUTE] * 4 + [HOUR] * 4

    def test_is_that_of_the_default_group_where_nobody_gave_one(self, world):  # noqa: ARG002
        with recorded_groups() as groups:
            mc.flatten(mc.get_submesh(small_root(), ("pp", "tp")), "x")
        assert {record.timeout for record in groups} == {default_pg_timeout}


class TestBackendOverride:
    """The fake backend is the only one in a fake world; real ones are in the collective tests."""

    @pytest.mark.parametrize(
        "override",
        ["fake", ("fake", None), {0: "fake"}, {"x": "FAKE"}, {"x": ("fake", None)}, {}],
        ids=repr,
    )
    def test_of_the_default_backend_shares_as_without(self, mesh, override):
        with recorded_groups() as groups:
            flat = mc.flatten(mc.get_submesh(mesh, "tp"), "x", backend_override=override)
        assert flat.get_group() is mesh.get_group("tp")
        assert groups == []

    @pytest.mark.parametrize("form", ["options", "pair", "dict"])
    def test_of_options_makes_groups_with_them(self, mesh, form, monkeypatch):
        options = Options()
        made = []
        monkeypatch.setattr(dist, "new_group", _without_options(dist.new_group, made))
        override = {"options": options, "pair": ("fake", options), "dict": {"x": options}}[form]
        flat = mc.flatten(mc.get_submesh(mesh, "tp"), "x", backend_override=override)
        assert flat.get_group() is not mesh.get_group("tp")
        assert made == [(options, HOUR)] * 4

    def test_of_unflatten_goes_by_name_or_index_of_the_new_dims(self, mesh, monkeypatch):
        first, second = Options(), Options()
        made = []
        monkeypatch.setattr(dist, "new_group", _without_options(dist.new_group, made))
        mc.unflatten(
            mc.flatten(mesh, "all"),
            0,
            (2, 2, 2),
            ("a", "b", "c"),
            backend_override={"a": first, 2: ("fake", second)},
            timeout=MINUTE,
        )
        assert [options for options, _ in made] == [first] * 4 + [None] * 4 + [second] * 4
        assert {timeout for _, timeout in made} == {MINUTE}


class Options:
    """Stands for a backend's options object, which keeps a timeout of its own."""

    backend = "fake"
    _timeout = HOUR


def _without_options(new_group, made):
    """Return a `new_group` that notes options, which the fake backend does not take."""

    def noting(ranks, *, timeout=None, pg_options=None, **kwargs):
        made.append((pg_options, timeout))
        return new_group(ranks, timeout=timeout, **kwargs)

    return noting


def test_groups_are_made_alike_where_meshes_are_one_object_on_some_ranks_only():
    orders = []
    for _ in each_rank(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        first = mc.get_all_submeshes(mesh, "tp")[0]
        with recorded_groups() as groups:
            for part in (first, mc.get_flat_mesh(mesh, "tp")):
                split = mc.unflatten(part, "tp", (2, 2), ("a", "b"))
                assert split.mesh.flatten().tolist() == part.mesh.tolist()
        orders.append([group.ranks for group in groups])

    assert orders == [orders[0]] * 8
