"""The one memory: what is known of a mesh and of its root, and what was made of them.

A `View` stands on the mesh object itself and lives as long as the mesh. A table keyed by the mesh
would mix up equal meshes, as torch's own did up to 2.9. The `View` holds its `Root`, and the `Root`
holds every mesh that was made of it: so a root lives as long as somebody has one of its meshes.
All of it is about one world. In another world nothing is recalled, and `view_of` refuses the mesh.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import operator
import secrets
import threading
import weakref
from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch.distributed as dist

from meshcompat import _eras, _layout
from meshcompat._eras.process_groups import current_world
from meshcompat._eras.rank_tensors import shape_and_ranks
from meshcompat._errors import MeshLayoutError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence
    from datetime import timedelta

    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._eras._primitives import Handle
    from meshcompat._eras.process_groups import GroupOptions
    from meshcompat._layout import Axes

ATTRIBUTE = "_meshcompat"
"""Where a mesh keeps its view."""

view_on = operator.attrgetter(ATTRIBUTE)
"""Returns the view that a mesh keeps; an AttributeError says that it keeps none. No Python function."""

lock = threading.RLock()
"""Held while meshes and groups are made, so that all threads get the same objects."""


_roots: weakref.WeakKeyDictionary[Root, None] = weakref.WeakKeyDictionary()
"""Every root that somebody still has, oldest first: a mesh that is read finds its root here."""

_made_in: weakref.WeakKeyDictionary[ProcessGroup, Counter[tuple[str, Hashable]]] = (
    weakref.WeakKeyDictionary()
)
"""How many roots of each kind all ranks made together in a default process group, by the call."""


class Group:
    """One partition of a root into process groups, as this rank holds it.

    Compared by identity: two groups over the same ranks are two communicators.
    """

    def __init__(
        self,
        axes: Axes,
        made_with: GroupOptions,
        handle: Handle | None,
        *,
        shareable: bool,
        is_ours: bool = False,
        in_order: bool = True,
    ) -> None:
        """*handle* is None outside the root; *shareable* must be the same on all ranks.

        *is_ours* says that we made it, so that `destroy_mesh` ends it. It is not *in_order* where
        torch sorted its ranks against the mesh: then nobody gets it. `made_as` says which of ours
        it is, alike on all ranks: see `Root.tell_made`.
        """
        self.axes = axes
        self.partition = _layout.outermost_first(axes)
        self.made_with = made_with
        self.handle = handle
        self.shareable = shareable
        self.is_ours = is_ours
        self.in_order = in_order
        self.made_as: tuple[str, str, int] | None = None


class Dim(NamedTuple):
    """One mesh dim: equal dims mean equal ranks on the same communicator."""

    name: str | None
    axes: Axes
    group: Group | None


def _world() -> ProcessGroup:
    world: Any = dist.group.WORLD
    return world  # type: ignore[no-any-return]


def _no_world() -> ProcessGroup | None:
    """Stand in for the reference to a default process group where there was none."""
    return None


def names_of(dims: Sequence[Dim]) -> tuple[str, ...] | None:
    """Return the names of mesh dims, or None where one has none."""
    names = tuple(dim.name for dim in dims if dim.name is not None)
    return names if len(names) == len(dims) else None


class Root:
    """What all meshes of one root share.

    Attributes:
        mesh: The root mesh, with its *shape*, *size* and *rank_map* (*is_range*: 0, 1, 2, ...).
        position: Where this rank stands in the rank map; 0 where it is no member.
        timeout: What new groups get where a call says nothing else.
        dims: Its own mesh dims; empty until `settle`.
        groups: Every group that can serve a mesh dim, so that none is made twice.
        flattened: Its flattened meshes by name, in the order they were made.
        places: Where dims stand that have a name, by name and axes; see `meshcompat._mesh.places`.
        factorised: The mesh dims that a dim was split into. Ranks look here, and not among their
            meshes, to decide whether groups are to be made: object identity differs between ranks.
        made: Every mesh around this rank, so that equal dims are the same object.
        elsewhere: Meshes of other ranks, by the position that they begin at. There can be as many
            as ranks, so each lives only as long as somebody has it.
        is_detached: Whether it was read where no root like it was: it has no world and no groups.
        rank: This rank; of a detached root the one that wrote it, None where that is not known.
        is_destroyed: Whether `destroy_mesh` ended it: then it lives in no world.
        number: Which of its kind it is, alike on all ranks; None where they did not make it
            together.
        token: Tells it from every other root of this process.
    """

    def __init__(
        self,
        mesh: DeviceMesh,
        over: tuple[tuple[int, ...], Sequence[int]] | None = None,
        *,
        timeout: timedelta | None = None,
        is_detached: bool = False,
        rank: int | None = None,
    ) -> None:
        """Take shape and ranks from *over*, else off *mesh*; its dims come when its groups are known.

        *is_detached* is a root without a world, as *rank* has seen it.
        """
        self.mesh = mesh
        self.is_detached = is_detached
        self.rank = rank if is_detached else dist.get_rank()
        self.shape, ranks = over or shape_and_ranks(mesh)
        self.size = len(ranks)
        ascending = range(self.size)
        self.is_range = ranks == (ascending if isinstance(ranks, range) else list(ascending))
        self.rank_map: Sequence[int] = ascending if self.is_range else array("i", ranks)
        here = -1 if self.rank is None else self.rank
        self.is_member = here in self.rank_map
        self.position = self.rank_map.index(here) if self.is_member else 0
        self.covers_world = not is_detached and self.size == dist.get_world_size()
        self.timeout = timeout
        self.dims: tuple[Dim, ...] = ()
        self.groups: list[Group] = []
        self.flattened: dict[str, DeviceMesh] = {}
        self.made: dict[Hashable, DeviceMesh] = {}
        self.elsewhere: weakref.WeakValueDictionary[tuple[tuple[Dim, ...], int], DeviceMesh] = (
            weakref.WeakValueDictionary()
        )
        self.places: dict[tuple[str | None, Axes], tuple[int, ...]] = {}
        self.factorised: dict[Hashable, tuple[Dim, ...]] = {}
        self.world = _no_world if is_detached else weakref.ref(_world())
        self.kind = (mesh.device_type, self.shape, mesh.mesh_dim_names, self._order())
        self.is_destroyed = False
        self.number: int | str | None = None
        self.token = secrets.token_hex(8)
        _roots[self] = None

    def settle(self, groups: Sequence[Group | None]) -> View:
        """Return the view of the root itself, now that the groups of its dims are known."""
        names = self.mesh.mesh_dim_names or (None,) * len(self.shape)
        self.dims = tuple(map(Dim, names, _layout.dims_of(self.shape), groups))
        self.places = {(dim.name, dim.axes): (index,) for index, dim in enumerate(self.dims)}
        return View(self, self.dims, self.mesh)

    def number_as_made_by(self, call: str) -> None:
        """Number the root among those of its kind, once all ranks have made it.

        What one rank alone looked at, or failed to make, must not count: the numbers of the
        ranks would shift against each other. *call* is the public function: each has a row of
        numbers of its own, so that `from_group`, which no rank waits in, cannot shift the rest.
        """
        world: Any = self.world()
        made = _made_in.setdefault(world, Counter())
        number = made[call, self.kind]
        made[call, self.kind] += 1
        self.number = number if call == "init_device_mesh" else f"{call} {number}"

    def count_of_kind(self) -> int:
        """Return how many roots of this kind all ranks made together, living or not."""
        world: Any = self.world()
        made = _made_in.get(world, Counter())
        return sum(count for (_, kind), count in made.items() if kind == self.kind)

    def tell_made(self, call: str, name: str, group: Group) -> None:
        """Say of a new group which one it is, once all ranks have made it.

        That is the public function, the mesh dim that it was made for, and which of those over
        the same partition: all ranks make them in one order.
        """
        if group.is_ours and group.made_as is None:
            alike = [
                known
                for known in self.groups
                if known.made_as is not None
                and known.made_as[:2] == (call, name)
                and known.partition == group.partition
            ]
            group.made_as = (call, name, len(alike))

    def meshes(self) -> list[DeviceMesh]:
        """Return every mesh of this root that somebody can have, the root mesh first."""
        found = [self.mesh, *self.flattened.values(), *self.made.values(), *self.elsewhere.values()]
        return list({id(mesh): mesh for mesh in found}.values())

    def end(self) -> None:
        """Let no mesh of this root be recalled or used any more; see `destroy_mesh`."""
        self.is_destroyed = True
        self.world = _no_world
        self.groups.clear()

    @property
    def is_alive(self) -> bool:
        """Whether the default process group is still the one that the root was made in.

        A detached root has none to lose.
        """
        world = dist.group.WORLD
        return self.is_detached or (world is not None and self.world() is world)

    @property
    def keeps_order(self) -> bool:
        """Whether groups list their ranks in the order of the root rather than ascending."""
        if self.is_range or not _eras.primitives().orders_groups():
            return False
        return any(after < before for before, after in itertools.pairwise(self.rank_map))

    def ranks_at(self, positions: Sequence[int]) -> list[int]:
        """Return the global ranks that stand at *positions*."""
        if self.is_range:
            return list(positions)
        return [self.rank_map[position] for position in positions]

    def partition(self, axes: Axes) -> Iterator[list[int]]:
        """Yield the global ranks of every group of a mesh dim: the same list on all ranks."""
        cosets = _layout.cosets(axes, self.size)
        return cosets if self.is_range else map(self.ranks_at, cosets)

    def own_parts(self, axes: Axes) -> Iterator[tuple[int, list[int]]]:
        """Yield what this rank asks torch for of `partition`, and how many groups it counts before.

        These are its own group and the last one that it is not in: see `meshcompat._eras.counting`.
        """
        count = self.size // _layout.size_of(axes)
        own = _layout.coset_number(axes, self.size, self.position) if self.is_member else -1
        last = count - 1 if own != count - 1 else count - 2
        before = -1
        for number in sorted({own, last} - {-1}):
            yield number - before - 1, self.ranks_at(_layout.coset_at(axes, self.size, number))
            before = number

    def positions_of(self, ranks: Sequence[int]) -> list[int] | None:
        """Return where global ranks stand, or None where one is not in the root."""
        if self.is_range:
            return list(ranks) if max(ranks) < self.size else None
        where = {rank: position for position, rank in enumerate(self.rank_map)}
        return [where[rank] for rank in ranks] if where.keys() >= set(ranks) else None

    def ranks_of(self, dims: Sequence[Axes], start: int) -> list[int]:
        """Return the ranks of the mesh of *dims* that begins at position *start*, row major."""
        offsets = _layout.offsets(axis for dim in dims for axis in dim)
        return self.ranks_at([start + offset for offset in offsets])

    def descends(self, axes: Axes) -> bool:
        """Return whether some group of a mesh dim would list its ranks out of order."""
        if self.is_range:
            return _layout.outermost_first(axes) != axes
        return any(ranks != sorted(ranks) for ranks in self.partition(axes))

    def _order(self) -> str | None:
        """Return what tells one order of ranks from another, in constant space."""
        if self.is_range:
            return None
        return hashlib.sha256(str(list(self.rank_map)).encode()).hexdigest()


class View:
    """What is known of one mesh."""

    __slots__ = ("__weakref__", "anchor", "dims", "elsewhere", "made", "root", "told")

    def __init__(
        self,
        root: Root,
        dims: tuple[Dim, ...],
        anchor: DeviceMesh,
        *,
        elsewhere: int | None = None,
    ) -> None:
        """*anchor* is the root that torch's own consumers see: from 2.10 it is the root.

        *elsewhere* is the position of the mesh's first rank where this rank, a member of the
        root, is not in the mesh.
        """
        self.root = root
        self.dims = dims
        self.anchor = anchor
        self.elsewhere = elsewhere
        self.made: dict[Hashable, DeviceMesh] = {}
        """Meshes that were made of this one, by what was asked for."""
        self.told: dict[Hashable, Any] = {}
        """Answers that are no meshes. A name that was found keeps its meaning, so both are kept as
        long as the mesh is; errors, which a later `flatten` can turn into answers, are not."""

    def reduce_mesh(self, protocol: int) -> tuple[Any, tuple[dict[str, Any]]]:  # noqa: ARG002
        """Say how to pickle and copy the mesh: as plain data, not with torch's private state."""
        # The one arrow upwards: reading back takes meshes, and they take views.
        from meshcompat._travel import from_plain, plain_data  # noqa: PLC0415

        return (from_plain, (plain_data.to_plain(self, in_process=True),))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the mesh dims that have one."""
        return tuple(dim.name for dim in self.dims if dim.name is not None)

    @property
    def layouts(self) -> tuple[Axes, ...]:
        """Axes of each mesh dim over the positions of the root."""
        return tuple(dim.axes for dim in self.dims)

    @property
    def ranks(self) -> list[int]:
        """Global ranks of the mesh, row major."""
        start = _layout.start_of(_layout.join(self.layouts), self.position)
        return self.root.ranks_of(self.layouts, start)

    @property
    def is_member(self) -> bool:
        """Whether this rank is in the mesh."""
        return self.root.is_member and self.elsewhere is None

    @property
    def position(self) -> int:
        """A position of the mesh: that of this rank, if it is in there."""
        return self.root.position if self.elsewhere is None else self.elsewhere


def detached_message() -> str:
    """Word the refusal of what a mesh without process groups cannot do."""
    return (
        "this mesh is detached: it was read where no root mesh like its own was, and has ranks, "
        "names, sizes and a coordinate, but no process groups; make its root with "
        "meshcompat.init_device_mesh before it is read"
    )


def refuse_detached(root: Root) -> None:
    """Refuse what takes process groups, on a root that has none.

    Raises:
        MeshLayoutError: The root is detached.
    """
    if root.is_detached:
        raise MeshLayoutError(detached_message())


def remember(mesh: DeviceMesh, view: View) -> View:
    """Keep *view* on *mesh*, which we made and which then travels as the view says."""
    mesh.__dict__[ATTRIBUTE] = view
    mesh.__dict__["__reduce_ex__"] = view.reduce_mesh
    return view


def remember_of_others(mesh: DeviceMesh, view: View) -> View:
    """Keep *view* on *mesh*, which somebody else made and which travels as it did before."""
    mesh.__dict__[ATTRIBUTE] = view
    mesh.__dict__["__getstate__"] = functools.partial(_state_of, weakref.ref(mesh))
    return view


def _state_of(mesh: weakref.ref[DeviceMesh]) -> dict[str, Any]:
    """Return what a pickle of a mesh holds without what we keep there."""
    found: Any = mesh()
    own = getattr(type(found), "__getstate__", None)  # Python has one for every object from 3.11 on
    state = vars(found) if own is None else own(found)
    return {key: value for key, value in state.items() if key not in {ATTRIBUTE, "__getstate__"}}


def live_roots() -> list[Root]:
    """Return the roots of this world that somebody still has."""
    return [root for root in _roots if root.dims and root.is_alive and not root.is_detached]


def recall_told(mesh: object, key: Hashable) -> Any:
    """Return the answer kept for *mesh* under *key*; None without one, and in another world."""
    try:
        view: View = view_on(mesh)
        answer = view.told[key]
        world = current_world()
    except (AttributeError, KeyError, TypeError):
        return None
    return answer if world is not None and view.root.world() is world else None


def remembered(mesh: object) -> View | None:
    """Return the view that *mesh* keeps, if it keeps one."""
    view = getattr(mesh, ATTRIBUTE, None)
    return view if isinstance(view, View) else None
