"""A mesh is written as plain data, the same on every release, and read back onto live groups."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed import device_mesh

import meshcompat as mc
from meshcompat.testing import fake_world, recorded_groups
from tests.support import native
from tests.support.exchange import SAFE
from tests.support.small_world import KINDS, RANK, flat_of, ours


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
}
# pickle.dumps of that mesh on torch 2.2.2 before the rank was written: files hold these bytes, so they
# have to stay readable.
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
    b"u\x85q\x1aRq\x1b.", b"X\x04\x00\x00\x00rankq\x1aK\x05u\x85q\x1bRq\x1c."
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
