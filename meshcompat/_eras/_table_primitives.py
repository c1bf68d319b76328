"""What the eras up to 2.9 provide beside the primitives that every era has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from meshcompat._eras._primitives import Primitives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.distributed.device_mesh import DeviceMesh


class TablePrimitives(Primitives, Protocol):
    """torch has tables of roots, one set for each thread.

    Only `meshcompat._mesh.tables` asks.
    """

    def is_thread_local(self) -> bool:
        """Return whether torch forgets roots and flattened names in another thread."""

    def publishes_flattened(self) -> bool:
        """Return whether a flattened mesh belongs into torch's own registry by default."""

    def wants_innermost(self) -> bool:
        """Return whether TP takes only the last dim of torch's root, by its name (up to 2.8)."""

    def unlink(self, meshes: Sequence[DeviceMesh]) -> None:
        """Take what torch's tables, in this thread, say of *meshes* alone out of them."""

    def link(self, mesh: DeviceMesh, torch_root: DeviceMesh) -> None:
        """Tell torch, in this thread, that *mesh* is a submesh of *torch_root*."""
