"""The only tensors that meshcompat makes or reads: ranks, whatever modes the caller is in.

Everything else about a mesh is arithmetic on integers. torch's own constructors of meshes and
groups use tensors too, so they are called here as well, or inside `plain_torch`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.utils import _python_dispatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Leave the caller's default device, inference mode, transforms and modes in the block.

    So what is made here is real and can be used anywhere, also where the caller is in a
    `FakeTensorMode` or makes a model on the meta device.
    """
    with (
        torch.inference_mode(mode=False),
        # torch: torch._C.DisableTorchFunction, since before 2.2; default devices are such a mode
        torch._C.DisableTorchFunction(),
        # torch: torch._C._DisableFuncTorch, since before 2.2; transforms such as torch.func.grad
        torch._C._DisableFuncTorch(),
        # torch: torch.utils._python_dispatch._disable_current_modes, since before 2.2
        _python_dispatch._disable_current_modes(),
    ):
        yield


def mesh_over(
    device_type: str, ranks: Sequence[int], shape: Sequence[int], **options: Any
) -> DeviceMesh:
    """Return torch's mesh of this shape over *ranks*, given row major."""
    with plain_torch():
        if isinstance(ranks, range):
            ends = ranks.start, ranks.stop, ranks.step
            tensor = torch.arange(*ends, dtype=torch.int, device="cpu")
        else:
            tensor = torch.tensor(ranks, dtype=torch.int, device="cpu")
        return DeviceMesh(device_type, tensor.reshape(tuple(shape)), **options)


def mesh_of_layout(device_type: str, **options: Any) -> DeviceMesh:
    """Return torch's mesh of a layout over a rank map that is there."""
    with plain_torch():
        return DeviceMesh(device_type, **options)


def shape_and_ranks(mesh: DeviceMesh) -> tuple[tuple[int, ...], list[int]]:
    """Return the shape and the ranks of a mesh, row major."""
    with plain_torch():
        return _read(mesh.mesh)


def coordinate_in(mesh: DeviceMesh, rank: int | None) -> list[int] | None:
    """Return where *rank* stands in a mesh, None where it does not."""
    with plain_torch():
        places: list[list[int]] = (mesh.mesh == (-1 if rank is None else rank)).nonzero().tolist()
    return places[0] if places else None


def read_numbers(numbers: object) -> tuple[tuple[int, ...], list[Any]]:
    """Return the shape and the numbers of a tensor or a nested list, row major.

    Raises:
        TypeError, ValueError, RuntimeError, OverflowError: It is none.
    """
    with plain_torch():
        return _read(torch.as_tensor(numbers, device="cpu"))


def _read(tensor: torch.Tensor) -> tuple[tuple[int, ...], list[Any]]:
    return tuple(tensor.shape), tensor.flatten().tolist()
