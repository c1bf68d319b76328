"""What a pickle of a mesh names, and how `torch.load` comes to allow it. No torch is imported here.

Here belong meshes that travel: as plain data, in pickles, and to processes that have no root mesh
like theirs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from torch.distributed.device_mesh import DeviceMesh

READS_FILES = "torch.serialization"


def from_plain(data: object) -> DeviceMesh:
    """Return the mesh that a pickle holds; files name this function, so it has to stay here.

    Raises:
        MeshLayoutError: *data* is no mesh, or which root it belongs to cannot be told.
    """
    from meshcompat._travel.plain_data import read  # noqa: PLC0415  (it imports torch)

    return read(data, detached=True)


def let_torch_load_read_meshes() -> None:
    """Put `from_plain` among what `torch.load` reads by default, now or as soon as torch is there."""
    if READS_FILES in sys.modules:
        _allow(sys.modules[READS_FILES])
    else:
        # That it finds specs is all that is asked of it, and importlib.abc takes time to import.
        sys.meta_path.insert(0, _WhenTorchComes())


def _allow(serialization: ModuleType) -> None:
    # torch.load(weights_only=True) reads what is allowed by name since 2.4; before that it cannot.
    if hasattr(serialization, "add_safe_globals"):
        serialization.add_safe_globals([from_plain])


class _WhenTorchComes:
    """Waits until torch's module that reads files is imported, so that we need not import it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != READS_FILES:
            return None
        sys.meta_path.remove(self)
        found = (finder.find_spec(fullname, path, target) for finder in sys.meta_path)
        spec = next(filter(None, found), None)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                _allow(module)

            loader.exec_module = exec_module
        return spec
