"""What an era file must provide: the contract of every primitive, written once.

A primitive makes no decision. It reads or writes torch's private state, and is never a
collective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

Handle = object
"""What torch keeps for one mesh dim's group: copied from mesh to mesh, never interpreted."""


class Primitives(Protocol):
    """The functions of an era module, in their order."""

    def orders_groups(self) -> bool:
        """Return whether a group can keep its ranks in another than ascending order."""

    def preserves_order(self, root: DeviceMesh) -> bool:
        """Return whether torch makes the groups of *root* in the order of its ranks."""

    def root(self, mesh: DeviceMesh) -> DeviceMesh:
        """Return torch's own idea of the root; up to 2.9 it can be wrong."""

    def group_handles(self, mesh: DeviceMesh) -> list[Handle] | None:
        """Return one handle per mesh dim; None for a mesh that was made without groups.

        On a rank outside the mesh the list is empty.
        """

    def set_group_handles(self, mesh: DeviceMesh, handles: list[Handle]) -> None:
        """Give *mesh* its groups."""

    def native_flattened(self, root: DeviceMesh) -> dict[str, DeviceMesh]:
        """Return the flattened meshes that torch knows of *root*, by name."""

    def make_root(
        self,
        device_type: str,
        ranks: Sequence[int],
        shape: Sequence[int],
        names: tuple[str, ...] | None,
        *,
        keep_order: bool,
    ) -> DeviceMesh:
        """Return a new root mesh over *ranks*, row major, without groups."""

    def make_submesh(
        self,
        root: DeviceMesh,
        ranks: Callable[[], Sequence[int]],
        dims: Sequence[tuple[tuple[int, int], ...]],
        names: tuple[str, ...] | None,
    ) -> DeviceMesh:
        """Return a mesh of *root*, without groups.

        What *ranks* returns is what it must show, row major, and *dims* its layout over the
        root's ranks; an era uses the one that its torch is right with.
        """

    def make_outside(
        self,
        root: DeviceMesh,
        ranks: Sequence[int],
        shape: Sequence[int],
        names: tuple[str, ...] | None,
    ) -> DeviceMesh:
        """Return a mesh of *root* that this rank is not in, without groups."""

    def make_detached(
        self,
        device_type: str,
        ranks: Sequence[int],
        shape: Sequence[int],
        names: tuple[str, ...] | None,
        rank: int | None,
    ) -> DeviceMesh:
        """Return a mesh that is its own root, without groups, as *rank* sees it.

        It needs no world and begins none.
        """

    def handle_for(self, root: DeviceMesh, group: ProcessGroup) -> Handle:
        """Return the handle that a mesh of *root* needs to find *group*."""

    def forget_groups(self, root: DeviceMesh) -> None:
        """Let torch's root go of the groups that it keeps for its meshes."""

    def group_of(self, handle: Handle) -> ProcessGroup | None:
        """Return the live process group of a handle, or None where there is none."""

    def publish_flattened(
        self, root: DeviceMesh, name: str, mesh: DeviceMesh, root_dims: tuple[int, ...]
    ) -> None:
        """Write torch's registry, in this thread: *name* is *root_dims* of *root*."""
