"""The README's example gives the same answers whatever surrounds the caller.

What is made inside is looked at outside: real tensors, usable anywhere.
"""

import contextlib
import importlib
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import meshcompat as mc
from meshcompat._eras import compiled
from meshcompat.testing import fake_world
from tests.support import native
from tests.test_readme import block_after

# What dynamo says of Python 3.13.0.
pytestmark = pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")

EXAMPLE = compile(block_after("example").replace(".mesh.tolist()", ""), "README.md", "exec")
"""The example, which prints meshes: their ranks are read outside."""


class EveryFunctionFails(TorchFunctionMode):
    """All but reading an attribute, such as the shape of a mesh's tensor."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") == "__get__":
            return func(*args, **(kwargs or {}))
        raise AssertionError(f"{func} was called in the caller's mode")


class EveryOperatorFails(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} was called in the caller's mode")


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def nested(*contexts):
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


SURROUNDINGS = {
    "default device meta": lambda: default_device("meta"),
    "default device cuda": lambda: default_device("cuda"),
    "with device meta": lambda: torch.device("meta"),
    "with device cuda": lambda: torch.device("cuda"),
    "default dtype": lambda: default_dtype(torch.float16),
    "fake tensors": FakeTensorMode,
    "fake tensors on meta": lambda: nested(FakeTensorMode(), torch.device("meta")),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "a function mode": EveryFunctionFails,
    "a dispatch mode": EveryOperatorFails,
}


def readable(printed):
    """Return what the example would have printed, and check that its meshes are real."""
    lines = []
    for row in printed:
        words = []
        for value in row:
            if isinstance(value, DeviceMesh):
                assert type(value.mesh) is torch.Tensor
                assert not value.mesh.is_inference()
                words.append(value.mesh.tolist())
            else:
                words.append(value)
        lines.append(" ".join(map(str, words)))
    return "\n".join(lines) + "\n"


def run_example():
    printed = []
    given = {"print": lambda *values: printed.append(values)}
    exec(EXAMPLE, given)  # noqa: S102
    return printed, given["mesh"]


@pytest.fixture(params=SURROUNDINGS)
def surrounding(request):
    return SURROUNDINGS[request.param]


def test_the_example_gives_the_same_inside(surrounding):
    with fake_world(16):
        with surrounding():
            printed, _ = run_example()

        assert readable(printed) == block_after("output")


def test_what_is_made_inside_serves_outside(surrounding):
    with fake_world(16, rank=5):
        with surrounding():
            _, mesh = run_example()

        assert native.ranks_of(mc.get_submesh(mesh, ("tp", "dp_shard")), 1) == [5, 7]
        assert mesh["cp"].mesh.tolist() == [4, 5]


def test_what_torch_made_outside_is_looked_at_inside(surrounding):
    with fake_world(16, rank=5):
        mesh = init_device_mesh("cpu", (4, 4), mesh_dim_names=("dp", "tp"))
        with surrounding():
            tp = mc.get_submesh(mesh, "tp")
            again = mc.from_group([mc.get_group(tp, "tp")], "cpu", [4, 5, 6, 7])
            found = mc.get_ranks(mesh, "tp"), mc.get_axis_size(mesh, "dp"), mc.layout_of(tp)
            every = mc.get_all_submeshes(mesh, "tp")

        assert found == ([4, 5, 6, 7], 4, mc.layout_of(tp))
        assert again.mesh.tolist() == [4, 5, 6, 7]
        assert [row.mesh.tolist() for row in every] == [
            [4 * row + column for column in range(4)] for row in range(4)
        ]


@pytest.mark.parametrize("transform", ["grad", "vmap", "functionalize"])
def test_the_example_gives_the_same_inside_a_transform(transform):
    found = []

    def loss(x):
        found.append(run_example()[0])
        return (x * x).sum()

    with fake_world(16):
        getattr(torch.func, transform)(loss)(torch.ones(2))

        assert readable(found[0]) == block_after("output")


def test_the_example_gives_the_same_in_another_thread():
    found = []
    with fake_world(16):
        thread = threading.Thread(target=lambda: found.append(run_example()))
        thread.start()
        thread.join()
        ((printed, _),) = found

        assert readable(printed) == block_after("output")


@pytest.fixture
def run_threads():
    """Run a function on every rank of one of torch's own test worlds, where ranks are threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 2.2 warns of the devices of its own test backend
        threaded = importlib.import_module("torch.testing._internal.distributed.multi_threaded_pg")
    c10d = importlib.import_module("torch._C._distributed_c10d")
    set_isolation = getattr(c10d, "_set_thread_isolation_mode", bool)
    store = torch.distributed.HashStore()

    def run(world_size, function):
        def run_rank(rank):
            torch.distributed.init_process_group(
                "threaded", rank=rank, world_size=world_size, store=store
            )
            try:
                found[rank] = function()
            except Exception as error:  # noqa: BLE001  (what the caller asks for)
                found[rank] = error
            finally:
                # torch 2.11's own world of threads lacks what destroying one asks for; it ends with them.
                with contextlib.suppress(AttributeError):
                    torch.distributed.destroy_process_group()

        found = {}
        threads = [threading.Thread(target=run_rank, args=(rank,)) for rank in range(world_size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[rank] for rank in range(world_size)]

    threaded._install_threaded_pg()  # noqa: SLF001
    set_isolation(True)
    yield run
    set_isolation(False)
    threaded._uninstall_threaded_pg()  # noqa: SLF001


@pytest.mark.parametrize(
    "call",
    [
        lambda: mc.init_device_mesh("cpu", (2,), mesh_dim_names=("dp",)),
        lambda: mc.from_group(torch.distributed.group.WORLD, "cpu"),
        lambda: mc.get_ranks(DeviceMesh("cpu", [0, 1], mesh_dim_names=("dp",)), "dp"),
    ],
    ids=["init_device_mesh", "from_group", "a mesh of torch"],
)
def test_a_world_of_threads_is_refused_in_words(run_threads, call):
    errors = run_threads(2, call)

    assert [type(error) for error in errors] == [mc.MeshLayoutError] * 2
    assert all("threads of one process" in str(error) for error in errors)


class Scaled(torch.nn.Module):
    """A model that asks its mesh for sizes, ranks and groups."""

    def __init__(self, mesh):
        super().__init__()
        self.mesh = mesh

    def forward(self, x):
        x = x * mc.get_axis_size(self.mesh, "tp") + mc.get_axis_size(self.mesh, "cp", 7)
        x = x * len(mc.get_ranks(self.mesh, ("dp", "tp"))) + mc.get_ranks(self.mesh, "tp")[0]
        if mc.has_axis(self.mesh, "dp_tp") and mc.is_member(self.mesh):
            x = x * 2
        return x + torch.distributed.get_world_size(mc.get_group(self.mesh, "dp"))


class Viewed(Scaled):
    """It asks for other meshes too: torch ends the graph there up to 2.4."""

    def forward(self, x):
        x = x * mc.get_submesh(self.mesh, ("tp",)).size() + mc.get_flat_mesh(self.mesh, "dp").size()
        root = mc.get_root_mesh(mc.get_submesh(self.mesh, ("tp", "dp")))
        x = x * mc.get_axis_size(mc.get_flat_mesh(root, "tp"), "tp") + root.size()
        return super().forward(x)


MODELS = {"sizes, ranks and groups": (Scaled, True), "meshes too": (Viewed, False)}
"""Each model, and whether every release traces it in one graph."""


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("is_seen", [True, False], ids=["seen before", "new"])
def test_a_compiled_model_has_what_look_ups_give(model, is_seen):
    kind, fullgraph = MODELS[model]
    with fake_world(8, rank=5):
        names = ("dp", "tp")
        meshes = [mc.init_device_mesh("cpu", sizes, mesh_dim_names=names) for sizes in SHAPES]
        for mesh in meshes:
            mc.flatten(mesh, "dp_tp")
        if is_seen:
            expected = [kind(mesh)(torch.ones(2)) for mesh in meshes]
        torch._dynamo.reset()  # noqa: SLF001  (public nowhere)
        found = [
            torch.compile(kind(mesh), backend="eager", fullgraph=fullgraph)(torch.ones(2))
            for mesh in meshes
        ]
        if not is_seen:
            expected = [kind(mesh)(torch.ones(2)) for mesh in meshes]

        assert [x.tolist() for x in found] == [x.tolist() for x in expected]


SHAPES = [(2, 4), (4, 2)]


def test_meshes_and_groups_outlive_a_break_in_the_graph():
    def scale(x):
        tp, group = mc.get_submesh(mesh, "tp"), mc.get_group(mesh, "dp")
        torch._dynamo.graph_break()  # noqa: SLF001
        return x * tp.size(), mc.get_axis_size(tp, "tp"), tp, group

    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        torch._dynamo.reset()  # noqa: SLF001
        for _ in range(2):
            x, size, tp, group = torch.compile(scale, backend="eager")(torch.ones(1))

            assert (x.item(), size) == (4, 4)
            assert tp is mc.get_flat_mesh(mesh, "tp")
            assert group is mc.get_group(mesh, "dp")


def test_what_compiled_code_found_is_found_again_in_another_world():
    torch._dynamo.reset()  # noqa: SLF001
    scale = torch.compile(lambda x, mesh: x * mc.get_submesh(mesh, "tp").size(), backend="eager")
    for shape in (*SHAPES, *SHAPES):
        with fake_world(8, rank=5):
            mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp"))

            assert scale(torch.ones(1), mesh).item() == shape[1]


def test_an_equal_mesh_of_another_root_or_world_is_told_from_the_first():
    seen = []
    note = torch._dynamo.disable(seen.append)  # noqa: SLF001
    # dynamo of 2.2 cannot follow the first use of a name of ours
    group, submesh, local_rank = mc.get_group, mc.get_submesh, mc.get_local_rank

    def scale(x, mesh):
        note(group(mesh, "tp"))
        note(submesh(mesh, "tp"))
        return x * local_rank(mesh, "tp")

    torch._dynamo.reset()  # noqa: SLF001  (public nowhere)
    run = torch.compile(scale, backend="eager")
    for rank in (5, 4):
        with fake_world(8, rank=rank):
            first, second = (
                mc.init_device_mesh("cpu", (4, 2), mesh_dim_names=("dp", "tp")) for _ in range(2)
            )
            for mesh in (first, second, first):
                seen.clear()

                assert run(torch.ones(1), mesh).item() == rank % 2
                assert seen[0] is mc.get_group(mesh, "tp")
                assert seen[1] is mc.get_submesh(mesh, "tp")


def test_compiled_code_is_told_that_its_mesh_was_destroyed():
    note = torch._dynamo.disable(lambda group: group)  # noqa: SLF001
    group = mc.get_group

    def scale(x, mesh):
        note(group(mesh, "tp"))
        return x + 1

    torch._dynamo.reset()  # noqa: SLF001  (public nowhere)
    run = torch.compile(scale, backend="eager")
    with fake_world(8):
        mesh, other = (
            mc.init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp")) for shape in SHAPES[:2]
        )
        for each in (mesh, other):
            run(torch.ones(1), each)
        mc.destroy_mesh(mesh)

        assert run(torch.ones(1), other).item() == 2
        with pytest.raises(Exception, match=r"given up by meshcompat\.destroy_mesh"):
            run(torch.ones(1), mesh)


@pytest.mark.skipif(
    not compiled.CAN_LEAVE_FRAMES,
    reason="dynamo of older releases cannot be told to leave frames alone",
)
def test_first_look_ups_work_in_a_frame_that_dynamo_gave_up_on():
    def scale(x, mesh):
        with contextlib.suppress(KeyError):
            torch._dynamo.graph_break()  # noqa: SLF001
            x = x * mc.get_submesh(mesh, "tp").size() + mc.get_axis_size(mesh, "dp")
            x = x * mc.flatten(mesh, ("dp", "tp"), "all").size() + mc.get_ranks(mesh, "tp")[1]
            return x * mc.unflatten(mesh, "dp", (2, 2), ("a", "b")).size()

    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (4, 2), mesh_dim_names=("dp", "tp"))
        torch._dynamo.reset()  # noqa: SLF001  (public nowhere)

        assert torch.compile(scale, backend="eager")(torch.ones(1), mesh).item() == 49 * 8


def test_a_mesh_that_is_an_argument_is_told_from_another():
    with fake_world(8):
        meshes = [
            mc.init_device_mesh("cpu", sizes, mesh_dim_names=("dp", "tp")) for sizes in SHAPES
        ]
        torch._dynamo.reset()  # noqa: SLF001  (public nowhere)
        scale = torch.compile(lambda x, mesh: x * mc.get_axis_size(mesh, "tp"), backend="eager")
        found = [scale(torch.ones(1), mesh).item() for mesh in (*meshes, *meshes)]

    assert found == [4, 2, 4, 2]


@pytest.mark.once
def test_import_does_not_wait_for_dynamo():
    code = "import sys, meshcompat as mc, torch; mc.get_axis_size; sys.exit('torch._dynamo' in sys.modules)"
    root = Path(mc.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0
