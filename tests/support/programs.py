"""Programs of mesh operations, generated once and run on every rank of a fake world.

Program number N is the same on every release and machine with the same hypothesis: programs come
in blocks, and the number of a block is the seed that hypothesis starts from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import meshcompat as mc
from meshcompat.testing import each_rank, recorded_groups
from tests.support.native_faults import of_a_thread
from tests.support.oracle import facts_of, seen
from tests.support.program_steps import (
    REFUSED,
    Concatenate,
    Expected,
    Flatten,
    GetAllSubmeshes,
    GetFlatMesh,
    GetGroup,
    GetRanks,
    GetSubmesh,
    InitDeviceMesh,
    LookUp,
    Step,
    Unflatten,
    WriteAndRead,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.enumeration import Mesh

BLOCK = 100
SHORTEST = 4
LONGEST = 12
LARGEST_WORLD = 64
NAMES = ("a", "b", "c", "d", "e")
NEW = ("n", "o", "p", "q")
NOWHERE = "nowhere"


@dataclass(frozen=True)
class Program:
    """Steps for every rank of a world."""

    world_size: int
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        """Return it in lines, as it would be typed."""
        lines = [f"in a world of {self.world_size}:"]
        for number, step in enumerate(self.steps):
            arguments = [f"{field.name}={getattr(step, field.name)!r}" for field in fields(step)]
            lines.append(f"  {number}: {type(step).__name__}({', '.join(arguments)})")
        return "\n".join(lines)

    def _repr_pretty_(self, printer, _):
        """Say the same where hypothesis prints it."""
        printer.text(repr(self))

    def without(self, number: int) -> Program | None:
        """Return it without a step, or None where another one needs its mesh."""
        if any(number in step.inputs for step in self.steps):
            return None
        left = [step for place, step in enumerate(self.steps) if place != number]
        return Program(self.world_size, tuple(step.renumbered(number) for step in left))


class Drawing:
    """A program in the making: what the oracle says there is to work on."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw
        self.world_size = 0
        self.steps: list[Step] = []
        self.meshes: list[Mesh | None] = []

    def one_of(self, options):
        return self.draw(st.sampled_from(options))

    def rarely(self) -> bool:
        return self.draw(st.integers(0, 9)) == 9

    def add(self, step: Step) -> None:
        expected = step.expect(self.meshes)
        self.steps.append(step)
        self.meshes.append(None if expected.errors else expected.commit())

    def mesh(self, at_least: int = 1) -> int:
        """Draw the number of a mesh, a late one more often, one of several dims if there is one."""
        numbers = [number for number, mesh in enumerate(self.meshes) if mesh is not None]
        large = [number for number in numbers if len(self.meshes[number].dims) >= at_least]
        return self.one_of([*(large or numbers), *(large or numbers)[-3:]])

    def name(self, number: int) -> str:
        """Draw a name to look up on a mesh."""
        mesh = self.meshes[number]
        known = [*mesh.names, *mesh.names, *mesh.root.flattened, *mesh.root.names]
        return NOWHERE if self.rarely() else self.one_of(known)

    def names(self, number: int) -> tuple[str, ...]:
        """Draw names to look up together; they often fit together."""
        mesh = self.meshes[number]
        if len(mesh.dims) > 1 and self.draw(st.booleans()):
            order = self.draw(st.permutations(mesh.names))
            return tuple(order[: self.draw(st.integers(1, len(order)))])
        count = self.draw(st.integers(1, 3))
        return tuple(self.name(number) for _ in range(count))

    def factors(self, size: int) -> tuple[int, ...]:
        """Draw sizes that multiply up to *size*; rarely to something else."""
        found = []
        while len(found) < 2 and (size > 1 or not found):
            found.append(self.one_of([part for part in range(1, size + 1) if size % part == 0]))
            size //= found[-1]
        found.append(size + 1 if self.rarely() else size)
        return tuple(found)


def draw_root(drawing: Drawing, world_size: int) -> InitDeviceMesh:
    most = drawing.one_of([size for size in (8, 1, 4, 12, 16, 8, 24, 32, 64) if size <= world_size])
    shape: list[int] = []
    for _ in range(drawing.one_of((3, 2, 4, 5, 1, 3))):
        room = most // math.prod(shape)
        shape.append(
            drawing.one_of([size for size in (2, 1, 3, 4, 5, 6, 8) if size <= room] or [1])
        )
    count = math.prod(shape)
    ranks = None
    if count < world_size or drawing.rarely():
        skipped = drawing.draw(
            st.lists(st.integers(0, world_size - 1), max_size=world_size - count, unique=True)
        )
        left = [rank for rank in range(world_size) if rank not in skipped][:count]
        ranks = tuple(left)
        order = drawing.draw(st.permutations(range(len(shape))))
        if drawing.draw(st.booleans()):
            ranks = tuple(permuted(shape, order, left))
    timeout = 60 if drawing.rarely() else None
    return InitDeviceMesh(tuple(shape), NAMES[: len(shape)], ranks, timeout, world_size)


def permuted(shape, order, ranks) -> list[int]:
    """Return *ranks* in another order of dims: they still ascend along every dim."""
    strides = {}
    stride = 1
    for axis in reversed(order):
        strides[axis] = stride
        stride *= shape[axis]
    places = [0]
    for axis, size in enumerate(shape):
        places = [place + step * strides[axis] for place in places for step in range(size)]
    return [ranks[place] for place in places]


def draw_step(drawing: Drawing) -> Step:
    kind = drawing.one_of(KINDS)
    if kind is InitDeviceMesh:
        return draw_root(drawing, drawing.world_size)
    number = drawing.mesh(2 if kind in {Flatten, GetSubmesh, GetGroup} else 1)
    return replace(draw_call(drawing, kind, number), in_thread=drawing.rarely())


def draw_call(drawing: Drawing, kind: Any, number: int) -> Step:
    """Draw the arguments of a call on a mesh."""
    if kind is Concatenate:
        return Concatenate((number, *draw_meshes_beside(drawing, number)))
    if kind is Flatten:
        return draw_flatten(drawing, number)
    if kind is Unflatten:
        return draw_unflatten(drawing, number)
    if kind is WriteAndRead:
        return kind(number)
    if kind in {GetSubmesh, GetGroup, GetRanks}:
        return kind(number, drawing.names(number))
    which = (drawing.draw(st.integers(0, 7)),) if kind is GetAllSubmeshes else ()
    return kind(number, drawing.name(number), *which)


def draw_meshes_beside(drawing: Drawing, number: int) -> list[int]:
    """Draw one or two meshes around the same ranks, or of another root."""
    first = drawing.meshes[number]
    alike = [
        other
        for other, mesh in enumerate(drawing.meshes)
        if mesh is not None
        and (mesh.root is not first.root or list(mesh.around) == list(first.around))
    ]
    return drawing.draw(st.lists(st.sampled_from(alike), min_size=1, max_size=2))


def draw_flatten(drawing: Drawing, number: int) -> Flatten:
    mesh = drawing.meshes[number]
    new = [None, f"{mesh.names[0]}_flat", *NEW]
    name = drawing.one_of([*new, *new, *mesh.root.flattened, *mesh.root.names])
    return Flatten(number, name, drawing.draw(st.booleans()))


def draw_unflatten(drawing: Drawing, number: int) -> Unflatten:
    mesh = drawing.meshes[number]
    index = drawing.draw(st.integers(0, len(mesh.dims) - 1))
    dim = mesh.dims[index]
    sizes = drawing.factors(dim.lines.size)
    names = tuple(drawing.draw(st.permutations([*NEW, *NEW, *NAMES]))[: len(sizes)])
    at = drawing.one_of([dim.name, index, index - len(mesh.dims)])
    if drawing.rarely():
        at = drawing.name(number)
    return Unflatten(number, at, sizes, names, drawing.draw(st.booleans()))


KINDS = (
    GetSubmesh, GetFlatMesh, Flatten, Unflatten, Concatenate, GetAllSubmeshes, GetGroup, GetRanks,
    LookUp, WriteAndRead, InitDeviceMesh,
    # more often:
    GetSubmesh, Flatten, Flatten, Unflatten, Unflatten,
)  # fmt: skip


@st.composite
def programs(draw) -> Program:
    """Draw a world and up to 12 operations on its meshes."""
    drawing = Drawing(draw)
    sizes = (8, 4, 1, 2, 6, 12, 16, 8, 9, 10, 16, 24, 27, 32, 48, LARGEST_WORLD)
    drawing.world_size = drawing.one_of(sizes)
    drawing.add(draw_root(drawing, drawing.world_size))
    while len(drawing.steps) < SHORTEST or (
        len(drawing.steps) < LONGEST and draw(st.integers(0, 19)) > 0
    ):
        drawing.add(draw_step(drawing))
    return Program(drawing.world_size, tuple(drawing.steps))


def check(program: Program) -> None:
    """Run a program on every rank, each compared with plain enumeration.

    Raises:
        AssertionError: Something is not right, or raised what it must not.
    """

    def where(number: int) -> str:
        return f"step {number} on rank {rank} of a program {program!r}"

    outcomes: list[Outcome] = []
    with recorded_groups() as records:
        for rank in each_rank(program.world_size):
            meshes: list[Any] = []
            for number, step in enumerate(program.steps):
                records.clear()
                result, raised = tried(step, meshes)
                if rank == 0:
                    outcomes.append(outcome(step, [known.mesh for known in outcomes], raised))
                known = outcomes[number]
                assert is_right(known, rank, result, raised), f"{raised!r}, {where(number)}"
                assert [record.ranks for record in records] == known.made, where(number)
                if known.mesh is not None and step.is_repeatable:
                    assert step.call(meshes) is result, where(number)
                meshes.append(None if known.mesh is None else result)
            roots: dict[int, Any] = {}
            for number, (mesh, known) in enumerate(zip(meshes, outcomes, strict=True)):
                if mesh is not None and known.mesh is not None:
                    expected = facts_of(known.mesh.seen_by(rank), known.mesh.names)
                    assert seen(mesh) == expected, f"in the end, {where(number)}"
                    root = roots.setdefault(id(known.mesh.root), mesh)
                    assert mc.get_root_mesh(mesh) is root, f"in the end, {where(number)}"


class Outcome(NamedTuple):
    """What came of a step on the first rank, and has to come of it on all."""

    expected: Expected
    errors: frozenset[type[Exception]]
    mesh: Mesh | None
    made: list[tuple[int, ...]]


SKIPPED = Outcome(Expected(), frozenset(), None, [])
"""Of a step whose meshes are not there, because an earlier step was refused."""


def tried(step: Step, meshes: list[Any]) -> tuple[Any, Exception | None]:
    """Return what a step gave, and what it raised."""
    if any(meshes[source] is None for source in step.inputs):
        return None, None
    try:
        return (of_a_thread(step.call, meshes) if step.in_thread else step.call(meshes)), None
    except mc.MeshCompatError as error:
        return None, error


def outcome(step: Step, meshes: list[Mesh | None], raised: Exception | None) -> Outcome:
    """Return what has to come of a step, where the release decides as it did on this rank."""
    if any(meshes[source] is None for source in step.inputs):
        return SKIPPED
    expected = step.expect(meshes)
    is_refused = expected.may_refuse and type(raised) in REFUSED
    errors = expected.errors or (REFUSED if is_refused else frozenset())
    if errors:
        # Where two things are wrong, the release-independent order of checks decides: one error.
        return Outcome(expected, errors & {type(raised)} or errors, None, [])
    made = [len(mesh.root.made) if mesh is not None else 0 for mesh in meshes]
    mesh = expected.commit()
    grown = {
        id(known.root): known.root.made[before:]
        for known, before in zip(meshes, made, strict=True)
        if known is not None
    }
    if mesh is not None:
        grown.setdefault(id(mesh.root), mesh.root.made)
    return Outcome(expected, errors, mesh, [ranks for groups in grown.values() for ranks in groups])


def is_right(known: Outcome, rank: int, result: object, raised: Exception | None) -> bool:
    """Return whether a rank got what it has to."""
    expected = known.expected
    if known.errors:
        return type(raised) in known.errors
    if expected.outside is not None and rank not in expected.outside.seen_by(rank):
        return type(raised) is mc.NotInMeshError
    return raised is None and (expected.told is None or result == expected.told(rank))


def shortened(program: Program, fails: Callable[[Program], bool]) -> Program:
    """Return the program without the steps that it fails without."""
    for number in reversed(range(1, len(program.steps))):
        shorter = program.without(number)
        if shorter is not None and fails(shorter):
            return shortened(shorter, fails)
    return program


def is_wrong(program: Program) -> bool:
    """Return whether a program fails."""
    try:
        check(program)
    except AssertionError:
        return True
    return False


def check_block(number: int, count: int = BLOCK) -> list[Program]:
    """Check the first programs of a block, all different, and return them.

    Raises:
        AssertionError: One is wrong; it is told as short as it can be.
    """
    checked: dict[Program, None] = {}
    wrong: list[Program] = []

    @seed(number)
    @settings(
        max_examples=3 * count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(programs())
    def check_one(program):
        if len(checked) < count and not wrong and program not in checked:
            checked[program] = None
            wrong.extend([program] if is_wrong(program) else [])

    check_one()
    for program in wrong:
        check(shortened(program, is_wrong))
    return list(checked)
