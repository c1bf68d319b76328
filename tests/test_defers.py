"""Where torch does it right, our result is torch's result.

A case that this torch does not have, or refuses, is skipped with the name of what is missing.
The faults, where torch gives a wrong answer, are in `native_faults`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

import meshcompat as mc
from meshcompat.testing import each_rank, fake_world
from tests.support import native
from tests.support.native_faults import of_a_thread

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("pp", "dp", "tp")
SHAPES = [(2, 2, 2), (4, 1, 2), (1, 8, 1), (2, 4, 1)]


class Case(NamedTuple):
    """The same question for torch and for us."""

    label: str
    torch: Callable[[DeviceMesh], DeviceMesh]
    ours: Callable[[DeviceMesh], DeviceMesh]


def selected(*names: str) -> Case:
    asked = names[0] if len(names) == 1 else names
    return Case(
        f"select {' '.join(names)}",
        lambda mesh: native.pick(mesh, asked),
        lambda mesh: mc.get_submesh(mesh, asked),
    )


def flattened(*names: str) -> Case:
    def by_torch(mesh: DeviceMesh) -> DeviceMesh:
        native.require("_flatten")
        return native.flatten(native.pick(mesh, names), "flat")

    return Case(
        f"flatten {' '.join(names)}",
        by_torch,
        lambda mesh: mc.flatten(mc.get_submesh(mesh, names), "flat"),
    )


def unflattened(index: int, size: Callable[[DeviceMesh], tuple[int, ...]]) -> Case:
    return Case(
        f"unflatten {index}",
        lambda mesh: native.unflatten(mesh, index, size(mesh), ("a", "b")),
        lambda mesh: mc.unflatten(mesh, index, size(mesh), ("a", "b")),
    )


def concatenated(*parts: str) -> Case:
    return Case(
        f"concatenate {' '.join(parts)}",
        lambda mesh: native.concatenate([native.pick(mesh, part) for part in parts]),
        lambda mesh: mc.concatenate([mc.get_submesh(mesh, part) for part in parts]),
    )


SELECTIONS = [
    *(selected(name) for name in NAMES),
    selected("pp", "dp"),
    selected("dp", "tp"),
    selected("pp", "tp"),
    selected(*NAMES),
    selected("tp", "pp"),
]
AGAIN = Case(
    "select of a selection",
    lambda mesh: native.pick(native.pick(mesh, ("pp", "dp")), "dp"),
    lambda mesh: mc.get_submesh(mc.get_submesh(mesh, ("pp", "dp")), "dp"),
)
ROOT = Case(
    "root of a selection",
    lambda mesh: native.root(native.pick(mesh, "dp")),
    lambda mesh: mc.get_root_mesh(mc.get_submesh(mesh, "dp")),
)
CASES = [
    *SELECTIONS,
    AGAIN,
    ROOT,
    flattened("pp", "dp"),
    flattened("dp", "tp"),
    flattened("pp", "tp"),
    flattened(*NAMES),
    unflattened(0, lambda mesh: (mesh.size(0), 1)),
    unflattened(1, lambda mesh: (1, mesh.size(1))),
    unflattened(2, lambda mesh: (mesh.size(2), 1)),
    concatenated("pp", "dp"),
    concatenated("pp", "tp"),
    concatenated("tp", "pp"),
    concatenated("dp", "tp", "pp"),
]

EXCEPTIONS: dict[str, str] = {}
"""Labels of cases in which we differ from a right answer of torch, with the reason."""


def asked_of_torch(call: Callable[[], Any]) -> Any:
    """Return torch's own answer, or skip where this torch has none."""
    try:
        return call()
    except native.Absent as missing:
        pytest.skip(str(missing))
    except (KeyError, RuntimeError, ValueError) as error:
        pytest.skip(f"torch refuses it: {type(error).__name__}: {str(error)[:150]}")


def described(mesh: DeviceMesh) -> dict[str, object]:
    dims = range(mesh.mesh.ndim)
    coordinate = mesh.get_coordinate()
    return {
        "ranks": mesh.mesh.tolist(),
        "names": mesh.mesh_dim_names,
        "device": mesh.device_type,
        "groups": [native.ranks_of(mesh, dim) for dim in dims],
        "local ranks": [mesh.get_local_rank(dim) for dim in dims],
        "coordinate": None if coordinate is None else list(coordinate),
    }


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=[case.label for case in CASES])
def test_result_is_that_of_torch_on_every_rank(case, shape):
    if case.label in EXCEPTIONS:
        pytest.skip(EXCEPTIONS[case.label])
    answers, ours = [], []

    def ask_torch() -> None:
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=NAMES)
        answers.append(asked_of_torch(lambda: described(case.torch(mesh))))

    def ask_us() -> None:
        mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=NAMES)
        ours.append(described(case.ours(mesh)))

    for _ in each_rank(8):
        # Up to 2.9 torch mixes up equal meshes of one thread, also of worlds that are gone.
        error = of_a_thread(outcome_of, ask_torch)
        if error is not None:
            raise error
        ask_us()

    assert ours == answers


def outcome_of(call: Callable[[], None]) -> BaseException | None:
    """Return what a call raises: skips, too, are to be raised in the thread of the test."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001  (raised again by the caller)
        return error
    return None


@pytest.fixture(params=[0, 5], ids=["rank 0", "rank 5"])
def native_mesh(request):
    with fake_world(8, request.param):
        yield init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)


@pytest.mark.parametrize("case", [*SELECTIONS, AGAIN], ids=lambda case: case.label)
def test_selection_equals_and_hashes_as_two_slices_of_torch_do(case, native_mesh):
    one, two = asked_of_torch(lambda: (case.torch(native_mesh), case.torch(native_mesh)))

    ours = case.ours(native_mesh)

    assert (ours == one) == (two == one)
    if two is not one and hash(two) == hash(one):
        assert hash(ours) == hash(one)


@pytest.mark.parametrize("names", [("pp",), ("dp",), ("pp", "dp"), ("dp", "tp")], ids=str)
def test_slice_by_torch_of_our_root_is_our_submesh(names):
    with fake_world(8, 5):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=NAMES)
        asked = names[0] if len(names) == 1 else names

        sliced = asked_of_torch(lambda: native.pick(mesh, asked))

        assert described(sliced) == described(mc.get_submesh(mesh, names))
        assert mc.get_root_mesh(sliced) is mesh


@pytest.mark.parametrize("name", NAMES)
def test_group_of_a_mesh_of_torch_is_the_very_group_of_torch(name, native_mesh):
    own = mc.get_flat_mesh(native_mesh, name).get_group()

    assert mc.get_group(native_mesh, name) is native_mesh.get_group(NAMES.index(name))
    assert (own[0] if isinstance(own, list) else own) is mc.get_group(native_mesh, name)


def test_root_of_a_slice_of_torch_is_its_root(native_mesh):
    for name in NAMES:
        assert mc.get_root_mesh(native.pick(native_mesh, name)) is native_mesh


@pytest.mark.parametrize("names", [("pp", "dp"), ("dp", "tp"), ("pp", "tp"), NAMES], ids=str)
def test_flattened_mesh_of_torch_is_found_by_name(names, native_mesh):
    # A name of its own: up to 2.9 torch hands out what an equal mesh flattened to that name.
    name = f"flat {'_'.join(names)} on rank {dist.get_rank()}"
    flat = asked_of_torch(lambda: native.flatten(native.pick(native_mesh, names), name))

    assert mc.get_flat_mesh(native_mesh, name) is flat
    assert mc.flatten(mc.get_submesh(native_mesh, names), name) is flat
    assert mc.get_flattened_meshes(native_mesh)[name] is flat
    assert mc.get_root_mesh(flat) is native_mesh
    assert mc.has_axis(native.pick(native_mesh, "tp"), name)


def test_mesh_of_torch_from_a_group_is_taken_as_it_is():
    with fake_world(8, 5):
        group = mc.get_group(mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("a", "b")), "b")

        mesh = asked_of_torch(lambda: native.from_group(group, "cpu", mesh_dim_names=("b",)))

        assert mc.get_root_mesh(mesh) is mesh
        assert mc.get_group(mesh, "b") is group
        assert described(mc.from_group(group, "cpu", mesh_dim_names=("b",))) == described(mesh)


def test_mesh_over_the_world_has_the_default_group_as_in_torch():
    with fake_world(8):
        ours = mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",))
        torchs = init_device_mesh("cpu", (8,), mesh_dim_names=("dp",))

        assert mc.get_group(torchs, "dp") is mc.get_group(ours, "dp") is dist.group.WORLD
        assert described(ours) == described(torchs)


def test_result_is_always_a_plain_mesh_of_torch(native_mesh):
    for case in CASES:
        try:
            made = case.ours(native_mesh)
        except mc.MeshLayoutError:
            continue  # a case may have taken the name of another
        assert type(made) is DeviceMesh
