"""A mesh is written as plain data, the same on every release, and read back onto live groups."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import pickle
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed import device_mesh

import meshcompat as mc
from meshcompat.testing import fake_world, recorded_groups
from tests.support import native
from tests.support.exchange import SAFE
from tests.support.small_world import KINDS, NAMES, RANK, flat_of, ours

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed.device_mesh import DeviceMesh


def through_torch_save(mesh):
    file = io.BytesIO()
    torch.save({"mesh": mesh}, file)
    file.seek(0)
    return torch.load(file, **SAFE)["mesh"]


WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda mesh: pickle.loads(pickle.dumps(mesh)),  # noqa: S301  (our own bytes)
    "pickle, oldest protocol": lambda mesh: pickle.loads(pickle.dumps(mesh, 0)),  # noqa: S301
    "torch.save": through_torch_save,
    "json": lambda mesh: mc.mesh_from_dict(json.loads(json.dumps(mc.mesh_to_dict(mesh)))),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_mesh_read_in_its_own_world_is_that_mesh(kind, way):
    with fake_world(8, RANK):
        mesh = KINDS[kind](ours())
        before = native.groups()
        assert WAYS[way](mesh) is mesh
        assert native.groups() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_mesh_read_in_another_world_has_its_ranks_and_the_groups_there(kind):
    with fake_world(8, RANK):
        ours()
        mesh = KINDS[kind](ours())
        names, ranks = mesh.mesh_dim_names, mesh.mesh.tolist()
        stored = pickle.dumps(mesh)
    with fake_world(8, RANK):
        ours()
        again = KINDS[kind](ours())
        with recorded_groups() as groups:
            read = pickle.loads(stored)  # noqa: S301  (our own bytes)
        assert groups == []
        assert read is again
        assert (read.mesh_dim_names, read.mesh.tolist()) == (names, ranks)


GOLDEN = {
    "format": 1,
    "root": {
        "device_type": "cpu",
        "shape": [2, 2, 2],
        "names": ["pp", "dp", "tp"],
        "ranks": None,
    },
    "number": 0,
    "dims": [["pp", [[2, 4]]], ["flat", [[4, 1]]]],
    "start": 0,
    "rank": RANK,
    "groups": [None, None],
}
# pickle.dumps of that mesh on torch 2.2.2 before the rank and the groups were written: files hold these
# bytes, so they have to stay readable.
PICKLED = (
    b"\x80\x02cmeshcompat._travel\nfrom_plain\nq\x00}q\x01(X\x06\x00\x00\x00formatq\x02K\x01"
    b"X\x04\x00\x00\x00rootq\x03}q\x04(X\x0b\x00\x00\x00device_typeq\x05X\x03\x00\x00\x00cpu"
    b"q\x06X\x05\x00\x00\x00shapeq\x07]q\x08(K\x02K\x02K\x02eX\x05\x00\x00\x00namesq\t]q\n("
    b"X\x02\x00\x00\x00ppq\x0bX\x02\x00\x00\x00dpq\x0cX\x02\x00\x00\x00tpq\reX\x05\x00\x00"
    b"\x00ranksq\x0eNuX\x06\x00\x00\x00numberq\x0fK\x00X\x04\x00\x00\x00dimsq\x10]q\x11(]q"
    b"\x12(h\x0b]q\x13]q\x14(K\x02K\x04eae]q\x15(X\x04\x00\x00\x00flatq\x16]q\x17]q\x18(K"
    b"\x04K\x01eaeeX\x05\x00\x00\x00startq\x19K\x00u\x85q\x1aRq\x1b."
)
PICKLED_NOW = PICKLED.replace(
    b"u\x85q\x1aRq\x1b.",
    b"X\x04\x00\x00\x00rankq\x1aK\x05X\x06\x00\x00\x00groupsq\x1b]q\x1c(NNeu\x85q\x1dRq\x1e.",
)


def test_every_release_writes_and_reads_the_same():
    with fake_world(8, RANK):
        mesh = KINDS["beside a flattened dim"](ours())
        assert mc.mesh_to_dict(mesh) == GOLDEN
        assert pickle.dumps(mesh, 2) == PICKLED_NOW
        assert pickle.loads(PICKLED) is mesh  # noqa: S301  (our own bytes)


def test_nothing_of_torch_is_written():
    with fake_world(8, RANK):
        for kind in KINDS.values():
            assert b"torch" not in pickle.dumps(kind(ours()))


def test_of_a_torch_made_mesh_only_what_we_made_is_written_by_us():
    with fake_world(8, RANK):
        mesh = device_mesh.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        hash(mesh)  # torch keeps it on the mesh, and writes it
        before = pickle.dumps(mesh)
        tp = mc.get_submesh(mesh, "tp")
        assert copy.deepcopy(tp) is tp
        assert pickle.dumps(mesh) == before
        assert b"meshcompat" not in before
        copied = copy.deepcopy(mesh)
        assert copied is not mesh
        assert mc.get_root_mesh(copied) is copied


def test_on_a_rank_outside_the_ranks_stay_and_the_coordinate_is_none():
    with fake_world(8, 0):
        data = mc.mesh_to_dict(mc.get_submesh(ours(), ("dp", "tp")))
    with fake_world(8, RANK):
        root = ours()
        read = mc.mesh_from_dict(data)
        assert mc.get_root_mesh(read) is root
        assert read.mesh.tolist() == [[0, 1], [2, 3]]
        assert read.get_coordinate() is None
        assert not mc.is_member(read)
        assert mc.mesh_to_dict(read) == {**data, "rank": RANK}


def test_a_mesh_of_some_ranks_is_read_on_all():
    for rank in (2, 6):
        with fake_world(8, rank):
            mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"), ranks=[1, 2, 5, 7])
            for part in (mesh, mc.get_submesh(mesh, "b")):
                assert copy.deepcopy(part).mesh.tolist() == part.mesh.tolist()
            assert copy.deepcopy(mesh) is mesh


def test_equal_roots_are_told_apart():
    with fake_world(8, RANK):
        first, second = ours(), ours()
        assert copy.deepcopy(first) is first
        assert copy.deepcopy(second) is second
        assert copy.deepcopy(mc.get_submesh(second, "tp")) is mc.get_submesh(second, "tp")
        data = mc.mesh_to_dict(second)
    with fake_world(8, RANK):
        only = ours()
        assert mc.mesh_from_dict(data) is only
        other = ours()
        assert mc.mesh_from_dict(data) is other
        with pytest.raises(mc.MeshLayoutError, match="make the root first"):
            mc.mesh_from_dict({**data, "number": 2})


def factorised(mesh, names=("dp", "tp"), **options):
    return mc.unflatten(flat_of(mesh), 0, (2, 2), names, **options)


def over_all(mesh):
    return mc.unflatten(mc.flatten(mesh, "all"), 0, (2, 2, 2), NAMES)


FACTORISED: dict[str, Callable[[DeviceMesh], DeviceMesh]] = {
    "with the root's names": factorised,
    "with the root's names and sizes": over_all,
    "a dim with the root's name": lambda mesh: mc.get_submesh(factorised(mesh), "tp"),
    "beside a dim of the root": lambda mesh: mc.concatenate(
        [mc.get_flat_mesh(mesh, "pp"), factorised(mesh)]
    ),
    "with another timeout": lambda mesh: (
        factorised(mesh, ("a", "b")),
        factorised(mesh, ("a", "b"), timeout=5),
    )[1],
    "before another timeout": lambda mesh: (
        factorised(mesh, ("a", "b")),
        factorised(mesh, ("a", "b"), timeout=5),
    )[0],
    "of a dim of size 1": lambda mesh: mc.unflatten(
        mc.unflatten(mesh, "pp", (2, 1), ("a", "b")), "b", (1, 1), ("b", "c"), timeout=5
    ),
    "over the world": lambda mesh: mc.unflatten(mc.flatten(mesh, "all"), 0, (8,), ("every",)),
    "that shares groups": lambda mesh: factorised(mesh, ("a", "b"), share_groups=True),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", FACTORISED)
def test_a_second_factorisation_keeps_its_own_groups(kind, way):
    with fake_world(8, RANK):
        root = ours()
        mesh = FACTORISED[kind](root)
        assert WAYS[way](mesh) is mesh
        assert WAYS[way](root) is root


@pytest.mark.parametrize("kind", FACTORISED)
def test_another_rank_finds_the_factorisation_that_was_written(kind):
    with fake_world(8, 0):
        data = mc.mesh_to_dict(FACTORISED[kind](ours()))
    with fake_world(8, RANK):
        root = ours()
        # What this rank asks for alone, without a new group, does not count.
        factorised(root, share_groups=True)
        factorised(root, ("a", "b"), share_groups=True)
        mesh = FACTORISED[kind](root)
        read = mc.mesh_from_dict(data)
        assert mc.mesh_to_dict(read)["groups"] == data["groups"]
        if mc.is_member(read):
            assert read is mesh


def test_what_this_rank_did_not_factorise_is_not_the_roots_own():
    with fake_world(8, RANK):
        written = over_all(ours())
        stored, data = pickle.dumps(written), mc.mesh_to_dict(written)
    with fake_world(8, RANK):
        root = ours()
        with pytest.raises(mc.MeshLayoutError, match="flatten or unflatten"):
            mc.mesh_from_dict(data)
        read = pickle.loads(stored)  # noqa: S301  (our own bytes)
        assert mc.get_root_mesh(read) is not root
        with pytest.raises(mc.MeshLayoutError, match="detached"):
            mc.get_group(read, "dp")


def test_a_mesh_that_was_detached_between_keeps_its_groups():
    with fake_world(8, RANK):
        stored = pickle.dumps(over_all(ours()))
    stored = pickle.dumps(pickle.loads(stored))  # noqa: S301  (our own bytes)
    with fake_world(8, RANK):
        mesh = over_all(ours())
        assert pickle.loads(stored) is mesh  # noqa: S301  (our own bytes)


def as_before(mesh):
    """Return what was written before groups were told."""
    return {key: value for key, value in mc.mesh_to_dict(mesh).items() if key != "groups"}


def test_old_data_is_read_as_before_where_it_can_be_told():
    with fake_world(8, RANK):
        root = ours()
        first = factorised(root, ("a", "b"))
        assert mc.mesh_from_dict(as_before(first)) is first
        assert mc.mesh_from_dict(as_before(over_all(root))) is root
        second = factorised(root, ("a", "b"), timeout=5)
        with pytest.raises(mc.MeshLayoutError, match="cannot be told"):
            mc.mesh_from_dict(as_before(second))


def test_a_module_with_a_mesh_is_copied():
    with fake_world(8, RANK):
        model: Any = torch.nn.Linear(2, 2)
        model.mesh = mc.get_submesh(ours(), "tp")
        assert copy.deepcopy(model).mesh is model.mesh


def written(**changes):
    with fake_world(8, RANK):
        return {**mc.mesh_to_dict(KINDS["beside a flattened dim"](ours())), **changes}


BAD = {
    "nothing": (None, "is no mesh as this meshcompat writes one"),
    "another format": (written(format=2), "with format 1"),
    "another root": (written(root={"shape": [8]}), "make the root first"),
    "no dims": (written(dims=[]), "flatten or unflatten"),
    "dims of no kind": (written(dims=3), "flatten or unflatten"),
    "dim that is not there": (written(dims=[["ep", [[2, 1]]]]), "flatten or unflatten"),
    "the same dim twice": (written(dims=[["tp", [[2, 1]]]] * 2), "overlap"),
    "groups of no kind": (written(groups=3), "None or a list of a call"),
    "groups of no words": (written(groups=[None, [1]]), "None or a list of a call"),
    "groups that are not there": (
        written(groups=[None, ["unflatten", "flat", 0]]),
        "flatten or unflatten",
    ),
    "start of no kind": (written(start="0"), "overlap, or starts at no mesh"),
    "start beyond the root": (written(start=64), "overlap, or starts at no mesh"),
    "start in the middle": (written(start=3), "overlap, or starts at no mesh"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_mesh_is_refused(case):
    data, words = BAD[case]
    with fake_world(8, RANK):
        kept = flat_of(ours())
        before = native.groups()
        with pytest.raises(mc.MeshLayoutError, match=words):
            mc.mesh_from_dict(data)
        assert native.groups() == before
        assert mc.is_member(kept)


def test_a_mesh_is_not_read_without_a_world():
    data = written()
    with pytest.raises(mc.MeshLayoutError, match=r"torch\.distributed\.init_process_group"):
        mc.mesh_from_dict(data)


def test_a_mesh_whose_root_is_gone_can_still_be_written():
    with fake_world(8, RANK):
        mesh = KINDS["submesh"](ours())
        data = mc.mesh_to_dict(mesh)
        before = pickle.dumps(mesh)
    assert pickle.dumps(mesh) == before
    with fake_world(8, RANK), pytest.raises(mc.MeshLayoutError, match="make the root first"):
        mc.mesh_from_dict(data)


PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
LISTS = st.lists(PLAIN | st.lists(PLAIN | st.lists(PLAIN, max_size=3), max_size=3), max_size=3)
JSON = PLAIN | LISTS | st.dictionaries(st.text(max_size=4), PLAIN | LISTS, max_size=3)


@settings(deadline=None, derandomize=True)
@given(st.data())
def test_any_json_is_read_or_refused_in_our_words(data):
    with fake_world(8, RANK):
        flat = flat_of(ours())
        good = mc.mesh_to_dict(flat)
        field = data.draw(st.sampled_from(sorted(good)))
        with contextlib.suppress(mc.MeshLayoutError):
            mc.mesh_from_dict({**good, field: data.draw(JSON)})
        assert mc.mesh_from_dict(good) is flat
