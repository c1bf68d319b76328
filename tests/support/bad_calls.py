"""Bad calls: what each asks for, the error it gets, and words that its message must have."""

# ruff: noqa: E501  (a row of the table is a line)
from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace

NAMES = ("pp", "dp", "tp")
RANK = 5  # at (1, 0, 1): no coordinate of the mesh is all zeros or all ones

OF_A_MESH: dict[str, Callable[[Any], object]] = {
    "concatenate": lambda mesh: mc.concatenate([mesh]),
    "create_moe_mesh": lambda mesh: mc.create_moe_mesh(mesh, ep_shard_size=2, ep_size=2),
    "create_ring_ulysses_mesh": lambda mesh: mc.create_ring_ulysses_mesh(
        mesh, ring_degree=2, ulysses_degree=1
    ),
    "destroy_mesh": mc.destroy_mesh,
    "flatten": lambda mesh: mc.flatten(mesh, "new"),
    "get_all_groups": mc.get_all_groups,
    "get_local_rank": lambda mesh: mc.get_local_rank(mesh, "tp"),
    "get_all_submeshes": lambda mesh: mc.get_all_submeshes(mesh, "tp"),
    "get_axis_names": mc.get_axis_names,
    "get_axis_size": lambda mesh: mc.get_axis_size(mesh, "tp"),
    "get_flat_mesh": lambda mesh: mc.get_flat_mesh(mesh, "tp"),
    "get_flattened_meshes": mc.get_flattened_meshes,
    "get_fsdp_dp_mesh": mc.get_fsdp_dp_mesh,
    "get_group": lambda mesh: mc.get_group(mesh, "tp"),
    "get_ranks": lambda mesh: mc.get_ranks(mesh, "tp"),
    "get_root_mesh": mc.get_root_mesh,
    "get_submesh": lambda mesh: mc.get_submesh(mesh, ("pp", "tp")),
    "has_axis": lambda mesh: mc.has_axis(mesh, "tp"),
    "is_member": mc.is_member,
    "layout_of": mc.layout_of,
    "mesh_to_dict": mc.mesh_to_dict,
    "register_axis": lambda mesh: mc.register_axis(mesh, "new", dist.group.WORLD),
    "register_flattened_axes": lambda mesh: mc.register_flattened_axes(mesh, {"new": "tp"}),
    "show": mc.show,
    "same_root": lambda mesh: mc.same_root(mesh, mesh),
    "unflatten": lambda mesh: mc.unflatten(mesh, "tp", (2, 1), ("a", "b")),
}
"""Every public function that takes a mesh, as a call that is right for the mesh of the world."""


class Bad(NamedTuple):
    """A bad call, its error, the repr of what was asked, and words of what to do instead."""

    label: str
    call: Callable[[SimpleNamespace], object]
    error: type[Exception]
    asked: str | Callable[[SimpleNamespace], object]
    words: tuple[str, ...]


def unknown(label: str, call: Callable, asked: object, *words: str) -> Bad:
    return Bad(label, call, mc.MeshDimError, asked, words)


def wrong(label: str, call: Callable, asked: object, *words: str) -> Bad:
    return Bad(label, call, mc.MeshLayoutError, asked, words)


def outside(label: str, call: Callable) -> Bad:
    return Bad(label, call, mc.NotInMeshError, "rank 5", ("not in this mesh", "is_member"))


HAS = str(NAMES)  # what a message lists as allowed

UNKNOWN_NAMES = [
    unknown("get_submesh, unknown", lambda w: mc.get_submesh(w.mesh, "cp"), "'cp'", HAS, "flatten"),
    unknown("get_submesh, one of two unknown", lambda w: mc.get_submesh(w.mesh, ("tp", "cp")), "'cp'", HAS),
    unknown("get_submesh, unknown in a list", lambda w: mc.get_submesh(w.mesh, ["tp", "cp"]), "'cp'", HAS),
    unknown("get_submesh, other case", lambda w: mc.get_submesh(w.mesh, "TP"), "'TP'", HAS),
    unknown("get_submesh, a space", lambda w: mc.get_submesh(w.mesh, "tp "), "'tp '", HAS),
    unknown("get_submesh, empty name", lambda w: mc.get_submesh(w.mesh, ""), "''", HAS),
    unknown("get_submesh, empty name in a tuple", lambda w: mc.get_submesh(w.mesh, ("tp", "")), "''", HAS),
    unknown("get_submesh, unicode", lambda w: mc.get_submesh(w.mesh, "dü"), "'dü'", HAS),
    unknown("get_submesh, lone surrogate", lambda w: mc.get_submesh(w.mesh, "\ud800"), r"'\ud800'", HAS),
    unknown("get_submesh, an index", lambda w: mc.get_submesh(w.mesh, ("tp", 0)), "0", "by name"),
    unknown("get_submesh, None", lambda w: mc.get_submesh(w.mesh, ("tp", None)), "None", "by name"),
    unknown("get_submesh, nested", lambda w: mc.get_submesh(w.mesh, ("pp", ("dp", "tp"))), "('dp', 'tp')", "by name"),
    unknown("get_submesh, says what is flattened", lambda w: mc.get_submesh(w.dp, "cp"), "'cp'", "('dp',)", "'dp_tp'", HAS),
    unknown("get_submesh, without names", lambda w: mc.get_submesh(w.unnamed, "dp"), "'dp'", "no names", "mesh_dim_names"),
    unknown("get_flat_mesh, unknown", lambda w: mc.get_flat_mesh(w.mesh, "cp"), "'cp'", HAS),
    unknown("get_flat_mesh, names that were selected before", lambda w: mc.get_flat_mesh(w.mesh, ("pp", "dp")), "('pp', 'dp')", "by name"),
    unknown("get_flat_mesh, a number", lambda w: mc.get_flat_mesh(w.mesh, 1), "1", "by name"),
    unknown("get_flat_mesh, a list", lambda w: mc.get_flat_mesh(w.mesh, ["tp"]), "['tp']", "by name"),
    unknown("get_all_submeshes, unknown", lambda w: mc.get_all_submeshes(w.mesh, "cp"), "'cp'", HAS),
    unknown("get_all_submeshes, a number", lambda w: mc.get_all_submeshes(w.mesh, 1), "1", HAS),
    unknown("get_all_submeshes, reaches outside", lambda w: mc.get_all_submeshes(w.dp, "tp"), "'tp'", "outside", "get_root_mesh"),
    unknown("get_axis_size, unknown", lambda w: mc.get_axis_size(w.mesh, "cp"), "'cp'", HAS),
    unknown("get_axis_size, a list", lambda w: mc.get_axis_size(w.mesh, ["tp"]), "['tp']", HAS),
    unknown("get_group, unknown", lambda w: mc.get_group(w.mesh, "cp"), "'cp'", HAS),
    unknown("get_group, one of two unknown", lambda w: mc.get_group(w.mesh, ("dp", "cp")), "'cp'", HAS),
    unknown("get_ranks, unknown", lambda w: mc.get_ranks(w.mesh, "cp"), "'cp'", HAS),
    unknown("get_fsdp_dp_mesh, unknown", lambda w: mc.get_fsdp_dp_mesh(w.mesh), "'dp_replicate'", HAS),
    unknown("get_fsdp_dp_mesh, not flattened yet", lambda w: mc.get_fsdp_dp_mesh(w.fsdp), "'dp_shard_cp'", "flatten"),
    unknown("get_fsdp_dp_mesh, a number", lambda w: mc.get_fsdp_dp_mesh(w.fsdp, 5), "5", "by name"),
    unknown("unflatten, unknown", lambda w: mc.unflatten(w.mesh, "cp", (2,), ("a",)), "'cp'", HAS),
    unknown("unflatten, flattened but not a dim", lambda w: mc.unflatten(w.mesh, "dp_tp", (2, 2), ("a", "b")), "'dp_tp'", HAS),
    unknown("unflatten, index too large", lambda w: mc.unflatten(w.mesh, 3, (2,), ("a",)), "3", "3 mesh dims"),
    unknown("unflatten, index too small", lambda w: mc.unflatten(w.mesh, -4, (2,), ("a",)), "-4", "3 mesh dims"),
    unknown("unflatten, huge index", lambda w: mc.unflatten(w.mesh, 10**30, (2,), ("a",)), str(10**30), "3 mesh dims"),
    unknown("unflatten, True for an index", lambda w: mc.unflatten(w.mesh, True, (2,), ("a",)), "True", HAS),
    unknown("unflatten, float index", lambda w: mc.unflatten(w.mesh, 1.0, (2,), ("a",)), "1.0", HAS),
    unknown("unflatten, None", lambda w: mc.unflatten(w.mesh, None, (2,), ("a",)), "None", HAS),
    unknown("unflatten, a list", lambda w: mc.unflatten(w.mesh, ["tp"], (2,), ("a",)), "['tp']", HAS),
]  # fmt: skip

NAMES_THAT_DO_NOT_FIT = [
    wrong("get_submesh, no names", lambda w: mc.get_submesh(w.mesh, ()), "()", "at least one", "'dp'"),
    wrong("get_submesh, empty list", lambda w: mc.get_submesh(w.mesh, []), "[]", "at least one"),
    wrong("get_submesh, None alone", lambda w: mc.get_submesh(w.mesh, None), "None", "a list or tuple"),
    wrong("get_submesh, a number alone", lambda w: mc.get_submesh(w.mesh, 0), "0", "a list or tuple"),
    wrong("get_submesh, bytes", lambda w: mc.get_submesh(w.mesh, b"tp"), "b'tp'", "a list or tuple"),
    wrong("get_submesh, a set", lambda w: mc.get_submesh(w.mesh, {"tp"}), "{'tp'}", "a list or tuple"),
    wrong("get_submesh, repeated", lambda w: mc.get_submesh(w.mesh, ("tp", "tp")), "('tp', 'tp')", "once"),
    wrong("get_submesh, overlap", lambda w: mc.get_submesh(w.mesh, ("dp", "dp_tp")), "('dp', 'dp_tp')", "overlap", "share no rank"),
    wrong("get_submesh, overlap of flattened dims", lambda w: mc.get_submesh(w.mesh, ("pp_tp", "dp_tp")), "('pp_tp', 'dp_tp')", "overlap"),
    wrong("get_ranks, no names", lambda w: mc.get_ranks(w.mesh, ()), "()", "at least one"),
    wrong("get_ranks, repeated", lambda w: mc.get_ranks(w.mesh, ("tp", "tp")), "('tp', 'tp')", "once"),
    wrong("get_group, repeated", lambda w: mc.get_group(w.mesh, ["dp", "dp"]), "['dp', 'dp']", "once"),
    wrong("get_group, overlap", lambda w: mc.get_group(w.mesh, ("dp", "dp_tp")), "'dp_tp'", "overlap"),
    wrong("flatten, name of its own dim", lambda w: mc.flatten(w.pp_dp, "dp"), "'dp'", "another name"),
    wrong("flatten, name of a dim of the root", lambda w: mc.flatten(w.pp_dp, "tp"), "'tp'", HAS, "another name"),
    wrong("flatten, name of other ranks", lambda w: mc.flatten(w.pp_dp, "dp_tp"), "'dp_tp'", "taken", "another name"),
    wrong("flatten, empty name", lambda w: mc.flatten(w.pp_dp, ""), "''", "at least one character"),
    wrong("flatten, a number", lambda w: mc.flatten(w.pp_dp, 7), "7", "string"),
    wrong("flatten, bytes", lambda w: mc.flatten(w.pp_dp, b"x"), "b'x'", "string"),
    wrong("flatten, a tuple as name", lambda w: mc.flatten(w.mesh, ("pp", "dp"), ("x",)), "('x',)", "string"),
    wrong("flatten, dims, name of a dim", lambda w: mc.flatten(w.mesh, ("pp", "dp"), "tp"), "'tp'", HAS, "another name"),
    wrong("flatten, dims, repeated", lambda w: mc.flatten(w.mesh, ["pp", "pp"], "x"), "['pp', 'pp']", "once"),
    wrong("flatten, dims, overlap", lambda w: mc.flatten(w.mesh, ("dp", "dp_tp"), "x"), "'dp_tp'", "overlap"),
    wrong("flatten, no dims", lambda w: mc.flatten(w.mesh, (), "x"), "()", "at least one"),
    unknown("get_submesh, a near miss", lambda w: mc.get_submesh(w.mesh, "dp_pt"), "'dp_pt'", HAS, "did you mean 'dp_tp'?"),
    unknown("get_submesh, in capitals", lambda w: mc.get_submesh(w.mesh, "TP"), "'TP'", HAS, "did you mean 'tp'?"),
    unknown("get_submesh, names in one string", lambda w: mc.get_submesh(w.mesh, "pp,dp"), "'pp,dp'", HAS, "as a tuple: ('pp', 'dp')"),
    unknown("get_submesh, a mesh without names", lambda _: mc.get_submesh(mc.init_device_mesh("cpu", (8,)), "tp"), "'tp'", "has no names", "give mesh_dim_names"),
    wrong("get_submesh, of a class", lambda _: mc.get_submesh(DeviceMesh, "tp"), "DeviceMesh'>", "make one with"),
    unknown("flatten, dims, unknown", lambda w: mc.flatten(w.mesh, ("pp", "cp"), "x"), "'cp'", HAS),
    unknown("get_local_rank, unknown", lambda w: mc.get_local_rank(w.mesh, "cp"), "'cp'", HAS),
    wrong("get_group, no names to make one under", lambda w: mc.get_group(w.unnamed), "no names", "mesh_dim_names"),
    wrong("flatten, lone surrogate", lambda w: mc.flatten(w.pp_dp, "\ud800"), r"'\ud800'", "UTF-8"),
    wrong("flatten, no default without names", lambda w: mc.flatten(w.unnamed), "without names", "mesh_dim_name"),
    wrong("flatten, dims out of order", lambda w: mc.flatten(w.tp_pp, "x"), "('tp', 'pp')", "ascend", "('pp', 'tp')"),
    wrong("unflatten, too few names", lambda w: mc.unflatten(w.dp_tp, 0, (2, 2), ("a",)), "('a',)", "2 names"),
    wrong("unflatten, too many names", lambda w: mc.unflatten(w.dp_tp, 0, (4,), ("a", "b")), "('a', 'b')", "1 names"),
    wrong("unflatten, repeated names", lambda w: mc.unflatten(w.dp_tp, 0, (2, 2), ("a", "a")), "('a', 'a')", "once"),
    wrong("unflatten, a name beside it", lambda w: mc.unflatten(w.mesh, "tp", (2, 1), ("dp", "x")), "('dp', 'x')", "('pp', 'dp')"),
    wrong("unflatten, name is no string", lambda w: mc.unflatten(w.dp_tp, 0, (2, 2), ("a", 1)), "1", "string"),
    wrong("unflatten, empty name", lambda w: mc.unflatten(w.dp_tp, 0, (2, 2), ("a", "")), "''", "at least one character"),
    wrong("unflatten, no names", lambda w: mc.unflatten(w.dp_tp, 0, (2, 2), None), "None", "2 names"),
    wrong("unflatten, beside dims without names", lambda w: mc.unflatten(w.unnamed, 1, (2, 2), ("a", "b")), "('a', 'b')", "names"),
]  # fmt: skip

SIZES = [
    wrong("unflatten, product too small", lambda w: mc.unflatten(w.dp_tp, 0, (2, 1), ("a", "b")), "(2, 1)", "2 * 1 = 2", "size 4"),
    wrong("unflatten, product too large", lambda w: mc.unflatten(w.dp_tp, 0, [4, 4], ("a", "b")), "(4, 4)", "= 16", "size 4"),
    wrong("unflatten, huge", lambda w: mc.unflatten(w.dp_tp, 0, (10**30, 1), ("a", "b")), str(10**30), "size 4"),
    wrong("unflatten, no sizes", lambda w: mc.unflatten(w.dp_tp, 0, (), ()), "()", "one or more positive ints"),
    wrong("unflatten, zero", lambda w: mc.unflatten(w.dp_tp, 0, (0, 4), ("a", "b")), "(0, 4)", "positive ints"),
    wrong("unflatten, negative", lambda w: mc.unflatten(w.dp_tp, 0, (-2, -2), ("a", "b")), "(-2, -2)", "positive ints"),
    wrong("unflatten, -1 to infer", lambda w: mc.unflatten(w.dp_tp, 0, (-1, 2), ("a", "b")), "(-1, 2)", "positive ints"),
    wrong("unflatten, True", lambda w: mc.unflatten(w.dp_tp, 0, (True, 4), ("a", "b")), "(True, 4)", "positive ints"),
    wrong("unflatten, floats", lambda w: mc.unflatten(w.dp_tp, 0, (2.0, 2.0), ("a", "b")), "(2.0, 2.0)", "positive ints"),
    wrong("unflatten, a string", lambda w: mc.unflatten(w.dp_tp, 0, "22", ("a", "b")), "'22'", "positive ints"),
    wrong("unflatten, None", lambda w: mc.unflatten(w.dp_tp, 0, None, ("a", "b")), "None", "positive ints"),
    wrong("init_device_mesh, too small", lambda _: mc.init_device_mesh("cpu", (2, 2)), "(2, 2)", "2 * 2 = 4", "world has 8", "ranks"),
    wrong("init_device_mesh, too large", lambda _: mc.init_device_mesh("cpu", (4, 4)), "(4, 4)", "= 16", "world has 8"),
    wrong("init_device_mesh, huge", lambda _: mc.init_device_mesh("cpu", (10**30,)), str(10**30), "world has 8"),
    wrong("init_device_mesh, no shape", lambda _: mc.init_device_mesh("cpu", ()), "()", "positive ints"),
    wrong("init_device_mesh, zero", lambda _: mc.init_device_mesh("cpu", (0, 8)), "(0, 8)", "positive ints"),
    wrong("init_device_mesh, negative", lambda _: mc.init_device_mesh("cpu", (-2, -4)), "(-2, -4)", "positive ints"),
    wrong("init_device_mesh, True", lambda _: mc.init_device_mesh("cpu", (True, 8)), "(True, 8)", "positive ints"),
    wrong("init_device_mesh, floats", lambda _: mc.init_device_mesh("cpu", (8.0,)), "(8.0,)", "positive ints"),
    wrong("init_device_mesh, NaN", lambda _: mc.init_device_mesh("cpu", (math.nan,)), "(nan,)", "positive ints"),
    wrong("init_device_mesh, nested", lambda _: mc.init_device_mesh("cpu", ((2, 4),)), "((2, 4),)", "positive ints"),
    wrong("init_device_mesh, a string", lambda _: mc.init_device_mesh("cpu", "8"), "'8'", "positive ints"),
    wrong("init_device_mesh, a tensor", lambda _: mc.init_device_mesh("cpu", torch.arange(8)), "tensor(", "positive ints"),
    wrong("init_device_mesh, too few names", lambda _: mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp",)), "('dp',)", "2 names"),
    wrong("init_device_mesh, a string of letters", lambda _: mc.init_device_mesh("cpu", (2, 4), mesh_dim_names="dt"), "'dt'", "2 names"),
    wrong("init_device_mesh, repeated names", lambda _: mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "dp")), "('dp', 'dp')", "once"),
    wrong("init_device_mesh, a name is None", lambda _: mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", None)), "None", "string"),
]  # fmt: skip

RANKS = [
    wrong("ranks, too many", lambda _: mc.init_device_mesh("cpu", (2,), ranks=[0, 1, 2]), "[0, 1, 2]", "are 3", "shape has 2"),
    wrong("ranks, too few", lambda _: mc.init_device_mesh("cpu", (2, 2), ranks=[0, 1, 2]), "[0, 1, 2]", "shape has 4"),
    wrong("ranks, repeated", lambda _: mc.init_device_mesh("cpu", (2,), ranks=[3, 3]), "[3, 3]", "different ints"),
    wrong("ranks, beyond the world", lambda _: mc.init_device_mesh("cpu", (2,), ranks=[0, 8]), "[0, 8]", "world of 8", "0 to 7"),
    wrong("ranks, negative", lambda _: mc.init_device_mesh("cpu", (2,), ranks=[-1, 0]), "[-1, 0]", "0 to 7"),
    wrong("ranks, huge", lambda _: mc.init_device_mesh("cpu", (1,), ranks=[2**63]), str(2**63), "0 to 7"),
    wrong("ranks, True", lambda _: mc.init_device_mesh("cpu", (2,), ranks=[0, True]), "[0, True]", "0 to 7"),
    wrong("ranks, floats", lambda _: mc.init_device_mesh("cpu", (2,), ranks=[0.0, 1.0]), "[0.0, 1.0]", "0 to 7"),
    wrong("ranks, none", lambda _: mc.init_device_mesh("cpu", (1,), ranks=[]), "[]", "different ints"),
    wrong("ranks, nested", lambda _: mc.init_device_mesh("cpu", (2, 1), ranks=[[0], [1]]), "[[0], [1]]", "different ints"),
    wrong("ranks, a float tensor", lambda _: mc.init_device_mesh("cpu", (2,), ranks=torch.ones(2)), "tensor(", "different ints"),
    wrong("ranks, one number", lambda _: mc.init_device_mesh("cpu", (1,), ranks=0), "0", "ordered list"),
    wrong("ranks, a set", lambda _: mc.init_device_mesh("cpu", (2,), ranks={0, 1}), "{0, 1}", "ordered list"),
    wrong("ranks, a frozen set", lambda _: mc.init_device_mesh("cpu", (2,), ranks=frozenset([0])), "frozenset({0})", "ordered list"),
    wrong("ranks, a string", lambda _: mc.init_device_mesh("cpu", (2,), ranks="01"), "'01'", "ordered list"),
    wrong("ranks, a dict", lambda _: mc.init_device_mesh("cpu", (1,), ranks={0: 1}), "{0: 1}", "ordered list"),
]  # fmt: skip

TIMES = {"NaN": math.nan, "inf": math.inf, "-inf": -math.inf, "zero": 0, "negative": -1.5, "True": True, "a string": "60",
         "huge float": 1e300, "huge int": 10**400, "the first second too many": timedelta.max.total_seconds(),
         "less than a microsecond": 1e-9, "a list": [60], "timedelta zero": timedelta(0), "negative timedelta": timedelta(seconds=-1)}  # fmt: skip

TIMEOUTS = [
    wrong(f"{label}, timeout {what}", lambda w, call=call, value=value: call(w, value), repr(value), "seconds", "more than zero")
    for what, value in TIMES.items()
    for label, call in {
        "init_device_mesh": lambda _, value: mc.init_device_mesh("cpu", (8,), timeout=value),
        "flatten": lambda w, value: mc.flatten(w.pp_dp, "x", timeout=value),
        "unflatten": lambda w, value: mc.unflatten(w.dp_tp, 0, (2, 2), ("a", "b"), timeout=value),
    }.items()
]  # fmt: skip


def made(override: object) -> Callable:
    return lambda _: mc.init_device_mesh(
        "cpu", (2, 4), mesh_dim_names=("dp", "tp"), backend_override=override
    )


BACKENDS = [
    wrong("device_type, unknown", lambda _: mc.init_device_mesh("gpu", (8,)), "'gpu'", "'cuda'"),
    wrong("device_type, empty", lambda _: mc.init_device_mesh("", (8,)), "''", "'cuda'"),
    wrong("device_type, with an index", lambda _: mc.init_device_mesh("cuda:0", (8,)), "'cuda:0'", "without an index"),
    wrong("device_type, other case", lambda _: mc.init_device_mesh("CPU", (8,)), "'CPU'", "'cpu'"),
    wrong("device_type, None", lambda _: mc.init_device_mesh(None, (8,)), "None", "string"),
    wrong("device_type, a device", lambda _: mc.init_device_mesh(torch.device("cpu"), (8,)), "device(type='cpu')", "string"),
    unknown("override, unknown name", made({"cp": "fake"}), "'cp'", "('dp', 'tp')", "index"),
    unknown("override, unknown index", made({2: "fake"}), "2", "('dp', 'tp')"),
    unknown("override, negative index", made({-1: "fake"}), "-1", "index from 0"),
    unknown("override, True for an index", made({True: "fake"}), "True", "('dp', 'tp')"),
    wrong("override, by name and by index", made({"dp": "fake", 0: "fake"}), "0", "twice"),
    wrong("override, one for two dims", made("fake"), "'fake'", "('dp', 'tp')", "dict"),
    wrong("override, unknown backend", made({"dp": "quantum"}), "'quantum'", "'gloo'"),
    wrong("override, unknown in a list", made({"dp": "cpu:fake,cuda:quantum"}), "'cpu:fake,cuda:quantum'", "'gloo'"),
    wrong("override, empty backend", made({"dp": ""}), "''", "'gloo'"),
    wrong("override, a number", made({"dp": 5}), "5", "backend name"),
    wrong("override, a list", made({"dp": ["fake", None]}), "['fake', None]", "tuple of both"),
    wrong("override, three in a tuple", made({"dp": ("fake", None, None)}), "('fake', None, None)", "tuple of both"),
    wrong("override, any object", made({"dp": BaseException}), "<class 'BaseException'>", "options object"),
    wrong("override, options are a dict", made({"dp": ("fake", {"a": 1})}), "{'a': 1}", "options object"),
    wrong("override, backend is a number", made({"dp": (5, None)}), "5", "'gloo'"),
    wrong("override, options of another backend", lambda w: made({"dp": w.gloo_options})(w), lambda w: w.gloo_options, "'gloo'", "'fake'"),
    wrong("gloo in a fake world, init_device_mesh", made({"dp": "gloo"}), "'gloo'", "fake world", "leave backend_override out"),
    wrong("gloo in a fake world, in a list", made({"dp": "cpu:gloo"}), "'cpu:gloo'", "fake world"),
    wrong("gloo in a fake world, flatten", lambda w: mc.flatten(w.pp_dp, "x", backend_override="gloo"), "'gloo'", "fake world"),
    wrong("gloo in a fake world, unflatten", lambda w: mc.unflatten(w.dp_tp, 0, (2, 2), ("a", "b"), backend_override={"a": "GLOO"}), "'GLOO'", "fake world"),
    wrong("flatten, another timeout than before", lambda w: mc.flatten(w.dp_and_tp, "dp_tp", timeout=7), "'dp_tp'", "timeout", "another mesh_dim_name"),
    unknown("flatten, override of an unknown name", lambda w: mc.flatten(w.pp_dp, "x", backend_override={"dp": "fake"}), "'dp'", "('x',)"),
    unknown("unflatten, override of an old name", lambda w: mc.unflatten(w.dp_tp, 0, (2, 2), ("a", "b"), backend_override={"dp": "fake"}), "'dp'", "('a', 'b')"),
]  # fmt: skip

MESHES = [
    *(wrong(f"{name}, None", lambda _, call=call: call(None), "None", "DeviceMesh") for name, call in OF_A_MESH.items()),
    *(wrong(f"{name}, a list of ranks", lambda _, call=call: call([0, 1]), "[0, 1]", "DeviceMesh") for name, call in OF_A_MESH.items()),
    *(wrong(f"{name}, of a destroyed world", lambda w, call=call: call(w.dead), lambda w: w.dead, "destroyed", "make the mesh again")
      for name, call in OF_A_MESH.items()),
    wrong("concatenate, nothing", lambda _: mc.concatenate([]), "[]", "at least one mesh"),
    wrong("concatenate, a mesh alone", lambda w: mc.concatenate(w.mesh), lambda w: w.mesh, "list or tuple"),
    wrong("concatenate, a generator", lambda w: mc.concatenate(mesh for mesh in [w.dp]), "<generator", "list or tuple"),
    wrong("concatenate, something else in it", lambda w: mc.concatenate([w.dp, "tp"]), "'tp'", "DeviceMesh"),
    wrong("concatenate, another root", lambda w: mc.concatenate([w.dp, w.other_tp]), lambda w: w.other_tp, "different roots", "get_submesh"),
    wrong("concatenate, the same twice", lambda w: mc.concatenate([w.dp, w.dp]), "('dp', 'dp')", "own name"),
    wrong("concatenate, overlap", lambda w: mc.concatenate([w.dp, w.dp_tp]), "('dp', 'dp_tp')", "overlap", "share no rank"),
    wrong("concatenate, without names", lambda w: mc.concatenate([w.unnamed, w.unnamed]), "(None, None, None, None)", "own name"),
    outside("get_all_groups, outside", lambda w: mc.get_all_groups(w.outside)),
    outside("get_local_rank, outside", lambda w: mc.get_local_rank(w.outside, "dp")),
    outside("get_group, outside", lambda w: mc.get_group(w.outside, "dp")),
    outside("get_group, outside, of another subgroup", lambda w: mc.get_group(mc.get_all_submeshes(w.mesh, "tp")[0], "tp")),
    outside("DeviceMesh.get_group, outside", lambda w: w.outside.get_group(0)),
    outside("DeviceMesh.get_local_rank, outside", lambda w: w.outside.get_local_rank(0)),
    outside("DeviceMesh.get_group, outside, of a submesh", lambda w: mc.get_flat_mesh(w.outside, "tp").get_group()),
]  # fmt: skip

GROUPS = [
    wrong("register_axis, no group", lambda w: mc.register_axis(w.mesh, "x", None), "None", "process group", "new_group"),
    wrong("register_axis, a group outside", lambda w: mc.register_axis(w.mesh, "x", dist.GroupMember.NON_GROUP_MEMBER), repr(dist.GroupMember.NON_GROUP_MEMBER), "rank 5 is in"),
    wrong("register_axis, ranks for a group", lambda w: mc.register_axis(w.mesh, "x", [4, 5]), "[4, 5]", "process group"),
    wrong("register_axis, a destroyed group", lambda w: mc.register_axis(w.mesh, "x", w.dead_group), lambda w: w.dead_group, "living process group"),
    wrong("register_axis, no union of dims", lambda w: mc.register_axis(w.mesh, "x", w.odd_group), "[2, 5]", "no union", HAS, "whole mesh dims"),
    wrong("register_axis, a submesh", lambda w: mc.register_axis(w.dp, "x", w.tp_group), lambda w: w.dp, "no root", "get_root_mesh"),
    wrong("register_axis, name of a dim", lambda w: mc.register_axis(w.mesh, "dp", w.tp_group), "'dp'", "taken", "another name"),
    wrong("register_axis, name of its own dim", lambda w: mc.register_axis(w.mesh, "tp", w.tp_group), "'tp'", "taken", "another name"),
    wrong("register_axis, name of other ranks", lambda w: mc.register_axis(w.mesh, "dp_tp", w.tp_group), "'dp_tp'", "taken"),
    wrong("register_axis, name of another group", lambda w: mc.register_axis(w.mesh, "dp_tp", w.same_ranks), "'dp_tp'", "taken"),
    wrong("register_axis, empty name", lambda w: mc.register_axis(w.mesh, "", w.tp_group), "''", "at least one character"),
    wrong("register_axis, a number", lambda w: mc.register_axis(w.mesh, 3, w.tp_group), "3", "string"),
    wrong("register_axis, lone surrogate", lambda w: mc.register_axis(w.mesh, "\udfff", w.tp_group), r"'\udfff'", "UTF-8"),
    Bad("register_axis, outside", lambda w: mc.register_axis(w.outside, "x", w.tp_group), mc.NotInMeshError, "rank 5", ("outside",)),
    wrong("from_group, None", lambda _: mc.from_group(None, "cpu"), "None", "process group"),
    wrong("from_group, no groups", lambda _: mc.from_group([], "cpu"), "[]", "new_group"),
    wrong("from_group, ranks for a group", lambda _: mc.from_group([5], "cpu", [5]), "[5]", "process groups"),
    wrong("from_group, a destroyed group", lambda w: mc.from_group(w.dead_group, "cpu"), lambda w: w.dead_group, "living process group"),
    wrong("from_group, a destroyed group with its ranks", lambda w: mc.from_group(w.dead_group, "cpu", [4, 5]), lambda w: w.dead_group, "living process groups"),
    wrong("from_group, two groups and no ranks", lambda w: mc.from_group([w.dp_group, w.tp_group], "cpu"), lambda w: w.tp_group, "give mesh"),
    wrong("from_group, other ranks", lambda w: mc.from_group(w.tp_group, "cpu", [5, 6]), "[5, 6]", "[4, 5]"),
    wrong("from_group, groups in the wrong order", lambda w: mc.from_group([w.tp_group, w.dp_group], "cpu", [[4, 5], [6, 7]]), "[5, 7]", "[4, 5]"),
    wrong("from_group, too few dims", lambda w: mc.from_group([w.dp_group, w.tp_group], "cpu", [4, 5, 6, 7]), "[4, 5, 6, 7]", "1 dims for 2 groups"),
    wrong("from_group, no ranks in mesh", lambda w: mc.from_group(w.tp_group, "cpu", []), "[]", "one dim per group"),
    wrong("from_group, ragged", lambda w: mc.from_group([w.dp_group, w.tp_group], "cpu", [[4, 5], [6]]), "[[4, 5], [6]]", "nested list"),
    wrong("from_group, strings", lambda w: mc.from_group(w.tp_group, "cpu", ["4", "5"]), "['4', '5']", "nested list"),
    wrong("from_group, floats", lambda w: mc.from_group(w.tp_group, "cpu", [4.5, 5.5]), "[4.5, 5.5]", "0 to 7"),
    wrong("from_group, True", lambda w: mc.from_group(w.tp_group, "cpu", [False, True]), "[False, True]", "0 to 7"),
    wrong("from_group, huge", lambda w: mc.from_group(w.tp_group, "cpu", [4, 2**40]), str(2**40), "0 to 7"),
    wrong("from_group, too huge", lambda w: mc.from_group(w.tp_group, "cpu", [4, 10**30]), str(10**30), "nested list"),
    wrong("from_group, repeated ranks", lambda w: mc.from_group(w.tp_group, "cpu", [5, 5]), "5, 5", "repeat"),
    wrong("from_group, too many names", lambda w: mc.from_group(w.tp_group, "cpu", mesh_dim_names=("a", "b")), "('a', 'b')", "1 names"),
    wrong("from_group, unknown device", lambda w: mc.from_group(w.tp_group, "gpu"), "'gpu'", "'cpu'"),
]  # fmt: skip

BUILDERS = [
    wrong("create_device_meshes, a class of a strategy", lambda _: mc.create_device_meshes(mc.FSDP2Config, mc.ParallelismSizes(), world_size=8), "FSDP2Config'>", "pass an instance, FSDP2Config(...)"),
    wrong("create_device_meshes, a class of sizes", lambda _: mc.create_device_meshes(mc.FSDP2Config(), mc.ParallelismSizes, world_size=8), "ParallelismSizes'>", "pass an instance, ParallelismSizes(...)"),
    wrong("init_named_mesh, a class", lambda _: mc.init_named_mesh(mc.MeshSpec), "MeshSpec'>", "pass an instance, MeshSpec(...)"),
    wrong("init_named_mesh, two timeouts", lambda _: mc.init_named_mesh(mc.MeshSpec((8,), ("dp",)), timeout=60, timeout_minutes=2), "60", "timeout_minutes 2", "give one"),
    wrong("create_device_meshes, no strategy", lambda _: mc.create_device_meshes(None, mc.ParallelismSizes(), world_size=8), "None", "'FSDP2Config'"),
    wrong("create_fsdp2_device_mesh, does not divide", lambda _: mc.create_fsdp2_device_mesh(mc.ParallelismSizes(tp_size=3), world_size=8), "world_size 8", "1 * 1 * 3 = 3"),
    wrong("create_megatron_fsdp_device_mesh, stages", lambda _: mc.create_megatron_fsdp_device_mesh(mc.ParallelismSizes(pp_size=2), world_size=8), "pp_size 2", "FSDP2"),
    wrong("mesh_from_dict, nothing", lambda _: mc.mesh_from_dict(None), "None", "mesh_to_dict"),
    wrong("mesh_from_dict, a mesh", lambda w: mc.mesh_from_dict(w.mesh), lambda w: w.mesh, "mesh_to_dict"),
    wrong("init_named_mesh, a name too few", lambda _: mc.init_named_mesh(mc.MeshSpec((2, 4), ("dp",))), "('dp',)", "2 names"),
    wrong("create_moe_mesh, sizes", lambda w: mc.create_moe_mesh(w.mesh, ep_shard_size=3, ep_size=1), "3 * 1 = 3", "product is 4"),
    unknown("create_ring_ulysses_mesh, no cp", lambda w: mc.create_ring_ulysses_mesh(w.mesh, ring_degree=2, ulysses_degree=1), "'cp'", HAS),
    unknown("register_flattened_axes, unknown after a good one", lambda w: mc.register_flattened_axes(w.mesh, {"x": ("pp", "dp"), "y": ("pp", "cp")}), "'cp'", HAS),
]  # fmt: skip

TABLE = [
    *UNKNOWN_NAMES,
    *NAMES_THAT_DO_NOT_FIT,
    *SIZES,
    *RANKS,
    *TIMEOUTS,
    *BACKENDS,
    *MESHES,
    *GROUPS,
    *BUILDERS,
]
