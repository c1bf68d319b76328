"""Ranks that ask for different groups, or do not come, get an error that says who; nothing is made."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import torch
import torch.distributed as dist
from torch.distributed import device_mesh

import meshcompat as mc
from meshcompat import _release
from meshcompat._eras import stores
from meshcompat.testing import recorded_groups
from tests.support.counting_store import CountingStore

pytestmark = pytest.mark.multiprocess

NAMES = ("pp", "dp", "tp")
ODD = 5


def make_root(shape=(2, 2, 2), names=NAMES, **options):
    return mc.init_device_mesh("cpu", shape, mesh_dim_names=names, **options)


def make_flat(root, names=("pp", "dp"), name="flat", **options):
    return mc.flatten(mc.get_submesh(root, names), name, **options)


def make_root_as(name, answer):
    """Make a root on a rank that believes to have another version of something."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_release, name, lambda: answer)
        make_root()


# What all ranks but one ask for, what that one asks for, and what the error says differs.
DISAGREEMENTS = {
    "shape": (lambda _: make_root((4, 2, 1)), lambda _: make_root((2, 4, 1)), "root, dims"),
    "names": (lambda _: make_root(), lambda _: make_root(names=("pp", "tp", "dp")), "root, dims"),
    "ranks": (
        lambda _: make_root((2, 2), ("dp", "tp"), ranks=[0, 1, 2, 3]),
        lambda _: make_root((2, 2), ("dp", "tp"), ranks=[4, 5, 6, 7]),
        "ranks",
    ),
    "timeout": (lambda _: make_root(timeout=9), lambda _: make_root(timeout=8), "dims"),
    "name of the flattened dim": (make_flat, lambda root: make_flat(root, name="other"), "dims"),
    "flattened dims": (make_flat, lambda root: make_flat(root, ("dp", "tp")), "dims"),
    "operation": (
        make_flat,
        lambda root: mc.unflatten(root, "tp", (2, 1), ("inner", "one")),
        "call, dims, share_groups",
    ),
    "sharing": (make_flat, lambda root: make_flat(root, share_groups=False), "share_groups"),
    "a call less": (lambda root: (make_flat(root), make_root()), lambda _: make_root(), "call"),
    "version of meshcompat": (
        lambda _: make_root(),
        lambda _: make_root_as("own_version", "99.1"),
        "meshcompat",
    ),
    "minor of torch": (
        lambda _: make_root(),
        lambda _: make_root_as("installed_torch", "99.1"),
        "torch",
    ),
}
BOTH_VERSIONS = {
    "version of meshcompat": [
        f"meshcompat {_release.own_version()}, torch",
        "meshcompat 99.1, torch",
    ],
    "minor of torch": [
        "torch {}.{}\n".format(*_release.minor_of(_release.installed_torch())),
        "torch 99.1\n",
    ],
}


def attempt(call, *arguments):
    """Return the error of a call, the groups that it asked for, and how long it took."""
    start = time.monotonic()
    error = None
    with recorded_groups() as groups:
        try:
            call(*arguments)
        except mc.MeshMismatchError as caught:
            error = caught
    return error, len(groups), time.monotonic() - start


def sums_are_right():
    """Make a mesh as everybody does, and add up the ranks of its groups."""
    root = make_root()
    flat = make_flat(root, ("pp", "tp"), "next")
    found = torch.tensor(dist.get_rank())
    dist.all_reduce(found, group=flat.get_group())
    return found.item() == sum(mc.get_ranks(flat, "next"))


def disagree(case, odd):
    usual, other, _ = DISAGREEMENTS[case]
    root = make_root()
    error, made, _ = attempt(other if dist.get_rank() == odd else usual, root)
    words = (str(error), error.rank, error.missing, tuple(error.descriptions))
    return words, made, sums_are_right()


@pytest.mark.parametrize("odd", [0, ODD])
@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_every_rank_hears_who_differs_and_the_next_call_works(pool, figure, case, odd):
    found = pool.run(disagree, case, odd)
    reference = 1 if odd == 0 else 0
    for (message, culprit, missing, described), made, right in found:
        assert (culprit, missing, set(described)) == (odd, (), {odd, reference})
        assert f"rank {odd} asks for other process groups than 7 of 8 ranks" in message
        assert f"they differ in {DISAGREEMENTS[case][2]}" in message
        assert all(words in message for words in BOTH_VERSIONS.get(case, ()))
        assert (made, right) == (0, True)
    figure("disagreements", "kinds and culprits tried", 1)
    figure("disagreements", "ranks that were told who differs", len(found))


def meet_after_torch_made_a_mesh_on_its_members():
    if dist.get_rank() < 2:
        device_mesh.DeviceMesh("cpu", [0, 1])
    error, made, _ = attempt(make_root)
    return str(error), error.rank, made


def test_groups_that_only_some_ranks_made_are_seen_before_they_mix_up_others(pool):
    """torch names a group by how many it counts: the next mesh can return wrong sums."""
    for message, culprit, made in pool.run(meet_after_torch_made_a_mesh_on_its_members):
        assert (culprit, made) == (0, 0)
        assert "they differ in groups made before" in message


def come_late(late, seconds, timeout):
    root = make_root()
    dist.barrier()
    if dist.get_rank() == late:
        time.sleep(seconds)
    error, made, took = attempt(lambda: make_flat(root, timeout=timeout))
    told = None if error is None else (str(error), error.rank, error.missing)
    return told, made, took, sums_are_right()


@pytest.mark.parametrize("late", [0, ODD])
def test_a_rank_that_comes_too_late_is_named_on_all_ranks(pool, late):
    found = pool.run(come_late, late, 4.5, 1.5)
    for rank, (told, made, took, right) in enumerate(found):
        message, culprit, missing = told
        assert (culprit, missing, made, right) == (late, (late,), 0, True)
        assert f"rank {late} did not come within 1.5 s" in message
        assert took < (1.5 if rank == late else 1.5 + 5)


@pytest.mark.parametrize("late", [0, ODD])
def test_a_rank_that_comes_late_but_in_time_is_waited_for(pool, late):
    for told, made, _, right in pool.run(come_late, late, 0.5, 20):
        assert (told, made > 0, right) == (None, True, True)


def wait_as_long_as_the_default_group():
    if dist.get_rank() == ODD:
        return None
    error, _, took = attempt(make_root)
    return error.missing, took


def test_without_a_timeout_ranks_wait_as_long_as_the_default_group(pool):
    found = pool.run(wait_as_long_as_the_default_group, timeout=4)  # whose groups wait for half
    for missing, took in found[:ODD] + found[ODD + 1 :]:
        assert missing == (ODD,)
        assert 1.5 < took < 2 + 5


def leave_a_call_out(absent):
    root = make_root()
    dist.barrier()
    error = None
    if dist.get_rank() == absent:
        time.sleep(4.5)  # the others have given up by then
    else:
        error, _, _ = attempt(lambda: make_flat(root, timeout=1.5))
    return error and error.missing, sums_are_right()


def test_a_rank_that_left_a_call_out_can_go_on_with_the_next(pool):
    for rank, (missing, right) in enumerate(pool.run(leave_a_call_out, ODD)):
        assert (missing, right) == (None if rank == ODD else (ODD,), True)


def make_own(root, name):
    """Return who was missing when all ranks but one, or all, make a group for this name."""
    error, _, _ = attempt(lambda: mc.flatten(root, ("dp",), name, share_groups=False, timeout=4))
    dist.barrier()  # every rank has done with this call
    return error and error.missing


def retry(odd):
    root = make_root()
    if dist.get_rank() == odd:
        with pytest.raises(mc.MeshLayoutError):
            mc.flatten(root, ("dp",), "tp", share_groups=False)
        dist.barrier()
        first = None
    else:
        first = make_own(root, "own")
    return first, [make_own(root, name) for name in ("own", "own", "b", "c")], sums_are_right()


@pytest.mark.parametrize("odd", [0, ODD])
def test_a_call_that_one_rank_got_wrong_can_be_made_again_by_all(pool, odd):
    """That rank raised before it compared; its next call asks for what the others gave up."""
    for rank, (first, again, right) in enumerate(pool.run(retry, odd)):
        assert first == (None if rank == odd else (odd,))
        assert (again, right) == ([None] * 4, True)


def count_operations(calls, *, unchecked=False):
    counting = CountingStore(stores.default_store())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "default_store", lambda: counting)
        if unchecked:
            patch.setenv("MESHCOMPAT_CHECK", "off")
        for _ in range(calls):
            make_root()
    return dict(counting.count)


def test_a_comparison_costs_a_constant_number_of_store_operations(pool):
    counts = pool.run(count_operations, 10)
    # Of 8 ranks the first also writes the words, and the last the verdict that the others read;
    # rank 0 deletes the keys of the comparison before; the first call of a world takes 3 more.
    for count, also in zip(counts, [{"delete_key": 36}, *[{}] * 7], strict=True):
        first, last = count["add"] - 12, 10 - count["wait"]
        usual = {"add": 12 + first, "set": 21 + first + last, "wait": 10 - last, "get": 10 - last}
        assert count == {**usual, **also}
    everything = sum((Counter(count) for count in counts), Counter())
    assert everything == {"add": 106, "set": 188, "wait": 70, "get": 70, "delete_key": 36}


def test_nothing_is_compared_where_the_environment_says_so(pool):
    assert pool.run(count_operations, 3, unchecked=True) == [{}] * 8


def make_unchecked():
    counting = CountingStore(stores.default_store())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stores, "default_store", lambda: counting)
        with mc.unchecked():
            make_root()
        inside = sum(counting.count.values())
        make_root()
    return inside, sum(counting.count.values()) > 0


def test_nothing_is_compared_inside_unchecked(pool):
    assert pool.run(make_unchecked) == [(0, True)] * 8


def agreed_on(names):
    """Ask for a root, and return whether all ranks did."""
    try:
        mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=names)
    except mc.MeshMismatchError:
        return False
    return True


def written_by_one_and_read_by_all():
    """Make two roots after a call that failed for one kind of root on rank 0, for another elsewhere."""
    agreed = agreed_on(("dp", "tp") if dist.get_rank() == 0 else ("tp", "dp"))
    roots = [mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp")) for _ in range(2)]
    told = [mc.mesh_to_dict(roots[1])]
    dist.broadcast_object_list(told, src=1)
    return agreed, mc.mesh_from_dict(told[0]) is roots[1]


def written_of_one_root_where_others_looked_at_another():
    """Write a mesh of the first of two roots that torch made; the other ranks look at the second."""
    roots = [
        device_mesh.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp")) for _ in range(2)
    ]
    part = mc.get_submesh(roots[min(dist.get_rank(), 1)], ("tp", "dp"))
    told = [mc.mesh_to_dict(part)]
    dist.broadcast_object_list(told, src=0)
    try:
        return mc.same_root(mc.mesh_from_dict(told[0]), part)
    except mc.MeshLayoutError:
        return "cannot be told"


def test_a_root_that_torch_made_is_never_taken_for_another_one(pool):
    found = pool.run(written_of_one_root_where_others_looked_at_another)
    assert found == ["cannot be told"] * 8


def read_by_all_where_torch_made_one_root():
    root = device_mesh.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
    part = mc.get_submesh(root, "dp")
    dist.new_group(range(8))
    told = [mc.mesh_to_dict(part)]
    dist.broadcast_object_list(told, src=0)
    read = mc.mesh_from_dict(told[0])
    return mc.same_root(read, part), mc.get_ranks(read)


def test_the_only_root_that_torch_made_is_found_on_all_ranks(pool):
    assert pool.run(read_by_all_where_torch_made_one_root) == [(True, [0, 4])] * 8


def test_a_call_that_failed_leaves_the_roots_of_all_ranks_alike(pool):
    assert pool.run(written_by_one_and_read_by_all) == [(False, True)] * 8
