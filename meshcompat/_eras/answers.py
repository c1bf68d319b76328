"""Answers that were given before, kept for as long as they are right.

An answer is right in the world that it was given in. From 2.4 to 2.9, where torch's tables
belong to a thread, it is kept for the threads whose tables were filled for it. Which world it
is now is read where torch keeps it: every function around it would cost more than the look-up.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar

from torch.distributed import distributed_c10d

if TYPE_CHECKING:
    import weakref
    from collections.abc import Hashable

    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh


class _OfAllThreads:
    known: dict[object, dict[Hashable, DeviceMesh]]


class Answers:
    """What was answered about one mesh.

    A name that was found keeps its meaning: a mesh never changes its own dims, and a flattened
    mesh is never renamed or dropped, nor made under a name that the root has. So answers are
    kept, and errors, which a later `flatten` can turn into answers, are not.
    """

    __slots__ = ("meshes", "sizes", "world")

    epoch: ClassVar[object] = object()
    """Ends where torch's tables put a mesh in the place of an equal one; see `forget_meshes`."""

    def __init__(self, world: weakref.ref[ProcessGroup], *, is_thread_local: bool) -> None:
        """*world* is the default process group that the mesh lives in."""
        self.world = world
        self.meshes: Any = threading.local() if is_thread_local else _OfAllThreads()
        self.sizes: dict[str, int] = {}

    def keep(self, key: Hashable, mesh: DeviceMesh) -> None:
        """Keep the mesh that *key* asks for; in this thread torch knows where it belongs."""
        known = self.meshes.__dict__.get("known", {})
        now = self.epoch
        self.meshes.known = {now: {**known.get(now, {}), key: mesh}}


def forget_meshes() -> None:
    """Let no mesh be recalled that was kept before: torch's tables know an equal one now.

    Rare: two meshes must be equal, and torch take them for parts of different roots.
    """
    Answers.epoch = object()


def recall(mesh: Any, key: Hashable) -> DeviceMesh | None:
    """Return the mesh that was kept under *key*, if it is right here and now."""
    try:
        answers: Answers = mesh._meshcompat.answers
        found: DeviceMesh = answers.meshes.known[answers.epoch][key]
        # torch: distributed_c10d._world._default_pg, since before 2.2 - pytorch#88330. What
        # stands in for _world in torch's own tests has none: then nothing is recalled.
        world: ProcessGroup | None = distributed_c10d._world._default_pg
    except (AttributeError, KeyError, TypeError):
        return None
    return found if world is not None and answers.world() is world else None


def recall_size(mesh: Any, name: object) -> int | None:
    """Return the size that was kept under *name*, if it is right here and now."""
    try:
        answers: Answers = mesh._meshcompat.answers
        size = answers.sizes[name]  # type: ignore[index]
        # torch: distributed_c10d._world._default_pg, since before 2.2 - pytorch#88330
        world: ProcessGroup | None = distributed_c10d._world._default_pg
    except (AttributeError, KeyError, TypeError):
        return None
    return size if world is not None and answers.world() is world else None
