"""From torch 2.10 on: a mesh is made with its root, so torch has nothing to be told.

The functions are those of `meshcompat._mesh.links.Links`. torch's registry of flattened meshes is
left alone unless somebody asks: see `publish`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshcompat import _eras
from meshcompat._eras.process_groups import current_world
from meshcompat._mesh.memory import remembered, view_on

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from torch.distributed.device_mesh import DeviceMesh

    from meshcompat._mesh import one_root  # noqa: PLW0406  (mypy holds it against the protocol)
    from meshcompat._mesh.links import Links
    from meshcompat._mesh.memory import Dim, Root, View

    _checked: Links = one_root


def recall(mesh: object, key: Hashable) -> DeviceMesh | None:
    try:
        view: View = view_on(mesh)
        found = view.made[key]
        world = current_world()
    except (AttributeError, KeyError, TypeError):
        return None
    return found if world is not None and view.root.world() is world else None


def relink(mesh: DeviceMesh) -> None:
    pass


def see(root: Root) -> None:
    pass


def forget(root: Root) -> None:
    pass


def anchor_of(view: View, dims: tuple[Dim, ...]) -> DeviceMesh | None:  # noqa: ARG001
    return view.root.mesh


def anchor_of_flat(root: Root, joined: Sequence[Dim]) -> DeviceMesh | None:  # noqa: ARG001
    return root.mesh


def anchor_outside(root: Root, mesh: DeviceMesh) -> DeviceMesh:  # noqa: ARG001
    return root.mesh


def belongs_to_view(view: View, dim: Dim) -> bool:  # noqa: ARG001
    return False


def keep_flat(root: Root, dim: Dim, joined: Sequence[Dim], mesh: DeviceMesh) -> None:
    # DTensor's redistribute of uneven shards is wrong when it finds one there, 2.11 to 2.15:
    # https://github.com/pytorch/pytorch/pull/194457
    pass


def refuse_publish(view: View) -> None:
    pass


def publish(root: Root, name: str) -> None:
    era = _eras.primitives()
    if name in root.flattened and name not in era.native_flattened(root.mesh):
        era.publish_flattened(root.mesh, name, root.flattened[name], ())


def root_view(torch_root: DeviceMesh, look_over: Callable[[DeviceMesh], View]) -> View | None:
    return remembered(torch_root) or look_over(torch_root)


def is_part(mesh: DeviceMesh, root: Root, torch_root: DeviceMesh) -> bool:  # noqa: ARG001
    return _eras.primitives().root(mesh) is torch_root


def take_up_flat(root: Root, dim: Dim) -> None:
    pass
