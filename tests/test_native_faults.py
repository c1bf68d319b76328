"""What torch gets wrong, held against our result on this release and against the published table.

The rows of `native_faults` ask torch and meshcompat the same; below them stand the cases of the
contract's table, operation by operation, with ranks that were worked out by hand.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import meshcompat as mc
from meshcompat.testing import fake_world, on_every_rank, recorded_groups
from tests.support import native, native_faults
from tests.support.native_faults import FAULTS, RIGHT, on_real_ranks, release

STORED = Path(__file__).parent.parent / "docs" / "data" / "faults.json"
NAMES = ("pp", "rep", "shard", "cp")


@pytest.fixture(scope="module")
def stored():
    """The published verdicts of every fault on this release."""
    faults = json.loads(STORED.read_text(encoding="utf-8"))
    if all(release() not in fault["torch"] for fault in faults):
        pytest.skip(f"docs/data/faults.json has no verdicts on torch {release()}")
    return {fault["name"]: fault for fault in faults}


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_meshcompat_is_right_where_torch_can_be_wrong(fault):
    assert fault.ours() == RIGHT


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_published_verdict_on_torch_is_that_of_a_fresh_run(fault, stored):
    published = stored[fault.name]

    assert published["torch"][release()] == fault.torch()
    assert published["meshcompat"][release()] == RIGHT
    assert (published["link"], published["does"]) == (fault.link, fault.does)


@pytest.mark.multiprocess
def test_redistribute_after_a_flatten_is_right_and_published(pool, stored):
    fault = on_real_ranks(pool)

    assert fault.ours() == RIGHT
    assert stored[fault.name]["torch"][release()] == fault.torch()
    assert stored[fault.name]["meshcompat"][release()] == RIGHT


def test_every_fault_is_published_with_every_release(stored):
    releases = {tuple(fault["torch"]) for fault in stored.values()}

    assert {fault.name for fault in FAULTS} < stored.keys()
    assert len(stored) == len(FAULTS) + 1
    assert len(releases) == 1
    assert {verdict for fault in stored.values() for verdict in fault["meshcompat"].values()} == {
        RIGHT
    }


@pytest.fixture
def mesh():
    with fake_world(16):
        yield mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)


def pick(mesh, *names):
    return mc.get_submesh(mesh, names)


def test_submesh_in_another_order(mesh):
    assert pick(mesh, "shard", "pp").mesh.tolist() == [[0, 8], [2, 10]]


def test_submesh_of_a_submesh(mesh):
    submesh = pick(pick(mesh, "rep", "shard", "cp"), "shard")

    assert submesh.mesh.tolist() == [0, 2]
    assert mc.get_root_mesh(submesh) is mesh


def test_flattened_dims_that_lie_apart_are_the_same_at_every_look_up(mesh):
    flat = mc.flatten(pick(mesh, "pp", "shard"), "pp_shard")

    assert flat.mesh.tolist() == [0, 2, 8, 10]
    assert native.ranks_of(flat) == [0, 2, 8, 10]
    assert pick(mesh, "pp_shard") is flat
    assert mc.get_flat_mesh(pick(mesh, "cp"), "pp_shard") is flat


def test_submesh_of_a_dim_and_flattened_dims_that_lie_apart(mesh):
    mc.flatten(pick(mesh, "pp", "shard"), "pp_shard")

    submesh = pick(mesh, "rep", "pp_shard")

    assert submesh.mesh.tolist() == [[0, 2, 8, 10], [4, 6, 12, 14]]
    assert native.ranks_of(submesh, 0) == [0, 4]
    assert native.ranks_of(submesh, 1) == [0, 2, 8, 10]


def test_flattened_name_for_other_dims_is_refused(mesh):
    old = mc.flatten(pick(mesh, "shard", "cp"), "x")

    with pytest.raises(mc.MeshLayoutError, match="'x' is taken"):
        mc.flatten(pick(mesh, "pp", "rep"), "x")

    assert mc.get_flattened_meshes(mesh) == {"x": old}


def test_name_of_a_dim_is_refused_and_equal_meshes_stay_right(mesh):
    with pytest.raises(mc.MeshLayoutError, match="'cp' is the name of a mesh dim"):
        mc.flatten(pick(mesh, "pp", "rep"), "cp")

    equal = mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)
    assert pick(equal, "cp").mesh.tolist() == [0, 1]
    assert native.pick(equal, "cp").mesh.tolist() == [0, 1]


def test_one_dim_flattened_to_its_own_name_is_itself(mesh):
    submesh = pick(mesh, "cp")

    assert mc.flatten(submesh, "cp") is submesh
    assert mc.flatten(submesh) is submesh


def test_flatten_out_of_order_is_refused(mesh):
    with pytest.raises(mc.MeshLayoutError, match=r"\('shard', 'cp'\) first"):
        mc.flatten(pick(mesh, "cp", "shard"), "y")


def unflattened() -> tuple[object, ...]:
    mesh = mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)
    flat = mc.flatten(pick(mesh, "rep", "shard", "cp"), "rsc")
    with recorded_groups() as asked_for:
        split = mc.unflatten(flat, 0, (4, 2), ("ep_shard", "ep"))
    return (
        split.mesh.tolist(),
        native.ranks_of(split, 0),
        native.ranks_of(split, 1),
        split.get_local_rank("ep_shard"),
        split.get_local_rank("ep"),
        tuple(asked_for),
        mc.get_root_mesh(split) is mesh,
    )


def test_unflatten_of_a_flattened_mesh_has_the_right_groups_on_every_rank():
    found = on_every_rank(16, unflattened)

    for rank, (ranks, ep_shard, ep, ep_shard_rank, ep_rank, asked_for, has_root) in enumerate(
        found
    ):
        stage = torch.arange(16).reshape(2, 4, 2)[rank // 8]
        assert ranks == stage.tolist()
        assert ep_shard == stage[:, rank % 2].tolist()
        assert ep == stage[rank % 8 // 2].tolist()
        assert (ep_shard_rank, ep_rank) == (rank % 8 // 2, rank % 2)
        assert asked_for == found[0][5]
        assert has_root


def test_concatenate_makes_no_group(mesh):
    parts = [pick(mesh, "pp"), pick(mesh, "cp")]

    with recorded_groups() as asked_for:
        joined = mc.concatenate(parts)

    assert joined.mesh.tolist() == [[0, 1], [8, 9]]
    assert asked_for == []


def test_submesh_of_a_dim_and_neighbours_flattened_makes_no_group_and_does_not_warn(mesh, recwarn):
    mc.flatten(pick(mesh, "shard", "cp"), "shard_cp")

    with recorded_groups() as asked_for:
        submesh = pick(mesh, "rep", "shard_cp")

    assert submesh.mesh.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert asked_for == []
    assert recwarn.list == []


def on_some_ranks() -> tuple[Any, ...]:
    mesh = mc.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"), ranks=[1, 2, 5, 7])
    tp = pick(mesh, "tp")
    flat = mc.flatten(mesh, "flat")
    split = mc.unflatten(flat, "flat", (2, 2), ("a", "b"))
    return (
        mesh.mesh.tolist(),
        mesh.get_coordinate(),
        tp.mesh.tolist(),
        flat.mesh.tolist(),
        split.mesh.tolist(),
        mc.is_member(mesh),
        [mc.get_root_mesh(made) is mesh for made in (tp, flat, split)],
    )


def test_mesh_of_some_ranks_works_on_members_and_on_the_others():
    for rank, found in enumerate(on_every_rank(8, on_some_ranks)):
        ranks, coordinate, tp, flat, split, is_member, have_root = found
        where = [1, 2, 5, 7].index(rank) if rank in {1, 2, 5, 7} else None
        assert ranks == split == [[1, 2], [5, 7]]
        assert flat == [1, 2, 5, 7]
        assert tp == ([5, 7] if rank in {5, 7} else [1, 2])
        assert is_member == (where is not None)
        assert (coordinate and list(coordinate)) == (
            where if where is None else [where // 2, where % 2]
        )
        assert have_root == [True] * 3


@pytest.mark.parametrize("rank", [0, 3, 7])
@pytest.mark.parametrize("shape", [(8,), (2, 4)])
def test_ranks_that_descend_keep_their_order_or_are_refused(shape, rank):
    ranks = list(reversed(range(8)))
    refused = None
    with fake_world(8, rank), recorded_groups() as asked_for:
        try:
            mesh = mc.init_device_mesh("cpu", shape, ranks=ranks)
        except mc.MeshLayoutError as error:
            refused = str(error)
        else:
            last = len(shape) - 1
            row = torch.tensor(ranks).reshape(-1, shape[-1])[(7 - rank) // shape[-1]].tolist()
            assert native.ranks_of(mesh, last) == row
            assert row[mesh.get_local_rank(last)] == row[mesh.get_coordinate()[last]] == rank

    assert refused is None or ("descend" in refused and asked_for == [])


@pytest.mark.parametrize("backend", ["gloo", "cpu:gloo", ("gloo", None)])
def test_real_backend_in_a_fake_world_is_an_error_and_no_crash(mesh, backend):
    with recorded_groups() as asked_for, pytest.raises(mc.MeshLayoutError, match="fake world"):
        mc.flatten(pick(mesh, "pp", "rep"), "x", backend_override=backend)

    assert asked_for == []


def test_submeshes_of_equal_roots_keep_their_own_root_and_names(mesh):
    equal = mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)
    flat = mc.flatten(pick(mesh, "shard", "cp"), "shard_cp")

    assert mc.get_root_mesh(pick(mesh, "cp")) is mesh
    assert mc.get_root_mesh(pick(equal, "cp")) is equal
    assert mc.get_flattened_meshes(equal) == {}
    assert not mc.same_root(flat, equal)
    with pytest.raises(mc.MeshDimError, match="'shard_cp'"):
        mc.get_flat_mesh(equal, "shard_cp")


@pytest.mark.usefixtures("mesh")
def test_native_slices_of_equal_roots_are_not_taken_for_each_other():
    first, second = native_faults.native_mesh(), native_faults.native_mesh()
    of_first, of_second = native.pick(first, "cp"), native.pick(second, "cp")

    for submesh, other in ((of_first, second), (of_second, first)):
        assert mc.get_root_mesh(submesh) is not other
        assert mc.get_ranks(submesh, "cp") == [0, 1]
    assert mc.get_group(of_first, "cp") is not mc.get_group(of_second, "cp")


def test_unit_dims_flattened_before_a_dim_are_found():
    with fake_world(8):
        for shape in ((8, 1, 1, 1), (2, 1, 1, 4), (1, 1, 8, 1), (1, 2, 1, 4)):
            mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=NAMES)
            mc.flatten(pick(mesh, "rep", "shard"), "flat")

            found = pick(mesh, "pp", "flat", "cp").mesh

            expected = torch.arange(8).reshape(shape[0], shape[1] * shape[2], shape[3])
            assert found.tolist() == expected.tolist()


def test_flattened_dims_of_three_and_of_flattened_ones(mesh):
    mc.flatten(pick(mesh, "rep", "shard", "cp"), "three")
    mc.flatten(pick(mesh, "shard", "cp"), "two")

    assert pick(mesh, "pp", "three").mesh.tolist() == torch.arange(16).reshape(2, 8).tolist()
    assert mc.flatten(pick(mesh, "rep", "two"), "again").mesh.tolist() == list(range(8))


def test_flattened_name_of_one_character(mesh):
    mc.flatten(pick(mesh, "rep", "shard"), "r")

    assert mc.flatten(pick(mesh, "pp", "r"), "p").mesh.tolist() == list(range(0, 16, 2))


@pytest.mark.parametrize("rank", [0, 5, 12])
def test_slice_by_torch_of_our_submesh_has_the_ranks_of_ours(rank):
    """From 2.10 a submesh made of an explicit rank tensor slices silently wrong."""
    with fake_world(16, rank):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2, 2), mesh_dim_names=NAMES)
        submesh = pick(mesh, "rep", "shard")

        try:
            sliced = native.pick(submesh, "rep")
        except RuntimeError as error:
            pytest.skip(f"torch slices no submesh here: {error}")

        assert sliced.mesh.tolist() == pick(mesh, "rep").mesh.tolist()


def test_other_threads_see_roots_and_flattened_names(mesh):
    flat = mc.flatten(pick(mesh, "shard", "cp"), "shard_cp")
    before = native.groups()
    found = []

    def look() -> None:
        found.append(mc.get_root_mesh(flat) is mesh)
        found.append(mc.get_flat_mesh(mesh, "shard_cp") is flat)
        found.append(mc.flatten(pick(mesh, "shard", "cp"), "shard_cp") is flat)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert found == [True] * 3
    assert native.groups() == before
