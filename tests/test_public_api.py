"""The public names: what is promised, listed once more by hand, and shown to work."""

import ast
import doctest
import inspect
import io
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import meshcompat as mc
from meshcompat import mesh_utils
from meshcompat.testing import fake_world

SIGNATURES = {
    "concatenate": "(meshes)",
    "create_device_meshes": (
        "(strategy_config, parallelism, *, world_size, timeout=None, device_type=None, ranks=None, "
        "timeout_minutes=None)"
    ),
    "create_fsdp2_device_mesh": (
        "(parallelism, *, world_size, timeout=None, device_type=None, ranks=None, "
        "timeout_minutes=None)"
    ),
    "create_megatron_fsdp_device_mesh": (
        "(parallelism, *, world_size, timeout=None, device_type=None, ranks=None, "
        "timeout_minutes=None)"
    ),
    "create_moe_mesh": (
        "(device_mesh, *, ep_shard_size, ep_size, pp_size=1, timeout=None, ranks=None, "
        "timeout_minutes=None)"
    ),
    "create_ring_ulysses_mesh": "(device_mesh, *, ring_degree, ulysses_degree)",
    "destroy_mesh": "(mesh, *, abort=False)",
    "flatten": (
        "(mesh, mesh_dims=None, mesh_dim_name=None, *, backend_override=None, timeout=None, "
        "share_groups=True)"
    ),
    "from_group": "(groups, device_type, mesh=None, *, mesh_dim_names=None)",
    "get_all_groups": "(mesh)",
    "get_all_submeshes": "(mesh, name)",
    "get_axis_names": "(mesh, *, flattened=True)",
    "get_axis_size": "(mesh, name, default=<raise>)",
    "get_flat_mesh": "(mesh, name)",
    "get_flattened_meshes": "(mesh)",
    "get_fsdp_dp_mesh": (
        "(mesh, dp_replicate_name='dp_replicate', dp_shard_cp_name='dp_shard_cp', *, "
        "native_dims=False)"
    ),
    "get_group": "(mesh, names=None)",
    "get_local_rank": "(mesh, name)",
    "get_ranks": "(mesh, names=None)",
    "get_root_mesh": "(mesh)",
    "get_submesh": "(mesh, names)",
    "has_axis": "(mesh, name)",
    "init_device_mesh": (
        "(device_type, mesh_shape, *, mesh_dim_names=None, backend_override=None, timeout=None, "
        "ranks=None)"
    ),
    "init_named_mesh": (
        "(spec, *, timeout=None, device_type=None, ranks=None, timeout_minutes=None)"
    ),
    "is_member": "(mesh)",
    "layout_of": "(mesh)",
    "mesh_from_dict": "(data, *, detached=False)",
    "mesh_to_dict": "(mesh)",
    "register_axis": "(root, name, group)",
    "register_flattened_axes": (
        "(device_mesh, flattened_axes, *, timeout=None, publish=False, timeout_minutes=None)"
    ),
    "same_root": "(a, b)",
    "show": "(mesh, *, dim=None, nodes=None, rank=None)",
    "unchecked": "()",
    "unflatten": (
        "(mesh, mesh_dim, mesh_sizes, mesh_dim_names, *, backend_override=None, timeout=None, "
        "share_groups=False)"
    ),
}
ERRORS = {
    "MeshCompatError": (Exception,),
    "MeshDimError": (mc.MeshCompatError, KeyError),
    "MeshLayoutError": (mc.MeshCompatError, ValueError),
    "MeshMismatchError": (mc.MeshCompatError, RuntimeError),
    "NotInMeshError": (mc.MeshCompatError, RuntimeError),
    "UnsupportedTorchError": (mc.MeshCompatError, RuntimeError),
    "UntestedTorchWarning": (UserWarning,),
}
OTHERS = {
    "DDPConfig",
    "FSDP2Config",
    "MegatronFSDPConfig",
    "MeshAxisName",
    "MeshLayout",
    "MeshSpec",
    "ParallelismSizes",
    "__version__",
}


def test_all_is_what_is_promised():
    assert set(mc.__all__) == {*SIGNATURES, *ERRORS, *OTHERS}
    assert mc.__all__ == sorted(mc.__all__)
    assert dir(mc) == sorted(mc.__all__)


@pytest.mark.once
def test_all_is_what_a_type_checker_sees():
    stub = ast.parse(Path(mc.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    names = [alias.asname for node in imports for alias in node.names]
    assert sorted([*names, "__version__"]) == mc.__all__


def test_a_star_import_gives_all():
    given = {}
    exec("from meshcompat import *", given)  # noqa: S102
    assert given.keys() >= set(mc.__all__)


@pytest.mark.once
def test_import_of_an_error_does_not_wait_for_torch():
    code = "import sys; from meshcompat import MeshDimError; sys.exit('torch' in sys.modules)"
    root = Path(mc.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0


@pytest.mark.parametrize("name", mc.__all__)
def test_every_name_is_there(name):
    value = getattr(mc, name)
    assert getattr(mc, name) == value
    assert isinstance(value, str) or value.__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'meshcompat' has no attribute 'flaten'"):
        mc.flaten  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", SIGNATURES)
def test_parameters_are_what_is_promised(name):
    assert written(inspect.signature(getattr(mc, name))) == SIGNATURES[name]


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_also_what_a_caller_of_torch_would_have_caught(name):
    assert getattr(mc, name).__bases__ == ERRORS[name]


def test_error_texts_read_as_written():
    """A KeyError alone would show its repr."""
    assert str(mc.MeshDimError("unknown mesh dim 'cp'")) == "unknown mesh dim 'cp'"


def test_mismatch_error_names_the_culprit():
    error = mc.MeshMismatchError("text", rank=3, missing=(4,), descriptions={3: "flatten"})
    assert (str(error), error.rank) == ("text", 3)
    assert (error.missing, error.descriptions) == ((4,), {3: "flatten"})


@pytest.mark.parametrize("module", [mc, mesh_utils], ids=lambda module: module.__name__)
def test_types_of_every_name_are_there_at_run_time(module):
    offered = [getattr(module, name) for name in module.__all__]
    for value in filter(callable, offered):
        hints = typing.get_type_hints(value)
        assert hints or isinstance(value, type)


@pytest.mark.parametrize("name", SIGNATURES)
def test_docstrings_say_who_must_call_and_show_an_example(name):
    lines = inspect.getdoc(getattr(mc, name)).splitlines()
    assert lines[0].endswith(".")
    assert "Collective:" in lines
    assert "Example:" in lines
    assert lines[lines.index("Collective:") + 1].strip().startswith(("Yes", "No"))


@pytest.mark.parametrize("name", [*SIGNATURES, "MeshLayout"])
def test_examples_print_what_they_say(name):
    value = getattr(mc, name)
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(value, name, globs={name: value})
    assert example.examples
    told = io.StringIO()
    with fake_world(8):
        result = doctest.DocTestRunner().run(example, out=told.write)
    assert result.failed == 0, told.getvalue()


def test_import_does_not_wait_for_torch():
    code = "import sys, meshcompat; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    root = Path(mc.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0


def test_import_of_everything_starts_no_world_and_no_cuda():
    code = """
import torch, torch.distributed as dist, meshcompat
for name in meshcompat.__all__:
    getattr(meshcompat, name)
assert not dist.is_initialized()
assert not torch.cuda.is_initialized()
"""
    root = Path(mc.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0


def written(signature):
    """Return a signature without annotations, and a sentinel default as ``<raise>``."""
    parameters = [
        parameter.replace(
            annotation=parameter.empty,
            default=Raise() if type(parameter.default) is object else parameter.default,
        )
        for parameter in signature.parameters.values()
    ]
    return str(inspect.Signature(parameters))


class Raise:
    def __repr__(self):
        return "<raise>"
