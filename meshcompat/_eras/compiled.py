"""What `torch.compile` does with our functions in the code that it traces.

If dynamo traced them, the graph would break at torch's own tables, or at what we keep on a mesh.
"""

from __future__ import annotations

import weakref
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.distributed.device_mesh import DeviceMesh

from meshcompat._eras.process_groups import current_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed import ProcessGroup

Function = TypeVar("Function", bound="Callable[..., Any]")


class _Kept:
    """Meshes and groups that compiled code asked for, kept as attributes, which dynamo can guard.

    They live as long as their world, or until a mesh is destroyed: the graph that asked for one may
    run at any time.
    """

    def __init__(self) -> None:
        self.world: weakref.ref[ProcessGroup] | None = None

    def keep(self, found: object) -> str:
        """Keep *found* and return the name of the attribute."""
        world = current_world()
        if world is not None and (self.world is None or self.world() is not world):
            vars(self).clear()
            self.world = weakref.ref(world)
        place = f"found_{id(found)}"
        setattr(self, place, found)
        return place


# torch: torch._C._dynamo.eval_frame.set_code_exec_strategy, new between 2.5 and 2.9
CAN_LEAVE_FRAMES = hasattr(torch._C._dynamo.eval_frame, "set_code_exec_strategy")

_kept = _Kept()
_answers = SimpleNamespace()
"""What compiled code calls in place of our functions."""


def forget() -> None:
    """Let compiled code ask anew for its meshes and groups: some of it may ask for what was destroyed."""
    # dynamo of 2.2 cannot do without an attribute that it guards.
    vars(_kept).update(dict.fromkeys(vars(_kept)))


def constant_when_compiled(function: Function) -> Function:
    """Let `torch.compile` call *function* while it traces, and take the answer for a constant."""
    return _traced_as(function, _constant(function))


def object_when_compiled(function: Function) -> Function:
    """Do the same for a function that returns meshes or groups.

    dynamo can neither guard a constant that is one, nor name it after a break in the graph. So it
    traces another function, which takes the object from where it is kept.
    """
    place_of = _constant(lambda *args, **kwargs: _kept.keep(function(*args, **kwargs)))
    return _traced_as(function, lambda *args, **kwargs: getattr(_kept, place_of(*args, **kwargs)))


def _leave_to_python(function: Callable[..., Any]) -> None:
    """Keep dynamo from tracing *function*, and what it calls, as frames of their own.

    It traces so what is called in a frame that it gave up on, and fails in what torch does for us.
    Older releases, 2.5 among them, have no such setting.
    """
    if CAN_LEAVE_FRAMES:
        frames: Any = torch._C._dynamo.eval_frame
        skip = frames._FrameAction.SKIP
        strategy = frames._FrameExecStrategy(skip, skip)
        frames.set_code_exec_strategy(function.__code__, strategy)


_leave_to_python(_leave_to_python)


def _constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that dynamo calls while it traces, for a constant."""

    def constant(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    marked: Any = constant
    # torch: torch.compiler.assume_constant_result sets this and no more, since before 2.2; to call
    # it is to import dynamo, which takes seconds
    marked._dynamo_marked_constant = True
    return constant


def _traced_as(function: Function, answer: Callable[..., Any]) -> Function:
    """Let dynamo trace a call of *answer* in place of *function*."""
    place = f"answer_{len(vars(_answers))}"
    setattr(_answers, place, answer)
    code = _traced.__code__
    consts = tuple(place if const == "place" else const for const in code.co_consts)
    inlined: Any = function
    # torch: UserFunctionVariable traces this function instead, since before 2.2. 2.5 takes what it
    # closes over from the function itself, so it closes over nothing
    _leave_to_python(function)
    inlined._torchdynamo_inline = FunctionType(code.replace(co_consts=consts), globals())
    return function


def _traced(*args: Any, **kwargs: Any) -> Any:
    """Answer for the very meshes that it is traced with; "place" stands for that of the answer."""
    from torch._dynamo.comptime import comptime  # noqa: PLC0415  (who traces has imported dynamo)

    comptime(_guard_meshes)
    return getattr(_answers, "place")(*args, **kwargs)  # noqa: B009  (it is replaced)


def _guard_meshes(context: Any) -> None:
    """Have dynamo guard the meshes among the arguments of a traced call by identity.

    By itself it guards them by equality, up to 2.10 at least: an equal mesh of another root, or of
    a later world, would get the constants of the first.
    """
    from torch._dynamo.guards import GuardBuilder, install_guard  # noqa: PLC0415

    places = [context.get_local(name) for name in ("args", "kwargs")]
    args, kwargs = (
        place._i_will_not_complain_if_bc_breaks_VariableTracker().items for place in places
    )
    for argument in (*args, *kwargs.values()):
        given = argument.realize()
        if given.source is not None and isinstance(getattr(given, "value", None), DeviceMesh):
            install_guard(given.source.make_guard(GuardBuilder.ID_MATCH))
