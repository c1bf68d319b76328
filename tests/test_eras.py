"""The eras: no gap, one shape, no leak; and torches that do not exist, pretended."""

import ast
import importlib.metadata
import inspect
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch.distributed import device_mesh
from torch.distributed.device_mesh import DeviceMesh

import meshcompat as mc
from meshcompat import _eras, _release
from meshcompat._eras import (
    _primitives,
    _table_primitives,
    process_groups,
    torch_2_02,
    torch_2_05,
    torch_2_10,
)
from meshcompat._mesh import links, one_root, tables
from meshcompat.testing import each_rank, fake_world
from tests.known_differences import KNOWN_DIFFERENCES, KnownDifference, stale
from tests.support.oracle import Grid, seen

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(mc.__file__).parent
MATRIX = Path(__file__).parent.parent / "ci" / "torch-matrix.toml"
PRIVATE_IS_AT_HOME = ("_eras", "testing/fake_world.py")

MODULES = [torch_2_02, torch_2_05, torch_2_10]


def functions_of(protocol):
    members = vars(protocol).items()
    return {name: f for name, f in members if inspect.isfunction(f) and not name.startswith("_")}


PROTOCOL = functions_of(_primitives.Primitives)
TABLES = {**PROTOCOL, **functions_of(_table_primitives.TablePrimitives)}
LINKS = functions_of(links.Links)


def protocol_of(module):
    (era,) = (era for era in _eras.ERAS if era.module is module)
    return TABLES if era.links == "tables" else PROTOCOL


def test_a_fake_world_has_no_gloo_in_it():
    with fake_world(2):
        assert process_groups.gloo_backends() == []


def stem_of(module):
    return module.__name__.rpartition(".")[2]


def rows():
    return tomllib.loads(MATRIX.read_text(encoding="utf-8"))["rows"]


class TestTable:
    def test_has_no_gap_from_the_floor_to_the_newest_tested(self):
        first, *_, last = _eras.ERAS
        assert (first.oldest, last.newest) == (_release.OLDEST, _release.NEWEST_TESTED)
        for before, after in zip(_eras.ERAS, _eras.ERAS[1:], strict=False):
            assert after.oldest == (before.newest[0], before.newest[1] + 1)
        assert all(era.oldest <= era.newest for era in _eras.ERAS)

    def test_has_every_module_once(self):
        files = {path.stem for path in (PACKAGE / "_eras").glob("torch_*.py")}
        assert [stem_of(era.module) for era in _eras.ERAS] == sorted(files)
        assert [era.module for era in _eras.ERAS] == MODULES

    def test_covers_the_matrix(self):
        minors = {row["id"]: _release.minor_of(row["version"]) for row in rows()}
        assert max(minors.values()) == _release.NEWEST_TESTED
        assert min(minors.values()) == _release.OLDEST
        for row in rows():
            oldest, newest = spelled(row["era"])
            (era,) = (era for era in _eras.ERAS if era.oldest <= minors[row["id"]] <= era.newest)
            assert (era.oldest, era.newest) == (oldest, newest or _release.NEWEST_TESTED)

    def test_agrees_with_what_this_torch_can_do(self):
        minor = _release.minor_of(torch.__version__)
        wanted = [era for era in _eras.ERAS if era.oldest <= minor]
        assert _eras.era() is wanted[-1]


class TestModules:
    @pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__[-4:])
    def test_have_the_functions_of_the_protocol_and_no_other(self, module):
        functions = [
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value) and not name.startswith("_")
        ]
        protocol = protocol_of(module)
        assert sorted(functions) == sorted(protocol)
        own = [name for name in functions if getattr(module, name).__module__ == module.__name__]
        assert own == [name for name in protocol if name in own]
        assert sorted(getattr(module, "__all__", protocol)) == sorted(protocol)

    @pytest.mark.parametrize("name", TABLES)
    @pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__[-4:])
    def test_have_the_parameters_of_the_protocol(self, module, name):
        if name in protocol_of(module):
            assert_alike(getattr(module, name), TABLES[name])

    @pytest.mark.parametrize("module", [one_root, tables], ids=["one_root", "tables"])
    def test_of_links_have_the_functions_of_their_protocol(self, module):
        own = {
            name: value
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        }
        public = [name for name in own if not name.startswith("_")]
        assert public == list(LINKS)
        for name in public:
            assert_alike(own[name], LINKS[name])

    def test_import_nothing_from_an_older_era(self):
        """So that the oldest can be deleted."""
        stems = [stem_of(era.module) for era in _eras.ERAS]
        for place, stem in enumerate(stems):
            text = (PACKAGE / "_eras" / f"{stem}.py").read_text(encoding="utf-8")
            assert not [older for older in stems[:place] if older in text]

    def test_are_asked_about_the_era_nowhere_else(self):
        answers = {name: inspect.signature(f).return_annotation for name, f in TABLES.items()}
        questions = {name for name, answer in answers.items() if answer == "bool"}
        assert "orders_groups" in questions
        for path in sorted(PACKAGE.rglob("*.py")):
            if not path.relative_to(PACKAGE).as_posix().startswith(("_eras/", "_mesh/")):
                words = {
                    node.attr
                    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                    if isinstance(node, ast.Attribute)
                }
                assert not words & questions, path


def assert_alike(function, member):
    _, *wanted = inspect.signature(member).parameters.values()
    assert list(inspect.signature(function).parameters.values()) == wanted
    returned = inspect.signature(function).return_annotation
    assert returned == inspect.signature(member).return_annotation


class TestPrivateNames:
    """torch's private names are read in the eras, and nowhere else."""

    @pytest.mark.parametrize(
        "path",
        [
            path
            for path in sorted(
                path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")
            )
            if not path.startswith(PRIVATE_IS_AT_HOME)
        ],
    )
    def test_are_not_used_in(self, path):
        assert private_names((PACKAGE / path).read_text(encoding="utf-8")) == []

    @pytest.mark.parametrize(
        "snippet",
        [
            "mesh._flatten_mapping",
            "torch._C",
            "mesh.mesh._version",
            "getattr(mesh, '_layout')",
            "hasattr(mesh, '_layout')",
            "setattr(mesh, '_dim_group_names', [])",
            "from torch.distributed import _mesh_layout",
            "from torch.distributed._mesh_layout import _MeshLayout",
            "from torch.distributed.device_mesh import _mesh_resources",
            "import torch._C",
            "import torch.testing._internal.distributed.fake_pg",
            "importlib.import_module('torch._C')",
            "mesh.__dict__['_layout']",
        ],
    )
    def test_are_found_in(self, snippet):
        assert private_names(snippet) != []

    @pytest.mark.parametrize(
        "snippet",
        [
            "self._view",
            "options._replace(timeout=None)",
            "mesh.__class__",
            "from meshcompat import _layout",
            "_layout.join(dims)",
            "os._exit(0)",
            "sys._getframe(1)",
        ],
    )
    def test_are_not_mistaken_for(self, snippet):
        assert private_names(snippet) == []


class TestRelease:
    @pytest.mark.parametrize(
        ("version", "minor"),
        [
            ("2.10.0a0+b558c986e8.nv25.11", (2, 10)),
            ("2.16.0.dev20270101+cu132", (2, 16)),
            ("2.5.1+cu124", (2, 5)),
            ("3", (3, 0)),
            ("git-deadbeef", None),
        ],
    )
    def test_is_read_from_the_version_string(self, version, minor):
        assert _release.minor_of(version) == minor

    def test_of_torch_is_known_before_torch_is_imported(self, monkeypatch):
        monkeypatch.delitem(sys.modules, "torch")
        assert _release.installed_torch() == importlib.metadata.version("torch")

    def test_of_a_tree_that_was_never_installed_is_unknown(self, monkeypatch):
        def missing(name):
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "version", missing)
        assert _release.own_version() == "0+unknown"

    def test_of_a_torch_that_is_not_there_refuses_nothing_until_torch_is_needed(self, tmp_path):
        (tmp_path / "meshcompat").symlink_to(PACKAGE)  # where it is installed, torch lies beside it
        code = (
            "import sys\n"
            f"sys.path.insert(0, {str(tmp_path)!r})\n"
            "import meshcompat\n"
            "meshcompat.MeshLayout\n"
            "meshcompat.flatten"
        )
        # -S leaves out the site-packages, and so every distribution.
        done = subprocess.run(
            [sys.executable, "-S", "-c", code], check=False, capture_output=True, text=True
        )
        last = done.stderr.splitlines()[-1]
        assert last == "ModuleNotFoundError: No module named 'torch'"
        assert "line 5, in <module>" in done.stderr

    def test_older_than_the_floor_is_refused_at_import(self):
        code = (
            "import sys, types\n"
            "sys.modules['torch'] = types.SimpleNamespace(__version__='2.1.2+cu121')\n"
            "import meshcompat"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=False,
            capture_output=True,
            text=True,
            cwd=PACKAGE.parent,
        )
        assert done.stderr.splitlines()[-1] == (
            "meshcompat._errors.UnsupportedTorchError: meshcompat needs torch 2.2 or newer, but "
            "torch 2.1.2+cu121 is installed; upgrade torch, or stay without meshcompat"
        )


@pytest.fixture
def pretend(monkeypatch):
    """Return a function that gives torch another version; the era is asked for anew."""

    def pretend(version):
        monkeypatch.setattr(torch, "__version__", version)
        _eras.era.cache_clear()
        _eras.is_known.cache_clear()

    yield pretend
    monkeypatch.undo()
    _eras.era.cache_clear()
    _eras.is_known.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mc.UntestedTorchWarning)  # where the real one is untested
        _eras.era()


class TestPretendedTorch:
    def test_newer_than_the_newest_tested_warns_once_and_is_right(self, pretend):
        pretend("2.99.0")
        with pytest.warns(mc.UntestedTorchWarning, match=r"torch 2\.99\.0 is newer") as caught:
            assert_all_is_right()
        assert len(caught) == 1

    @pytest.mark.parametrize(
        "version", ["2.10.0a0+b558c986e8.nv25.11", "2.2.0+vendor", "2.15.0"], ids=str
    )
    def test_counts_by_what_it_can_do_not_by_what_it_calls_itself(self, pretend, version):
        wanted = _eras.era()
        pretend(version)
        assert _eras.era() is wanted
        assert_all_is_right()

    @pytest.mark.parametrize(
        ("version", "is_known"),
        [
            ("2.2.2", True),
            ("2.15.0+cu132", True),
            ("2.13.1+cpu", True),
            ("2.9.1+rocm6.4", True),
            ("2.99.0", False),
            ("2.1.2+cu121", False),
            ("2.15.0a0+b558c986e8.nv26.11", False),
            ("2.15.0.dev20261101+cpu", False),
            ("2.15.0+vendor", False),
            ("git-deadbeef", False),
        ],
    )
    def test_is_looked_at_mesh_by_mesh_where_it_is_no_public_release(
        self, pretend, version, is_known
    ):
        pretend(version)
        assert _eras.is_known() is is_known

    def test_without_a_readable_version_warns_and_is_right(self, pretend):
        pretend("git-deadbeef")
        with pytest.warns(mc.UntestedTorchWarning, match="git-deadbeef"):
            assert_all_is_right()

    def test_that_dropped_its_private_reshaping_is_right(self, pretend, monkeypatch):
        pretend("2.15.0")
        for name in ("_flatten", "_unflatten", "_concatenate"):
            monkeypatch.delattr(DeviceMesh, name, raising=False)
        monkeypatch.setattr(DeviceMesh, "_flatten_mapping", Gone(), raising=False)
        assert_all_is_right()

    def test_that_knows_no_root_is_refused(self, pretend, monkeypatch):
        pretend("2.99.0")
        monkeypatch.delattr(DeviceMesh, "_get_root_mesh", raising=False)
        monkeypatch.delattr(device_mesh, "_mesh_resources", raising=False)
        message = r"torch 2\.99\.0 has none of the DeviceMesh internals of torch 2\.2 to \d\.\d+;"
        with fake_world(8), pytest.raises(mc.UnsupportedTorchError, match=message):
            mc.init_device_mesh("cpu", (8,), mesh_dim_names=("dp",))

    @pytest.mark.parametrize("rank", [0, 6], ids=["member", "outside"])
    def test_whose_submeshes_are_wrong_is_refused(self, pretend, monkeypatch, rank):
        """A wrong mesh is never handed out, whatever an unknown constructor makes of its arguments."""
        pretend("2.15.0a0+b558c986e8.nv26.11")
        era = _eras.primitives()
        for name in ("make_submesh", "make_outside"):
            monkeypatch.setattr(era, name, wrong(getattr(era, name)))
        with fake_world(8, rank):
            mesh = mc.init_device_mesh(
                "cpu", (2, 2), mesh_dim_names=("dp", "tp"), ranks=[0, 1, 2, 3]
            )
            message = r"this torch made a mesh of shape and ranks .*\[.*\].* where .*\[.*\].* was asked for"
            for names in ("dp", ("tp", "dp")):
                with pytest.raises(mc.UnsupportedTorchError, match=message):
                    mc.get_submesh(mesh, names)

    def test_2_3_0_which_makes_groups_with_every_mesh_is_refused(self, monkeypatch):
        monkeypatch.setattr(torch_2_02, "_constructor", dict)
        with pytest.raises(mc.UnsupportedTorchError, match=r"use torch 2\.3\.1 or newer"):
            torch_2_02.make_root("cpu", range(8), (8,), ("dp",), keep_order=False)


class TestKnownDifferences:
    ROW = KnownDifference((2, 5), (2, 9), "tests/test_a.py::test_b[x*]", "reason", "https://link")

    def test_hold_in_their_range_only(self):
        minors = [(2, 4), (2, 5), (2, 9), (2, 10), None]
        assert [self.ROW.holds_on(minor) for minor in minors] == [False, True, True, False, False]

    def test_match_ids_with_brackets(self):
        assert self.ROW.is_about("tests/test_a.py::test_b[x1]")
        assert not self.ROW.is_about("tests/test_a.py::test_b")
        assert not self.ROW.is_about("tests/test_a.py::test_bx1")

    def test_are_stale_where_no_test_matches(self):
        assert stale([self.ROW], ["tests/test_a.py::test_b[y]"]) == [self.ROW]
        assert stale([self.ROW], ["tests/test_a.py::test_b[x]"]) == []

    def test_have_a_reason_and_a_link(self):
        for row in KNOWN_DIFFERENCES:
            assert row.reason
            assert row.link.startswith("https://")
            assert _release.OLDEST <= row.oldest <= row.newest <= _release.NEWEST_TESTED


class Gone:
    """An attribute that is there for torch, which may rely on it, but not for meshcompat."""

    def __get__(self, instance, owner):
        if sys._getframe(1).f_globals["__name__"].startswith("meshcompat."):  # noqa: SLF001
            raise AttributeError
        return {}

    def __set__(self, instance, value):
        pass


def wrong(make):
    """Return a maker of meshes that mixes up its ranks and its dims."""

    def make_wrong(root, ranks, dims, names):
        if not callable(ranks):  # the maker for a rank outside, whose dims are sizes
            return make(root, ranks[::-1], dims, names)
        turned = [((2, 2),) if axes == ((2, 1),) else ((2, 1),) for axes in dims]
        return make(root, lambda: ranks()[::-1], turned, names)

    return make_wrong


def assert_all_is_right():
    """Go through every operation on every rank; warnings pass, torch's own are still errors."""
    grid = Grid((2, 2, 2), ("pp", "a", "b"), dp=("a", "b"), pp_b=("pp", "b"))
    for rank in each_rank(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("pp", "dp"))
        view = mc.unflatten(mesh, "dp", (2, 2), ("a", "b"))
        assert seen(view) == grid.facts(("pp", "a", "b"))
        flat = mc.flatten(mc.get_submesh(view, ("pp", "b")), "pp_b")
        assert seen(flat) == grid.facts("pp_b")
        assert seen(mc.get_submesh(view, ("a", "pp_b"))) == grid.facts(("a", "pp_b"))
        both = mc.concatenate([mc.get_submesh(view, "b"), mc.get_submesh(mesh, "pp")])
        assert seen(both) == grid.facts(("b", "pp"))
        assert mc.get_root_mesh(both) is mc.get_root_mesh(flat) is mesh
        assert list(mc.get_flattened_meshes(mesh)) == ["pp_b"]
        assert rank in mc.get_ranks(view, ("pp", "b"))


def spelled(era):
    """Return the first and last minor of ``"2.5-2.9"``; the last is None in ``"2.10+"``."""
    oldest, _, newest = era.rstrip("+").partition("-")
    return _release.minor_of(oldest), _release.minor_of(newest) if newest else None


# What looks private and is not torch's: named tuples, and the standard library.
NOT_TORCHS = {"_replace", "_asdict", "_fields", "_make", "_exit", "_getframe"}


def private_names(source):
    """Return the private names of others that *source* reads, in the order of the tree."""
    return [name for node in ast.walk(ast.parse(source)) for name in _private_in(node)]


def _private_in(node):
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            names = []
        case ast.Attribute(attr=attribute):
            names = [attribute] if _is_private(attribute) and attribute not in NOT_TORCHS else []
        case ast.Import(names=aliases):
            names = [alias.name for alias in aliases if _is_of_others(alias.name)]
        case ast.ImportFrom(module=module, names=aliases):
            names = [f"{module}.{alias.name}" for alias in aliases]
            names = [name for name in names if _is_of_others(name)]
        case ast.Subscript(value=ast.Attribute(attr="__dict__"), slice=key):
            names = [name for name in _literals([key]) if _is_private(name)]
        case ast.Call(func=ast.Name(id="getattr" | "hasattr" | "setattr" | "delattr"), args=args):
            names = [name for name in _literals(args[1:2]) if _is_private(name)]
        case ast.Call(func=ast.Attribute(attr="import_module"), args=args):
            names = [name for name in _literals(args) if _is_of_others(name)]
        case _:
            names = []
    return names


def _literals(nodes):
    return [node.value for node in nodes if isinstance(node, ast.Constant)]


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


def _is_of_others(name):
    package, *parts = name.split(".")
    return package not in {"meshcompat", "__future__"} and any(map(_is_private, parts))
