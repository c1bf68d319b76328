"""What `torch.compile` does with our functions in the code that it traces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., Any]")


def constant_when_compiled(function: Function) -> Function:
    """Let `torch.compile` call *function* while it traces, and take the answer for a constant.

    Traced itself, it would end the graph at torch's own tables, or at what a mesh keeps of ours.
    """
    marked: Any = function
    # torch: torch.compiler.assume_constant_result sets this and no more, since before 2.2; to call
    # it is to import dynamo, which takes seconds
    marked._dynamo_marked_constant = True
    return function
