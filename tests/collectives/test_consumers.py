"""DTensor, checkpoints, torch.compile and the current mesh, on every kind of mesh of one root."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist

from tests.collectives.consumers import (
    chunk,
    make_root,
    place_in,
    ranks_of,
    torchs_own,
    wrong_ranks_of,
)
from tests.collectives.dtensors import dtensor_api
from tests.collectives.kinds import KINDS
from tests.collectives.sharding import (
    LOADED,
    SAVED,
    as_placements,
    is_right,
    made_of,
    matrix,
    read,
    walks,
    wanted_read,
    wanted_walks,
    written,
)

pytestmark = pytest.mark.multiprocess
MORE = pytest.mark.consumers


RIGHT = matrix(4, 8) % 7

# Here every release is asked; the other kinds are asked for by the marker.
ALWAYS = {
    (1, 2, 2, 2): (
        "submesh of a submesh",
        "composed",
        "composed, reversed",
        "dim of an unflattened mesh",
        "dims of an unflattened mesh, reversed",
    ),
    (2, 2, 2, 1): (
        "flattened, not neighbours",
        "composed, not neighbours",
        "unflattened",
        "dims of an unflattened mesh, flattened",
    ),
}


def without_unit_dims(shape):
    """Return the kinds that have no dim of size 1: there old releases of DTensor multiply wrong."""
    return [name for name in KINDS if 1 not in KINDS[name].meshes(ranks_of(shape))[0].shape]


def spell(shape):
    return "x".join(map(str, shape))


CASES = {spell(shape): (shape, kinds) for shape, kinds in ALWAYS.items()}
CASES |= {
    f"all others of {name}": (
        shape,
        tuple(kind for kind in without_unit_dims(shape) if kind not in kinds),
    )
    for name, (shape, kinds) in CASES.items()
}
BY_CASE = pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=[] if place < len(ALWAYS) else [MORE], id=name)
        for place, name in enumerate(CASES)
    ],
)


def products(make_meshes, left):
    """Multiply on each mesh: rows over its first mesh dim, columns over its last."""
    api = dtensor_api()
    found = []
    for mesh in make_meshes():
        others = [None] * (mesh.ndim - 1)
        rows = api.distribute_tensor(left, mesh, as_placements([0, *others]))
        columns = api.distribute_tensor(RIGHT, mesh, as_placements([*others, 1]))
        product = (rows @ columns).full_tensor()
        found.append([rows.to_local(), rows.full_tensor(), product])
    return found


def wanted_products(meshes, rank, left):
    index, coordinate = place_in(meshes, rank)
    rows = chunk(left, 0, meshes[index].shape[0], coordinate[0])
    return [rows, left, left @ RIGHT]


@BY_CASE
def test_dtensors_multiply_on_every_kind_of_mesh_as_one_process_does(pool, case):
    shape, kinds = CASES[case]
    left = matrix(8 * (1 + list(CASES).index(case)), 4)
    by_rank = pool.run(products, made_of(shape, kinds), left)
    assert is_right(by_rank, shape, kinds, wanted_products, left) == dict.fromkeys(kinds, True)


# No shard is empty: DTensor of old releases cannot pad what is empty in another dim.
@pytest.mark.parametrize(
    "missing", [pytest.param(0, marks=MORE, id="even"), pytest.param(1, id="uneven")]
)
@BY_CASE
def test_dtensors_redistribute_on_every_kind_of_mesh(pool, case, missing):
    shape, kinds = CASES[case]
    tensor = matrix(16 * (1 + list(CASES).index(case)) - missing, 16 - missing)
    by_rank = pool.run(walks, made_of(shape, kinds), tensor)
    assert is_right(by_rank, shape, kinds, wanted_walks, tensor) == dict.fromkeys(kinds, True)


def made_wrong(shape, kind):
    """Return how torch makes the mesh of a kind whose ranks stand in another order."""
    meshes = KINDS[kind].meshes(wrong_ranks_of(shape))
    return lambda: [torchs_own(meshes)]


@pytest.mark.parametrize(
    "kind", [pytest.param("dim of an unflattened mesh", marks=MORE), "composed"]
)
def test_dtensors_on_a_wrong_mesh_are_noticed(pool, kind):
    shape = (1, 2, 2, 2)
    left = matrix(40, 4)
    by_rank = pool.run(products, made_wrong(shape, kind), left)
    assert is_right(by_rank, shape, [kind], wanted_products, left) == {kind: False}


FILES_SHAPE = (1, 2, 2, 2)


@pytest.mark.parametrize(
    ("tensor", "is_wrong"),
    [
        pytest.param(matrix(15, 31), False, id="uneven"),
        pytest.param(matrix(48, 8), False, marks=MORE, id="even"),
        pytest.param(matrix(31, 31), True, id="a wrong mesh is noticed"),
    ],
)
def test_checkpoint_of_one_mesh_loads_on_another(pool, tmp_path, tensor, is_wrong):
    folder = str(tmp_path)
    pool.run(written, folder, tensor, made_of(FILES_SHAPE, [SAVED]))
    make = made_wrong if is_wrong else lambda shape, kind: made_of(shape, [kind])
    by_rank = pool.run(read, folder, tensor, make(FILES_SHAPE, LOADED))
    verdicts = is_right(by_rank, FILES_SHAPE, [LOADED], wanted_read, tensor)
    assert verdicts == {LOADED: not is_wrong}


def compiled(make_mesh, way):
    """Gather and scale the rows of two ranks in a compiled graph without a break."""
    api = dtensor_api()
    mesh = make_mesh()
    gather = [api.Replicate()]
    torch.compiler.reset()

    def closed_over(part):
        rows = api.DTensor.from_local(part, mesh, [api.Shard(0)], run_check=False)
        return rows.redistribute(mesh, gather).to_local() * 2

    def with_dtensor(rows):
        return rows.redistribute(rows.device_mesh, gather).to_local() * 2

    def with_mesh(part, mesh):
        rows = api.DTensor.from_local(part, mesh, [api.Shard(0)], run_check=False)
        return rows.redistribute(mesh, gather).to_local() * 2

    part = torch.full((2, 3), float(dist.get_rank()))
    rows = api.DTensor.from_local(part, mesh, [api.Shard(0)], run_check=False)
    ways: dict[str, tuple[Any, tuple[object, ...]]] = {
        "closed over": (closed_over, (part,)),
        "of a DTensor argument": (with_dtensor, (rows,)),
        "as an argument": (with_mesh, (part, mesh)),
    }
    function, arguments = ways[way]
    compiled_function = torch.compile(function, backend="aot_eager", fullgraph=True)
    return torch.as_tensor(compiled_function(*arguments))[::2, 0].tolist()


COMPILED = (1, 2, 2, 2)


FLAT_MESHES = KINDS["flattened neighbours"].meshes


@pytest.mark.parametrize(
    "way",
    [
        "closed over",
        pytest.param("of a DTensor argument", marks=MORE),
        pytest.param("as an argument", marks=MORE),
    ],
)
def test_compiled_functions_gather_over_the_ranks_of_a_mesh(pool, way):
    by_rank = pool.run(
        compiled, lambda: KINDS["flattened neighbours"].make(make_root(COMPILED)), way, timeout=200
    )
    meshes = FLAT_MESHES(ranks_of(COMPILED))
    assert by_rank == gathered(meshes)


def gathered(meshes):
    """Return what each rank has when each mesh gathered twice the number of each of its ranks."""
    return [[2.0 * int(other) for other in meshes[place_in(meshes, rank)[0]]] for rank in range(8)]


@MORE
def test_compiled_functions_over_a_wrong_mesh_are_noticed(pool):
    wrong = FLAT_MESHES(wrong_ranks_of(COMPILED))
    by_rank = pool.run(compiled, lambda: torchs_own(wrong), "closed over", timeout=200)
    assert by_rank != gathered(FLAT_MESHES(ranks_of(COMPILED)))


def in_context(make_meshes, tensor):
    """Distribute over the current mesh: it is named nowhere else."""
    api = dtensor_api()
    found = []
    for mesh in make_meshes():
        others = [None] * (mesh.ndim - 1)
        with mesh:
            rows = api.distribute_tensor(tensor, placements=as_placements([0, *others]))
        assert rows.device_mesh is mesh
        found.append([rows.to_local(), rows.full_tensor()])
    return found


def wanted_in_context(meshes, rank, tensor):
    return wanted_products(meshes, rank, tensor)[:2]


def test_a_mesh_is_the_current_one_inside_its_context(pool):
    ((shape, kinds), *_) = ALWAYS.items()
    tensor = matrix(56, 4)
    by_rank = pool.run(in_context, made_of(shape, kinds), tensor)
    assert is_right(by_rank, shape, kinds, wanted_in_context, tensor) == dict.fromkeys(kinds, True)


def test_a_wrong_current_mesh_is_noticed(pool):
    ((shape, (_, kind, *_)), *_) = ALWAYS.items()
    tensor = matrix(64, 4)
    by_rank = pool.run(in_context, made_wrong(shape, kind), tensor)
    assert is_right(by_rank, shape, [kind], wanted_in_context, tensor) == {kind: False}
