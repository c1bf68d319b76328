"""The steps of generated programs: each knows its call, and what has to come of it on every rank.

A step names meshes by the number of the step that gave them. What has to come of it is told by
`tests.support.enumeration` alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch.distributed as dist

import meshcompat as mc
from meshcompat import _eras
from tests.support.enumeration import Dim, Lines, Mesh, Root, join, split, tile, walk

Meshes = Sequence["Mesh | None"]


class Expected(NamedTuple):
    """What has to come of a step."""

    errors: frozenset[type[Exception]] = frozenset()
    """Errors of which it raises one, on every rank."""
    may_refuse: bool = False
    """Whether it depends on the release if it raises: on whether torch sorts the ranks of a group."""
    commit: Callable[[], Mesh | None] = lambda: None
    """Writes into the root what the step has done where it did not raise, and gives its mesh."""
    told: Callable[[int], object] | None = None
    """What the call returns on a rank, where it returns no mesh."""
    outside: Mesh | None = None
    """The mesh outside of which a rank gets a NotInMeshError, having taken part."""


REFUSED = frozenset({mc.MeshLayoutError})
UNKNOWN = frozenset({mc.MeshDimError})


@dataclass(frozen=True)
class Step:
    """A call of meshcompat."""

    in_thread: bool = field(default=False, kw_only=True)
    is_repeatable = True
    """Whether the same call gives the same mesh again."""

    def call(self, meshes):
        raise NotImplementedError

    def expect(self, meshes: Meshes) -> Expected:
        raise NotImplementedError

    @property
    def inputs(self) -> tuple[int, ...]:
        """Numbers of the steps whose meshes it needs."""
        return (self.mesh,) if hasattr(self, "mesh") else ()

    def renumbered(self, gone: int) -> Step:
        """Return the same step after one that it does not need has gone."""
        if not hasattr(self, "mesh"):
            return self
        # Those that have one have it as a field.
        return replace(self, mesh=self.mesh - (self.mesh > gone))  # type: ignore[call-arg]


@dataclass(frozen=True)
class InitDeviceMesh(Step):
    shape: tuple[int, ...]
    names: tuple[str, ...]
    ranks: tuple[int, ...] | None
    timeout: int | None
    world_size: int
    is_repeatable = False

    def call(self, _):
        return mc.init_device_mesh(
            "cpu", self.shape, mesh_dim_names=self.names, ranks=self.ranks, timeout=self.timeout
        )

    def expect(self, _) -> Expected:
        ranks = range(self.world_size) if self.ranks is None else self.ranks
        has_timeout = self.timeout is not None
        return Expected(
            commit=lambda: Root(
                self.shape,
                self.names,
                ranks,
                self.world_size,
                has_timeout=has_timeout,
                sorts_groups=not _eras.primitives().orders_groups(),
            ).mesh()
        )


@dataclass(frozen=True)
class GetSubmesh(Step):
    mesh: int
    names: tuple[str, ...]

    def call(self, meshes):
        return mc.get_submesh(meshes[self.mesh], self.names)

    def expect(self, meshes: Meshes) -> Expected:
        mesh = meshes[self.mesh]
        dims, errors = picked(mesh, self.names)
        return Expected(errors, commit=lambda: mesh.with_dims(*dims))


@dataclass(frozen=True)
class GetFlatMesh(Step):
    mesh: int
    name: str

    def call(self, meshes):
        return mc.get_flat_mesh(meshes[self.mesh], self.name)

    def expect(self, meshes: Meshes) -> Expected:
        return GetSubmesh(self.mesh, (self.name,)).expect(meshes)


@dataclass(frozen=True)
class Flatten(Step):
    mesh: int
    name: str | None
    share_groups: bool

    def call(self, meshes):
        return mc.flatten(meshes[self.mesh], self.name, share_groups=self.share_groups)

    def expect(self, meshes: Meshes) -> Expected:
        return flattened(meshes[self.mesh], self.name, share=self.share_groups)


@dataclass(frozen=True)
class Unflatten(Step):
    mesh: int
    dim: int | str
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    share_groups: bool

    def call(self, meshes):
        return mc.unflatten(
            meshes[self.mesh], self.dim, self.sizes, self.names, share_groups=self.share_groups
        )

    def expect(self, meshes: Meshes) -> Expected:
        mesh = meshes[self.mesh]
        if isinstance(self.dim, int):
            index = self.dim
        elif self.dim in mesh.names:
            index = mesh.names.index(self.dim)
        else:
            return Expected(UNKNOWN)
        if not -len(mesh.dims) <= index < len(mesh.dims):
            return Expected(UNKNOWN)
        index %= len(mesh.dims)
        old = mesh.dims[index]
        beside = [dim.name for dim in mesh.dims if dim is not old]
        parts = None
        if int(np.prod(self.sizes)) == old.lines.size:
            parts = split(old.lines, self.sizes)
        if parts is None or len({*beside, *self.names}) < len(beside) + len(self.names):
            return Expected(REFUSED)
        must, may = refusals(mesh.root, parts)

        def commit() -> Mesh:
            key = (mesh.dims, index, self.sizes, self.names, self.share_groups)
            known = mesh.root.factorised
            if key not in known:
                known[key] = tuple(
                    mesh.root.dim(name, part, share=self.share_groups)
                    for name, part in zip(self.names, parts, strict=True)
                )
                for number, part in enumerate(known[key]):
                    mesh.root.keep_place(part, (*mesh.root.place_of(old), number))
            dims = (*mesh.dims[:index], *known[key], *mesh.dims[index + 1 :])
            return mesh.with_dims(*dims)

        return Expected(REFUSED if must else frozenset(), may, commit)


@dataclass(frozen=True)
class Concatenate(Step):
    meshes: tuple[int, ...]

    @property
    def inputs(self) -> tuple[int, ...]:
        return self.meshes

    def renumbered(self, gone: int) -> Concatenate:
        return replace(self, meshes=tuple(number - (number > gone) for number in self.meshes))

    def call(self, meshes):
        return mc.concatenate([meshes[number] for number in self.meshes])

    def expect(self, meshes: Meshes) -> Expected:
        parts = [meshes[number] for number in self.meshes]
        dims = tuple(dim for part in parts for dim in part.dims)
        names = [dim.name for dim in dims]
        if any(part.root is not parts[0].root for part in parts) or len(set(names)) < len(names):
            return Expected(REFUSED)
        if not tile([dim.lines for dim in dims]):
            return Expected(REFUSED)
        return Expected(commit=lambda: parts[0].with_dims(*dims))


@dataclass(frozen=True)
class GetAllSubmeshes(Step):
    mesh: int
    name: str
    which: int
    """Number of the mesh that is kept, counted round."""

    def call(self, meshes):
        submeshes = mc.get_all_submeshes(meshes[self.mesh], self.name)
        return submeshes[self.which % len(submeshes)]

    def expect(self, meshes: Meshes) -> Expected:
        mesh = meshes[self.mesh]
        dim = mesh.find(self.name)
        if dim is None:
            return Expected(UNKNOWN)
        around = []
        for start in mesh.around:
            # In the order in which the mesh lists their first ranks.
            inside = walk(mesh.lines, start).flatten().tolist()
            firsts = dim.lines.through(np.array(inside))[:, 0].tolist()
            if not set(dim.lines.through(np.array(inside)).flatten().tolist()) <= set(inside):
                return Expected(UNKNOWN)
            starts = sorted(set(firsts), key=inside.index)
            around.append(starts[self.which % len(starts)])
        return Expected(commit=lambda: mesh._replace(around=np.array(around)).with_dims(dim))


@dataclass(frozen=True)
class GetGroup(Step):
    mesh: int
    names: tuple[str, ...]

    def call(self, meshes):
        return dist.get_process_group_ranks(mc.get_group(meshes[self.mesh], self.names))

    def expect(self, meshes: Meshes) -> Expected:
        mesh = meshes[self.mesh]
        dims, errors = picked(mesh, self.names)
        if len(dims) == 1 or errors:
            return Expected(
                errors, told=lambda rank: mesh.with_dims(*dims).seen_by(rank).tolist(), outside=mesh
            )
        root = mesh.root
        dims = tuple(sorted(dims, key=lambda dim: (root.place_of(dim), dim.name)))
        name = "_".join(dim.name for dim in dims)
        lines = Lines(np.sort(join([dim.lines for dim in dims]).rows, axis=1))

        def told(rank: int) -> object:
            positions = np.sort(mesh.with_dims(*dims).positions_seen_by(rank), axis=None)
            return list(root.in_group(positions.tolist()))

        def commit() -> None:
            known = root.flattened.get(name)
            if known is not None and known.lines == lines:
                return
            dim = root.dim(name, lines, share=True)
            is_taken = known is not None or name in {*mesh.names, *root.names}
            if not is_taken and all(
                root.in_group(row) == tuple(root.ranks[row].tolist()) for row in lines.rows
            ):
                root.keep_place(dim, min(map(root.place_of, dims)))
                root.flattened[name] = dim

        return Expected(commit=commit, told=told, outside=mesh)


@dataclass(frozen=True)
class GetRanks(Step):
    mesh: int
    names: tuple[str, ...]

    def call(self, meshes):
        ranks = mc.get_ranks(meshes[self.mesh], self.names)
        # Of several dims in the order of their group, which depends on the release.
        return ranks if len(self.names) == 1 else sorted(ranks)

    def expect(self, meshes: Meshes) -> Expected:
        mesh = meshes[self.mesh]
        dims, errors = picked(mesh, self.names)

        def told(rank: int) -> object:
            ranks = mesh.with_dims(*dims).seen_by(rank).flatten().tolist()
            return ranks if len(dims) == 1 else sorted(ranks)

        return Expected(errors, told=told)


@dataclass(frozen=True)
class LookUp(Step):
    mesh: int
    name: str

    def call(self, meshes):
        mesh = meshes[self.mesh]
        flat = mc.get_flattened_meshes(mesh)
        return (
            mc.has_axis(mesh, self.name),
            mc.get_axis_size(mesh, self.name, None),
            mc.get_axis_names(mesh),
            mc.get_axis_names(mesh, flattened=False),
            {name: mesh.mesh.flatten().tolist() for name, mesh in flat.items()},
        )

    def expect(self, meshes: Meshes) -> Expected:
        mesh = meshes[self.mesh]
        root = mesh.root
        dim = mesh.find(self.name)
        native = [*root.names]
        native += [name for name in mesh.names if name not in {*native, *root.flattened}]
        flat = {name: root.mesh().with_dims(dim) for name, dim in root.flattened.items()}

        def told(rank: int) -> object:
            return (
                dim is not None,
                None if dim is None else dim.lines.size,
                (*native, *flat),
                tuple(native),
                {name: mesh.seen_by(rank).tolist() for name, mesh in flat.items()},
            )

        return Expected(told=told)


@dataclass(frozen=True)
class WriteAndRead(Step):
    mesh: int

    def call(self, meshes):
        written = json.dumps(mc.mesh_to_dict(meshes[self.mesh]))
        return mc.mesh_from_dict(json.loads(written))

    def expect(self, meshes: Meshes) -> Expected:
        return Expected(commit=lambda: meshes[self.mesh])


def picked(mesh: Mesh, names: Sequence[str]) -> tuple[tuple[Dim, ...], frozenset[type[Exception]]]:
    """Return the dims of these names, or the errors that there may be."""
    found = [mesh.find(name) for name in names]
    dims = tuple(dim for dim in found if dim is not None)
    errors = set()
    if len(dims) < len(found):
        errors |= UNKNOWN
    if len(set(names)) < len(names):
        errors |= REFUSED
    if not errors and not tile([dim.lines for dim in dims]):
        errors |= REFUSED
    return dims, frozenset(errors)


def flattened(mesh: Mesh, wanted: str | None, *, share: bool) -> Expected:
    root = mesh.root
    name = "_".join(mesh.names) if wanted is None else wanted
    if mesh.names == (name,):
        return Expected(commit=lambda: mesh)
    if name in {*mesh.names, *root.names}:
        return Expected(REFUSED)
    lines = join(mesh.lines)
    known = root.flattened.get(name)
    if known is not None:
        errors = frozenset() if known.lines == lines else REFUSED
        return Expected(errors, commit=lambda: mesh.with_dims(known))
    must, may = refusals(root, [lines])

    def commit() -> Mesh:
        root.flattened[name] = root.dim(name, lines, share=share)
        root.keep_place(root.flattened[name], min(map(root.place_of, mesh.dims)))
        return mesh.with_dims(root.flattened[name])

    return Expected(REFUSED if must else frozenset(), may, commit)


def refusals(root: Root, dims: Sequence[Lines]) -> tuple[bool, bool]:
    """Return whether groups over these dims must be refused, and whether they may be.

    Where torch sorts the ranks of a group, ranks have to ascend along its dim; elsewhere, they
    have to stand in the order of the root.
    """
    ranks_ascend = all((np.diff(root.ranks[lines.rows], axis=1) > 0).all() for lines in dims)
    follows_root = all((np.diff(lines.rows, axis=1) > 0).all() for lines in dims)
    return not (ranks_ascend or follows_root), ranks_ascend != follows_root
