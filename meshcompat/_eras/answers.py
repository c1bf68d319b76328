"""Answers that were given before, kept for as long as they are right.

An answer is right in the world that it was given in. From 2.4 to 2.9, where torch's tables
belong to a thread, it is kept for the threads whose tables were filled for it. Which world it
is now is read where torch keeps it: every function around it would cost more than the look-up.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

from torch.distributed import distributed_c10d

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh


class _OfAllThreads:
    known: dict[Hashable, DeviceMesh]


class Answers:
    """What was answered about one mesh.

    A name that was found keeps its meaning: a mesh never changes its own dims, and a flattened
    mesh is never renamed or dropped, nor made under a name that the root has. So answers are
    kept, and errors, which a later `flatten` can turn into answers, are not.
    """

    __slots__ = ("__weakref__", "meshes", "sizes", "world")

    def __init__(self, world: weakref.ref[ProcessGroup], *, is_thread_local: bool) -> None:
        """*world* is the default process group that the mesh lives in."""
        self.world = world
        self.meshes: Any = threading.local() if is_thread_local else _OfAllThreads()
        self.sizes: dict[str, int] = {}
        with _giving:
            _given.add(self)

    def keep(self, key: Hashable, mesh: DeviceMesh) -> None:
        """Keep the mesh that *key* asks for; in this thread torch knows where it belongs."""
        self.meshes.__dict__.setdefault("known", {})[key] = mesh


_given: weakref.WeakSet[Answers] = weakref.WeakSet()
_giving = threading.Lock()
"""Held while the set grows or is read: a set that grows cannot be read."""


def forget_here() -> None:
    """Let no mesh be recalled in this thread: torch's tables know an equal one there instead.

    Rare: two meshes must be equal, and torch take them for parts of different roots.
    """
    with _giving:
        given = list(_given)
    for answers in given:
        answers.meshes.__dict__.pop("known", None)


def recall(mesh: Any, key: Hashable) -> DeviceMesh | None:
    """Return the mesh that was kept under *key*, if it is right here and now."""
    try:
        answers: Answers = mesh._meshcompat.answers
        found: DeviceMesh = answers.meshes.known[key]
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
