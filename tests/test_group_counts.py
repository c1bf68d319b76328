"""How many process groups real layouts have: as few as there are sets of ranks that talk."""

from __future__ import annotations

import contextlib
import inspect
from typing import NamedTuple
from unittest import mock

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat import _agreement
from meshcompat._agreement.making import at_once
from meshcompat.testing import each_rank, fake_world, recorded_groups
from tests.support import native
from tests.support.layout_table import (
    LAYOUTS,
    build_ours,
    fewest_groups,
    ranks_of_root,
    ranks_of_views,
)

RANKS = (0, 6, 15)
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=str)


class Sets(NamedTuple):
    """The sets of ranks that one rank talks to, told apart by who may share their groups."""

    native: list[frozenset[int]]
    flattened: list[frozenset[int]]
    of_views: list[frozenset[int]]
    flattened_in_views: list[frozenset[int]]


def sets_of(layout, rank):
    root, views = ranks_of_root(layout, rank), ranks_of_views(layout, rank)
    count = sum(len(view.names) for view in layout.views)
    return Sets(root[: len(layout.names)], root[len(layout.names) :], views[:count], views[count:])


def kept_apart(sets, world_size):
    """Return those of more than one rank and less than the world: the others share always."""
    return [ranks for ranks in sets if 1 < len(ranks) < world_size]


def groups_of(dims):
    return [mesh.get_group(dim) for mesh, dim in dims]


def ranks_of(groups):
    return [frozenset(dist.get_process_group_ranks(group)) for group in groups]


def check_groups_held(groups):
    """The rank holds these groups and no other, but for the default one."""
    different = {id(group) for group in [*groups, dist.group.WORLD]}
    assert native.groups() == len(different)


def calls_for(shared, own, world_size):
    """Return how many groups all ranks make together: one for every part of each partition."""
    made = {ranks for ranks in shared if len(ranks) < world_size}
    return sum(world_size // len(ranks) for ranks in [*made, *own])


@layouts
@pytest.mark.parametrize("rank", RANKS)
def test_root_and_flattened_names_have_as_few_groups_as_can_be(layout, rank):
    sets = sets_of(layout, rank)
    with fake_world(layout.world_size, rank):
        ours = build_ours(layout._replace(views=()))
        groups = groups_of(ours.dims())

        assert ranks_of(groups) == sets.native + sets.flattened
        assert len({id(group) for group in groups}) == fewest_groups(ranks_of(groups))
        check_groups_held(groups)


@layouts
def test_second_factorisations_have_groups_of_their_own(layout):
    rank, size = 6, layout.world_size
    sets = sets_of(layout, rank)
    own = kept_apart(sets.of_views, size)
    shared = [ranks for each in sets for ranks in each if each is not sets.of_views]
    shared += [ranks for ranks in sets.of_views if ranks not in own]
    with fake_world(size, rank), recorded_groups() as made:
        groups = groups_of(build_ours(layout).dims())

        assert ranks_of(groups) == [ranks for each in sets for ranks in each]
        assert len({id(group) for group in groups}) == fewest_groups(shared) + len(own)
        assert len(made) == calls_for(shared, own, size)
        check_groups_held(groups)


@layouts
def test_everything_has_as_few_groups_as_can_be_where_all_is_shared(layout):
    rank, size = 6, layout.world_size
    sets = [ranks for each in sets_of(layout, rank) for ranks in each]
    with fake_world(size, rank), recorded_groups() as made:
        groups = groups_of(build_ours(layout, share_groups=True).dims())

        assert ranks_of(groups) == sets
        assert len({id(group) for group in groups}) == fewest_groups(sets)
        assert len(made) == calls_for(sets, [], size)
        check_groups_held(groups)


@layouts
def test_all_but_the_dims_of_the_root_are_kept_apart_where_nothing_is_shared(layout):
    rank, size = 6, layout.world_size
    sets = sets_of(layout, rank)
    later = [*sets.flattened, *sets.of_views, *sets.flattened_in_views]
    own = kept_apart(later, size)
    shared = sets.native + [ranks for ranks in later if ranks not in own]
    with fake_world(size, rank), recorded_groups() as made:
        groups = groups_of(build_ours(layout, share_groups=False).dims())

        assert ranks_of(groups) == sets.native + later
        assert len({id(group) for group in groups}) == fewest_groups(shared) + len(own)
        assert len(made) == calls_for(shared, own, size)
        check_groups_held(groups)


@pytest.mark.parametrize(
    "layout", [each for each in LAYOUTS if len(each.views) > 1 or "pipeline" in str(each)], ids=str
)
def test_every_rank_makes_the_same_groups_in_the_same_order(layout):
    made = []
    for _ in each_rank(layout.world_size):
        with recorded_groups() as groups:
            build_ours(layout)
        made.append(tuple(groups))
    assert len(set(made)) == 1


NAMES = ("pp", "dp", "tp")
CALLS = {
    "a new root": (1, lambda mesh: mc.init_device_mesh("cpu", mesh.shape, mesh_dim_names=NAMES)),
    "a flatten of new ranks": (1, lambda mesh: mc.flatten(mc.get_submesh(mesh, ("dp", "tp")))),
    "a flatten of the world": (0, lambda mesh: mc.flatten(mesh, "world")),
    "another name": (0, lambda mesh: mc.flatten(mc.get_submesh(mesh, "tp"), "ulysses")),
    "an unflatten": (1, lambda mesh: mc.unflatten(mesh, "dp", (2, 2), ("a", "b"))),
    "an unflatten to size 1": (1, lambda mesh: mc.unflatten(mesh, "tp", (2, 1), ("a", "b"))),
    "a group of new ranks": (1, lambda mesh: mc.get_group(mesh, ("pp", "tp"))),
    "a group that is there": (0, lambda mesh: mc.get_group(mesh, "tp")),
    "experts": (1, lambda mesh: mc.create_moe_mesh(mesh, ep_shard_size=2, ep_size=4)),
    "a submesh": (0, lambda mesh: mc.get_submesh(mesh, ("tp", "pp"))),
    "a flat mesh": (0, lambda mesh: mc.get_flat_mesh(mesh, "dp")),
    "submeshes joined": (
        0,
        lambda mesh: mc.concatenate([mc.get_flat_mesh(mesh, "dp"), mc.get_flat_mesh(mesh, "pp")]),
    ),
    "a question": (0, lambda mesh: mc.get_axis_size(mesh, "tp")),
}


@pytest.mark.parametrize(("times", "call"), CALLS.values(), ids=CALLS)
def test_ranks_compare_once_where_groups_are_made_and_else_never(times, call, monkeypatch):
    compared = []

    @contextlib.contextmanager
    def agree(describe, _):
        compared.append(describe)
        yield at_once

    with fake_world(16, 6):
        mesh = mc.init_device_mesh("cpu", (2, 4, 2), mesh_dim_names=NAMES)
        monkeypatch.setattr(_agreement, "agreed", agree)
        call(mesh)
        call(mesh)
    # A root is made anew at every call; all else is there the second time.
    assert len(compared) == (2 if call is CALLS["a new root"][1] else times)


def sums_in_different_orders(share_groups):
    """Return two sums over the same pair of ranks, begun in another order on every other rank."""
    root = mc.init_device_mesh("cpu", (4, 2), mesh_dim_names=("dp", "tp"), timeout=30)
    twin = mc.flatten(mc.get_submesh(root, "tp"), "twin", share_groups=share_groups)
    mine = {"tp": torch.tensor([1]), "twin": torch.tensor([10])}
    groups = {"tp": root.get_group("tp"), "twin": twin.get_group()}
    order = ("tp", "twin") if dist.get_rank() % 2 else ("twin", "tp")
    for work in [dist.all_reduce(mine[name], group=groups[name], async_op=True) for name in order]:
        work.wait()
    return [mine[name].item() for name in ("tp", "twin")]


@pytest.mark.multiprocess
def test_two_names_of_one_group_mix_up_what_ranks_begin_in_different_orders(pool):
    """What sharing costs: a group carries one collective after another, whatever its name."""
    assert pool.run(sums_in_different_orders, True) == [[11, 11]] * 8


@pytest.mark.multiprocess
def test_names_with_groups_of_their_own_keep_such_sums_apart(pool):
    assert pool.run(sums_in_different_orders, False) == [[2, 20]] * 8


@pytest.mark.usefixtures("world")
def test_the_parameters_of_new_group_are_looked_up_once():
    mc.init_device_mesh("cpu", (2, 4))
    with mock.patch.object(inspect, "signature", wraps=inspect.signature) as signature:
        mc.init_device_mesh("cpu", (4, 2))
    assert mock.call(dist.new_group) not in signature.call_args_list
