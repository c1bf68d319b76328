"""The same call again is the same object: it is recalled before its arguments are looked at.

A key is what was passed, with its types, since ``True`` equals 1. What cannot be a key, such as a
dict of options, is looked at again at each call.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any, ParamSpec, cast

from torch.distributed.device_mesh import DeviceMesh

from meshcompat._mesh.links import links
from meshcompat._mesh.memory import recall_told, remembered

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

P = ParamSpec("P")

FEW = 64
"""Meshes of other ranks that are kept: there can be as many as ranks."""


def recalled(verb: Callable[P, DeviceMesh]) -> Callable[P, DeviceMesh]:
    """Return *verb*, whose first argument is a mesh, recalling the mesh of a call that was made before."""
    name = verb.__name__

    @functools.wraps(verb)
    def asked(*args: Any, **kwargs: Any) -> DeviceMesh:
        key = key_of(name, args[1:], kwargs)
        found = links.recall(args[0], key) if args else None
        if found is None:
            found = cast("Callable[..., DeviceMesh]", verb)(*args, **kwargs)
            view = remembered(args[0]) if args else None
            if view is not None and is_hashable(key):
                view.made[key] = found
                links.relink(found)
        return found

    return cast("Callable[P, DeviceMesh]", asked)


def key_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Hashable:
    """Return what a call is kept under; a list of names is as good as a tuple of them."""
    if list in map(type, args):
        args = tuple(tuple(arg) if type(arg) is list else arg for arg in args)
    named = tuple(kwargs.items()) if kwargs else ()
    return (name, args, tuple(map(type, args)), named)


def is_hashable(key: Hashable) -> bool:
    """Return whether something can be kept under *key*."""
    try:
        hash(key)
    except TypeError:
        return False
    return True


def tell(mesh: DeviceMesh, key: Hashable, answer: object) -> None:
    """Keep an answer that is no mesh; see `recall_told`."""
    view = remembered(mesh)
    if view is not None and is_hashable(key):
        view.told[key] = answer


def tell_meshes(mesh: DeviceMesh, key: Hashable, meshes: Sequence[DeviceMesh]) -> None:
    """Keep several meshes; of more than a few of them only as long as somebody has them."""
    is_few = len(meshes) <= FEW
    tell(mesh, key, tuple(meshes) if is_few else [weakref.ref(each) for each in meshes])


def recall_meshes(mesh: object, key: Hashable) -> list[DeviceMesh] | None:
    """Return the meshes that were kept under *key*, None where one of them is gone."""
    kept = recall_told(mesh, key)
    if kept is None:
        return None
    found = list(kept) if type(kept) is tuple else [reference() for reference in kept]
    if type(kept) is list and any(each is None for each in found):
        return None
    for each in found:
        links.relink(each)
    return found
