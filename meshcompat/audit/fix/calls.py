"""Rewrites of calls: methods of a mesh, of the class and of torch's tables, and functions."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from meshcompat.audit.fix.arguments import as_keyword, refuse_unpacked, renamed
from meshcompat.audit.fix.edits import Edit, RefusedError
from meshcompat.audit.fix.page import is_plain

if TYPE_CHECKING:
    from meshcompat.audit.fix.page import Page

METHODS = {
    "_flatten": "flatten",
    "_unflatten": "unflatten",
    "_get_root_mesh": "get_root_mesh",
    "_get_all_submeshes": "get_all_submeshes",
    "get_group": "get_group",
    "get_local_rank": "get_local_rank",
}
"""Methods of a mesh, and the function that takes the mesh first."""
_KEYWORDS = {
    "_unflatten": {"dim": "mesh_dim"},
    "_get_all_submeshes": {"mesh_dim_name": "name"},
    "_concatenate": {"device_mesh_list": "meshes"},
    "get_group": {"mesh_dim": "name"},
    "get_local_rank": {"mesh_dim": "name"},
}
_LAST = {"_flatten": 1, "_unflatten": 3}
"""Where torch takes `backend_override` by position, which meshcompat takes by name."""


def method(call: ast.Call, page: Page, module: str) -> list[Edit]:
    """Return the edits that make ``x.method(...)`` a function call with the mesh as first argument."""
    func = _attribute(call)
    refuse_unpacked(call)
    if isinstance(func.value, ast.Call) and ast.unparse(func.value.func) == "super":
        raise RefusedError("it calls the method of the class above")
    name = func.attr
    dot, bracket = _dot_and_bracket(func, page)
    has_more = bool(call.args or call.keywords)
    return [
        Edit(page.start(call), page.start(call), f"{module}.{METHODS[name]}(", -page.end(call)),
        *_taken_out(dot, bracket, ", " if has_more else "", page),
        *renamed(call, _KEYWORDS.get(name, {}), page),
        *(as_keyword(call, _LAST[name], "backend_override", page) if name in _LAST else ()),
    ]


def concatenate(call: ast.Call, page: Page, module: str) -> list[Edit]:
    """Return the edits for ``DeviceMesh._concatenate([...])``, which takes no mesh of its own."""
    func = _attribute(call)
    refuse_unpacked(call)
    if not is_plain(func):
        raise RefusedError("what it is called on is no plain name")
    return [
        *function(call, page, f"{module}.concatenate"),
        *renamed(call, _KEYWORDS["_concatenate"], page),
    ]


def of_table(call: ast.Call, page: Page, module: str) -> list[Edit]:
    """Return the edits for a method of ``_mesh_resources`` that takes a mesh."""
    func = _attribute(call)
    refuse_unpacked(call)
    if not is_plain(func):
        raise RefusedError("what it is called on is no plain name")
    new = {"device_mesh": "mesh", "mesh_dim_name": "name"}
    return [
        *function(call, page, f"{module}.{func.attr.lstrip('_')}"),
        *renamed(call, new, page),
    ]


def function(call: ast.Call, page: Page, new: str) -> list[Edit]:
    """Return the edit that calls another function with the same arguments."""
    if not is_plain(call.func):
        raise RefusedError("the function that is called is no plain name")
    return [Edit(page.start(call.func), page.end(call.func), new)]


def _attribute(call: ast.Call) -> ast.Attribute:
    if not isinstance(call.func, ast.Attribute):
        raise RefusedError("it is reached by getattr or under another name")
    return call.func


def _dot_and_bracket(func: ast.Attribute, page: Page) -> tuple[int, int]:
    dot = page.token(".", page.end(func.value), closing=True)
    if page.token(func.attr, dot + 1) + len(func.attr) != page.end(func):
        raise RefusedError("it is written in a way that is not rewritten")
    return dot, page.token("(", page.end(func))


def _taken_out(dot: int, bracket: int, new: str, page: Page) -> list[Edit]:
    piece = page.text[dot:bracket]
    if "#" in piece or "\n" in piece or "\r" in piece:
        raise RefusedError("a line ends between the dot and the bracket")
    return [Edit(dot, bracket + 1, page.separated(new, bracket + 1))]
