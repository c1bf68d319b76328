"""A mesh is read where no root like its own is: in no world, another world, another process."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc
from meshcompat.testing import fake_world, recorded_groups
from tests.support.exchange import SAFE
from tests.support.small_world import KINDS, NAMES, RANK, flat_of, ours

ROOT = Path(__file__).parent.parent


def facts(mesh):
    """Return what a mesh says of itself without a group."""
    return (
        mesh.mesh.tolist(),
        mesh.mesh_dim_names,
        mesh.device_type,
        tuple(mesh.shape),
        mesh.size(),
        None if mesh.get_coordinate() is None else list(mesh.get_coordinate()),
        mc.layout_of(mesh),
    )


def written(kind, rank=RANK):
    """Return a mesh as a pickle and as plain data, and what it said of itself."""
    with fake_world(8, rank):
        mesh = KINDS[kind](ours())
        return pickle.dumps(mesh), mc.mesh_to_dict(mesh), facts(mesh)


def from_pickle(stored, _):
    return pickle.loads(stored)  # noqa: S301  (our own bytes)


def from_json(_, data):
    return mc.mesh_from_dict(json.loads(json.dumps(data)), detached=True)


@pytest.fixture(autouse=True)
def _torchruns_environment(monkeypatch):
    """Offer a world that reading must not begin."""
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MASTER_PORT", "1")
    yield
    assert not dist.is_initialized()


@pytest.mark.parametrize("read", [from_pickle, from_json])
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_world_a_mesh_is_what_it_was_but_for_its_groups(kind, read):
    stored, data, told = written(kind)
    mesh = read(stored, data)
    assert type(mesh) is DeviceMesh
    assert facts(mesh) == told
    assert not dist.is_initialized()


@pytest.mark.parametrize("kind", KINDS)
def test_in_another_world_a_mesh_is_that_of_the_rank_that_wrote_it(kind):
    stored, data, told = written(kind)
    with fake_world(4, 1), recorded_groups() as groups:
        mesh = from_pickle(stored, data)
        assert facts(mesh) == told
        assert groups == []


def test_look_ups_are_arithmetic():
    stored, data, _ = written("dims of several views")
    mesh = from_pickle(stored, data)
    root = mc.get_root_mesh(mesh)
    assert root.mesh.tolist() == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]
    assert list(root.get_coordinate()) == [1, 0, 1]
    assert mc.get_root_mesh(root) is root
    assert mc.get_axis_names(root) == NAMES
    assert mc.get_axis_size(mesh, "b") == mc.get_axis_size(mesh, "tp") == 2
    assert mc.get_ranks(mesh, ("pp", "tp")) == [0, 1, 4, 5]
    pp, tp = mc.get_flat_mesh(mesh, "pp"), mc.get_flat_mesh(mesh, "tp")
    assert (pp.mesh.tolist(), tp.mesh.tolist()) == ([1, 5], [4, 5])
    assert mc.get_submesh(root, ("tp", "pp")).mesh.tolist() == [[0, 4], [1, 5]]
    assert mc.get_submesh(root, ("tp", "pp")) is mc.get_submesh(mesh, ("tp", "pp"))
    assert mc.concatenate([pp, tp]).mesh.tolist() == [[0, 1], [4, 5]]
    others = mc.get_all_submeshes(root, "pp")
    assert [other.mesh.tolist() for other in others] == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert [mc.is_member(other) for other in others] == [False, True, False, False]
    with pytest.raises(mc.MeshDimError, match="'tpp'"):
        mc.get_submesh(mesh, "tpp")


NEEDS_GROUPS = {
    "get_group": lambda mesh: mc.get_group(mesh, "tp"),
    "get_group of several": lambda mesh: mc.get_group(mesh, ("pp", "tp")),
    "flatten": lambda mesh: mc.flatten(mesh, "all"),
    "unflatten": lambda mesh: mc.unflatten(mesh, "tp", (2, 1), ("a", "b")),
    "register_axis": lambda mesh: mc.register_axis(mesh, "all", None),
    "register_flattened_axes": lambda mesh: mc.register_flattened_axes(mesh, {"all": ("pp", "dp")}),
    "torch's get_group": lambda mesh: mesh.get_group(0),
    "torch's get_group of another rank's mesh": lambda mesh: mc.get_all_submeshes(mesh, "tp")[
        0
    ].get_group(),
}


@pytest.mark.parametrize("call", NEEDS_GROUPS.values(), ids=NEEDS_GROUPS)
def test_what_needs_a_group_says_that_there_is_none(call):
    stored, data, _ = written("root")
    mesh = from_pickle(stored, data)
    with pytest.raises(mc.MeshLayoutError, match="detached"):
        call(mesh)
    with fake_world(8, RANK), recorded_groups() as groups:
        with pytest.raises(mc.MeshLayoutError, match="detached"):
            call(mesh)
        assert groups == []


def test_meshes_of_one_root_stay_together():
    stored, data, _ = written("root")
    part, _, _ = written("submesh")
    root = from_pickle(stored, data)
    assert mc.get_root_mesh(from_pickle(part, None)) is root
    assert from_pickle(stored, data) is root
    assert copy.deepcopy(root) is root
    again = mc.get_root_mesh(from_pickle(written("root", rank=0)[0], None))
    assert not mc.same_root(root, again)
    assert list(again.get_coordinate()) == [0, 0, 0]


def test_a_mesh_of_a_rank_outside_has_no_coordinate():
    with fake_world(8, 0):
        mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("a", "b"), ranks=[1, 2, 5, 7])
        stored, told = pickle.dumps(mc.get_submesh(mesh, "b")), facts(mc.get_submesh(mesh, "b"))
    read = from_pickle(stored, None)
    assert facts(read) == told
    assert not mc.is_member(read)


def test_one_that_was_read_too_early_stays_detached_and_the_next_one_is_live():
    stored, data, _ = written("root")
    early = from_pickle(stored, data)
    with fake_world(8, RANK):
        assert from_pickle(stored, data) is early
        root = ours()
        assert from_pickle(stored, data) is root
        assert mc.get_root_mesh(early) is early
        assert mc.get_submesh(root, "tp").get_group() is mc.get_group(root, "tp")
        with pytest.raises(mc.MeshLayoutError, match="detached"):
            mc.get_submesh(early, "tp").get_group()


def test_dims_that_were_not_made_again_leave_it_detached():
    stored, data, told = written("beside a flattened dim")
    with fake_world(8, RANK):
        root = ours()
        mesh = from_pickle(stored, data)
        assert facts(mesh) == told
        assert not mc.same_root(mesh, root)
        with pytest.raises(mc.MeshLayoutError, match="detached=True"):
            mc.mesh_from_dict(data)
        flat_of(root)
        assert mc.same_root(from_pickle(stored, data), root)


def test_plain_data_is_read_onto_a_root_unless_it_is_said():
    _, data, told = written("submesh")
    with pytest.raises(mc.MeshLayoutError, match="detached=True"):
        mc.mesh_from_dict(data)
    with fake_world(8, RANK):
        with pytest.raises(mc.MeshLayoutError, match="detached=True"):
            mc.mesh_from_dict(data)
        assert facts(mc.mesh_from_dict(data, detached=True)) == told
        root = ours()
        assert mc.get_root_mesh(mc.mesh_from_dict(data, detached=True)) is root


def changed(**changes):
    _, data, _ = written("root")
    return {**data, **changes}


ROOT_OF = {"device_type": "cpu", "shape": [2, 2, 2], "names": list(NAMES), "ranks": None}
BAD = {
    "no root": changed(root=None),
    "no device type": changed(root={**ROOT_OF, "device_type": ""}),
    "a size below one": changed(root={**ROOT_OF, "shape": [2, 0, 2]}),
    "no shape": changed(root={**ROOT_OF, "shape": []}),
    "too many ranks": changed(root={**ROOT_OF, "shape": [2**13, 2**13, 2]}),
    "a name too few": changed(root={**ROOT_OF, "names": ["pp", "dp"]}),
    "a name twice": changed(root={**ROOT_OF, "names": ["pp", "dp", "dp"]}),
    "names of no kind": changed(root={**ROOT_OF, "names": 3}),
    "a rank twice": changed(root={**ROOT_OF, "ranks": [0, 0, *range(6)]}),
    "ranks of no kind": changed(root={**ROOT_OF, "ranks": "01234567"}),
    "a writer of no kind": changed(rank="0"),
    "no dims": changed(dims=[]),
    "dims of no kind": changed(dims=3),
    "a dim without axes": changed(dims=[["tp"]]),
    "axes of no kind": changed(dims=[["tp", 3]]),
    "an axis of no kind": changed(dims=[["tp", [[2]]]]),
    "a name of no kind": changed(dims=[[3, [[2, 1]]]]),
    "a dim twice": changed(dims=[["tp", [[2, 1]]]] * 2),
    "axes that could be one": changed(dims=[["tp", [[2, 2], [2, 1]]]]),
    "dims that overlap": changed(dims=[["tp", [[2, 1]]], ["dp", [[4, 1]]]]),
    "start of no kind": changed(start=None),
    "start beyond the root": changed(start=64),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_mesh_is_refused(case):
    with pytest.raises(mc.MeshLayoutError, match=r"describes no root|no pairs|overlap"):
        mc.mesh_from_dict(BAD[case], detached=True)


def unnamed():
    with fake_world(8, RANK):
        mesh = mc.init_device_mesh("cpu", (2, 4))
        return pickle.dumps(mesh), facts(mesh)


def test_a_mesh_without_names_is_read():
    stored, told = unnamed()
    assert facts(from_pickle(stored, None)) == told


def test_a_file_of_before_the_rank_was_written_is_read_without_a_coordinate():
    _, data, told = written("submesh")
    del data["rank"]
    mesh = mc.mesh_from_dict(data, detached=True)
    assert mesh.mesh.tolist() == [[0, 1], [4, 5]]
    assert mesh.get_coordinate() is None
    assert told[-1] == mc.layout_of(mesh)


def tell(queue, mesh):
    """Tell the parent what a worker has got."""
    queue.put((facts(mesh), dist.is_initialized()))


@pytest.mark.multiprocess
def test_a_spawned_worker_gets_a_detached_mesh():
    stored, data, told = written("submesh")
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    with fake_world(8, RANK):
        mesh = KINDS["submesh"](ours())
        worker = context.Process(target=tell, args=(queue, mesh))
        worker.start()
        assert queue.get() == (told, False)
        worker.join()
    assert from_pickle(stored, data) is not mesh


@pytest.mark.multiprocess
def test_torch_load_reads_a_mesh_by_default_where_meshcompat_was_imported_before_torch(tmp_path):
    path = tmp_path / "state.pt"
    with fake_world(8, RANK):
        torch.save({"mesh": KINDS["submesh"](ours())}, path)
    program = f"""
import sys
import meshcompat, torch
assert not any(name.startswith("meshcompat._mesh") for name in sys.modules)
print(torch.load({str(path)!r}, **{SAFE!r})["mesh"].mesh.tolist())
"""
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.stdout.splitlines()[-1:] == ["[[0, 1], [4, 5]]"], told.stderr
