"""What `torch.compile` does with our functions in the code that it traces.

If dynamo traced them, the graph would break at torch's own tables, or at what we keep on a mesh.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from torch.distributed.device_mesh import DeviceMesh

from meshcompat._eras.process_groups import current_world

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.distributed import ProcessGroup

Function = TypeVar("Function", bound="Callable[..., Any]")


class _Kept:
    """Meshes and groups that compiled code asked for, kept as attributes, which dynamo can guard.

    They live as long as their world: the graph that asked for one may run at any time.
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


_kept = _Kept()


def constant_when_compiled(function: Function) -> Function:
    """Let `torch.compile` call *function* while it traces, and take the answer for a constant."""
    marked: Any = function
    # torch: torch.compiler.assume_constant_result sets this and no more, since before 2.2; to call
    # it is to import dynamo, which takes seconds
    marked._dynamo_marked_constant = True
    return function


def object_when_compiled(function: Function) -> Function:
    """Do the same for a function that returns meshes or groups.

    From 2.10 on dynamo can neither guard a constant that is one, nor name it after a break in the
    graph. So it traces another function, which takes the object from where it is kept.
    """
    # torch: DeviceMesh._get_root_mesh, since 2.10 - pytorch#164510; before, a constant serves
    if not hasattr(DeviceMesh, "_get_root_mesh"):
        return constant_when_compiled(function)

    @constant_when_compiled
    def place_of(*args: Any, **kwargs: Any) -> str:
        return _kept.keep(function(*args, **kwargs))

    def traced(*args: Any, **kwargs: Any) -> Any:
        return getattr(_kept, place_of(*args, **kwargs))

    inlined: Any = function
    # torch: UserFunctionVariable traces this function instead, since before 2.2
    inlined._torchdynamo_inline = traced
    return function
