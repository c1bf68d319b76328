"""What torch itself is told of our meshes: where they belong, and which flattened ones it knows.

From 2.10 on a mesh is made with its root, and there is next to nothing to tell (`one_root`). Up to
2.9 torch has tables, one for each thread (`tables`). Which of them it is depends on the era, and is
chosen here, once: nobody else asks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

from meshcompat import _eras

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._mesh.memory import Dim, Root, View


class Links(Protocol):
    """The functions of both modules, in their order. None of them is a collective."""

    def recall(self, mesh: object, key: Hashable) -> DeviceMesh | None:
        """Return the mesh that was made of *mesh* under *key*, if torch knows here where it belongs.

        None in another world than that of *mesh*. This is the whole cost of a look-up that was
        asked before.
        """

    def relink(self, mesh: DeviceMesh) -> None:
        """Tell torch, in this thread, where *mesh* belongs."""

    def see(self, root: Root) -> None:
        """Tell torch of *root*, in a thread that may not know it."""

    def forget(self, root: Root) -> None:
        """Take all meshes of *root* out of torch's tables of this thread."""

    def anchor_of(self, view: View, dims: tuple[Dim, ...]) -> DeviceMesh | None:
        """Return the mesh that torch can take for the root of *dims*, which are picked from *view*.

        None where none can be: then the mesh of *dims* is its own root for torch.
        """

    def anchor_of_flat(self, root: Root, joined: Sequence[Dim]) -> DeviceMesh | None:
        """Return the mesh that torch can take for the root of a new flattened dim over *joined*."""

    def anchor_outside(self, root: Root, mesh: DeviceMesh) -> DeviceMesh:
        """Return the mesh that torch is to take for the root of *mesh*, which this rank is not in."""

    def belongs_to_view(self, view: View, dim: Dim) -> bool:
        """Return whether torch finds *dim* in the view that it is picked from, not in the root."""

    def keep_flat(self, root: Root, dim: Dim, joined: Sequence[Dim], mesh: DeviceMesh) -> None:
        """Tell torch of a new flattened mesh, if its consumers find it nowhere else."""

    def refuse_publish(self, view: View) -> None:
        """Refuse to publish the flattened mesh of *view* where torch could only slice it wrong.

        Raises:
            MeshLayoutError: Up to 2.9, its dims do not lie side by side in the root.
        """

    def publish(self, root: Root, name: str) -> None:
        """Write a flattened mesh into torch's registry, if torch has one and it is not there."""

    def root_view(
        self, torch_root: DeviceMesh, look_over: Callable[[DeviceMesh], View]
    ) -> View | None:
        """Return what is known of what torch takes for a root; *look_over* looks at a new mesh.

        None where it cannot be: up to 2.9 an equal mesh of a destroyed world had that root.
        """

    def is_part(self, mesh: DeviceMesh, root: Root, torch_root: DeviceMesh) -> bool:
        """Return whether *mesh*, whose ranks fit, was derived from *root*."""

    def take_up_flat(self, root: Root, dim: Dim) -> None:
        """Remember that torch itself flattened *dim*, so that it knows it by name."""


if TYPE_CHECKING:
    links: Links
else:
    links = importlib.import_module(f"meshcompat._mesh.{_eras.era().links}")

recall = links.recall
