# /// script
# requires-python = ">=3.10"
# dependencies = ["nox[uv]>=2025.5.1"]
# ///
"""Every job of the project, one session each; ci/README.md says which runs when."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "no"  # `-r` keeps the environments, and disk is what it costs

Row = dict[str, Any]

ROOT = Path(__file__).parent
PYTHON = "3.11"
ROWS: dict[str, Row] = {
    row["id"]: row for row in nox.project.load_toml("ci/torch-matrix.toml")["rows"]
}
DOWNSTREAM: dict[str, Row] = {
    f"{row['project']}-{row['torch']}": row
    for row in nox.project.load_toml("ci/downstream.toml")["rows"]
}
EDGE = [name for name, row in ROWS.items() if "edge" in row["tags"]]
NEWEST = EDGE[-1]
NIGHTLY_INDEX = "https://download.pytorch.org/whl/nightly/cpu"
BACKEND = os.environ.get(
    "MESHCOMPAT_TORCH_BACKEND", "auto"
)  # or cpu, default: where wheels of torch come from
ORDINARY = "not gpu and not soak and not processes and not consumers"
CONSUMERS = [
    "tests/collectives/test_consumers.py",
    "tests/collectives/test_consumers_training.py",
]
REHEARSED = [
    "2.9.1",
    "2.11.0",
    NEWEST,
]  # the ends of the eras with DTensor, and what GPU machines bring
SPREAD = ["-n2", "--dist=loadfile"]  # two workers: most tests wait for one core, or for ranks

nox.options.sessions = ["lint", "types", *(f"tests({name})" for name in EDGE)]


@nox.session(python=PYTHON, tags=["check"])
def lint(session: nox.Session) -> None:
    """Check style, formatting, and that generated tables are up to date."""
    session.install("--group", "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("python", "ci/tables.py", "--check")


@nox.session(python=PYTHON, tags=["check"])
def types(session: nox.Session) -> None:
    """Run mypy over package, scripts and tests, strict but for tests, and pyright too over what users write."""
    with torch_environment(session, pinned(ROWS[NEWEST]), "types"):
        session.run("mypy", *session.posargs)
        session.run("pyright")


@nox.session
@nox.parametrize(
    "python,name",
    [
        nox.param(row["python"], name, id=name, tags=["matrix", *row["tags"]])
        for name, row in ROWS.items()
    ],
)
def tests(session: nox.Session, name: str) -> None:
    """Run the tests on one row of ci/torch-matrix.toml, on CPU (MESHCOMPAT_COVERAGE=1: tell `cover` what ran)."""
    with torch_environment(session, pinned(ROWS[name]), "test"):
        wanted = ORDINARY if name == NEWEST else f"{ORDINARY} and not once"
        # `-- --last-failed` is of this row.
        own_cache = f"--override-ini=cache_dir=.pytest_cache/{name}"
        with pytest_command(session, name) as command:
            session.run(*command, *SPREAD, own_cache, "-m", wanted, *session.posargs)


@nox.session(python=PYTHON)
def processes(session: nox.Session) -> None:
    """Run the tests about processes that die, hang or leave, one after another, on the newest torch."""
    with (
        torch_environment(session, pinned(ROWS[NEWEST]), "test"),
        pytest_command(session, "processes") as command,
    ):
        session.run(*command, "-m", "processes and not soak", *session.posargs)


@nox.session(python=PYTHON)
def pictures(session: nox.Session) -> None:
    """Look at pictures of meshes with the Chromium of this machine, without torch."""
    session.install("--no-deps", "-e.")
    session.install("--group", "pictures")
    session.run("pytest", "pictures", *session.posargs)


@nox.session
@nox.parametrize(
    "python,name", [nox.param(row["python"], name, id=name) for name, row in ROWS.items()]
)
def consumers(session: nox.Session, name: str) -> None:
    """Run all tests of DTensor, TP, FSDP2, pipelines, checkpoints and compile on one row of the matrix."""
    with torch_environment(session, pinned(ROWS[name]), "test"):
        session.run("pytest", *CONSUMERS, *session.posargs)


@nox.session(python=PYTHON)
def exchange(session: nox.Session) -> None:
    """Let the edge releases meet: each reads what each other wrote, and two in one world are refused."""
    with torch_environment(session, pinned(ROWS[NEWEST]), "test"):
        pythons = [install_beside(session, ROWS[name]) for name in EDGE if name != NEWEST]
        env = {"MESHCOMPAT_OTHER_PYTHONS": os.pathsep.join(pythons)}
        session.run("pytest", "tests/test_other_releases.py", *session.posargs, env=env)


@nox.session
@nox.parametrize(
    "python,name",
    [nox.param(row["python"], name, id=name, tags=["soak"]) for name, row in ROWS.items()],
)
def soak(session: nox.Session, name: str) -> None:
    """Run the long tests on one row of ci/torch-matrix.toml, on CPU."""
    with torch_environment(session, pinned(ROWS[name]), "test"):
        session.run("pytest", *SPREAD, "-m", "soak", *session.posargs)


@nox.session
@nox.parametrize(
    "python,name",
    [
        *(nox.param(row["python"], name, id=name, tags=["cuda"]) for name, row in ROWS.items()),
        nox.param(False, None, id="installed"),
    ],
)
def nccl(session: nox.Session, name: str | None) -> None:
    """Show all of ci/nccl.py on GPUs, on one row or on the machine's own python and torch (installs nothing)."""
    script = ["python", "ci/nccl.py", *session.posargs]
    if name is None:
        session.run(*script, external=True)
        return
    with torch_environment(session, pinned(ROWS[name]), "test", backend="default"):
        session.run(*script)


@nox.session
@nox.parametrize(
    "python,name", [nox.param(ROWS[name]["python"], name, id=name) for name in REHEARSED]
)
def rehearse(session: nox.Session, name: str) -> None:
    """Run every part of ci/nccl.py on CPU: each has to report."""
    with torch_environment(session, pinned(ROWS[name]), "test"):
        out = str(Path(session.create_tmp(), "nccl.json"))
        session.run("python", "ci/nccl.py", "--rehearse", "--out", out, *session.posargs)


@nox.session
@nox.parametrize(
    "python,name",
    [
        nox.param(row["python"], name, id=name, tags=["bench"])
        for name, row in ROWS.items()
        if row["era"] != "2.2-2.4"  # torch does not flatten there: nothing to compare with
    ],
)
def bench(session: nox.Session, name: str) -> None:
    """Measure one row beside torch's own calls, on a quiet machine, and rewrite docs/performance.md."""
    with torch_environment(session, pinned(ROWS[name]), "bench"):
        session.run("pytest", "benchmarks", "--record", *session.posargs)
        session.run("python", "ci/pictures.py")
        session.run("python", "ci/tables.py")


@nox.session
@nox.parametrize(
    "python,name",
    [nox.param(ROWS[row["torch"]]["python"], name, id=name) for name, row in DOWNSTREAM.items()],
)
def downstream(session: nox.Session, name: str) -> None:
    """Run another project's wheel against our meshes: one row of ci/downstream.toml, on CPU."""
    row = DOWNSTREAM[name]
    torch, project = pinned(ROWS[row["torch"]]), f"{row['project']}=={row['version']}"
    alone = [project] if row.get("alone") else []
    beside = [*row.get("pins", []), *([] if alone else [project])]
    with torch_environment(session, [*torch, *beside], "test", alone=alone):
        tests = f"downstream/test_{row['project'].replace('-', '_')}.py"
        env = {"MESHCOMPAT_DOWNSTREAM": name, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
        session.run("pytest", tests, *session.posargs, env=env)


@nox.session(python=PYTHON)
def example(session: nox.Session) -> None:
    """Run the noxfile of examples/library as it stands, on the oldest and the newest release."""
    session.install("nox[uv]", "packaging")
    session.install("--no-deps", "-e.")
    with tempfile.TemporaryDirectory() as scratch:
        env = {"MESHCOMPAT": str(ROOT), "UV_CACHE_DIR": f"{scratch}/cache"}
        if "--torch-backend=cpu" in sources(BACKEND):
            env["UV_TORCH_BACKEND"] = "cpu"
        wanted = [f"tests({ROWS[name]['version']})" for name in (EDGE[0], NEWEST)]
        command = ["nox", "-f", "examples/library/noxfile.py", f"--envdir={scratch}/nox"]
        session.run(*command, "-s", *wanted, "--", *session.posargs, env=env)


@nox.session(python=PYTHON)
def cover(session: nox.Session) -> None:
    """Combine the coverage that rows measured here and fail under 100 % (`-- --fail-under=0`: only report)."""
    session.install("coverage")
    session.env["COVERAGE_FILE"] = ".coverage-of-all-rows"
    session.run(
        "coverage",
        "combine",
        "--keep",
        "--quiet",
        *sorted(path.name for path in ROOT.glob(".coverage.*")),
    )
    session.run("coverage", "report", "--fail-under=100", *session.posargs)


@nox.session(python=PYTHON)
def wheel(session: nox.Session) -> None:
    """Build the distributions, install the wheel elsewhere, test there what it carries: commands and their data."""
    with tempfile.TemporaryDirectory() as scratch:
        session.run("uv", "build", "--quiet", "--out-dir", scratch, external=True)
        (built,) = Path(scratch).glob("*.whl")
        elsewhere = Path(scratch, "elsewhere")
        shutil.copytree(
            ROOT, elsewhere, ignore=shutil.ignore_patterns("meshcompat", ".*", "__pycache__")
        )
        package = f"meshcompat[cli] @ {built.as_uri()}"
        with torch_environment(session, pinned(ROWS[NEWEST]), "test", package=package):
            session.chdir(elsewhere)
            wanted = f"once and {ORDINARY} and not multiprocess"
            session.run("pytest", *SPREAD, "-m", wanted, *session.posargs)
            session.chdir(ROOT)


@nox.session(name="audit-projects", python=PYTHON)
def audit_projects(session: nox.Session) -> None:
    """Audit the public projects of ci/audit-projects.toml (`-- --store`: write the figures of docs/audit.md)."""
    session.install("pip", "packaging")  # the audit needs no torch
    session.run("python", "ci/audit_projects.py", *session.posargs, env={"PYTHONPATH": str(ROOT)})
    session.run("python", "ci/tables.py", *([] if session.posargs else ["--check"]))


@nox.session(python=PYTHON)
def advisories(session: nox.Session) -> None:
    """Look for known vulnerabilities in what an installation and the tests bring along."""
    session.install("pip-audit")
    pinned_all = str(Path(session.create_tmp(), "requirements.txt"))
    groups = ["--all-extras", "--group", "test", "--group", "lint", "--group", "types"]
    command = ["uv", "pip", "compile", "--quiet", *groups, "pyproject.toml"]
    session.run(*command, "--output-file", pinned_all, external=True)
    command = ["pip-audit", "--strict", "--requirement", pinned_all, "--no-deps", "--disable-pip"]
    session.run(*command, *session.posargs)


@nox.session(python=PYTHON)
def tables(session: nox.Session) -> None:
    """Regenerate the tables in README.md and docs/ (`-- --check`: only compare)."""
    session.run("python", "ci/tables.py", *session.posargs)


@nox.session(python=PYTHON)
def docs(session: nox.Session) -> None:
    """Build the pages of docs/ as a site, warnings as errors (`-- -b linkcheck`: look at links, with a network)."""
    with torch_environment(session, pinned(ROWS[NEWEST]), "docs"):
        built = str(Path(session.create_tmp(), "site"))
        options = session.posargs or ["-b", "html"]
        session.run("python", "-m", "sphinx", "-W", "-n", "-q", *options, "docs", built)


@nox.session(python=PYTHON)
def nightly(session: nox.Session) -> None:
    """Run the tests on tonight's torch."""
    torch = [
        "torch>=2.2.dev0",
        f"--index={NIGHTLY_INDEX}",
    ]  # a bound with `dev` lets uv take development releases
    with torch_environment(session, torch, "test", backend="default"):
        session.run("pytest", "-m", ORDINARY, *session.posargs)


def pinned(row: Row) -> list[str]:
    """Return the requirements of a row of the matrix."""
    return [f"torch=={row['version']}", *row["pins"]]


@contextlib.contextmanager
def torch_environment(
    session: nox.Session,
    torch: list[str],
    group: str,
    *,
    package: str = "-e.[cli]",
    backend: str = BACKEND,
    alone: Sequence[str] = (),
) -> Iterator[None]:
    """Install a torch, this package and a dependency group for as long as the block runs.

    What is in *alone* comes without its dependencies.

    A torch with CUDA libraries takes 5 GB, so that neither environments nor uv's cache may pile up over the rows: the
    cache lies in the environment (hard links: it costs nothing) and both go away, unless nox was told to reuse (`-r`)
    or the caller has a UV_CACHE_DIR.
    """
    venv = environment_of(session)
    cache = {"UV_CACHE_DIR": cache_of(session)}
    try:
        session.install(*sources(backend), *torch, package, "--group", group, env=cache)
        if alone:
            session.install("--no-deps", *alone, env=cache)
        yield
    finally:
        if not venv.reuse_existing:
            shutil.rmtree(venv.location, ignore_errors=True)


def install_beside(session: nox.Session, row: Row) -> str:
    """Install a row of the matrix in an environment inside the session's own, and return its python."""
    place = Path(environment_of(session).location, "beside", row["id"])
    python = str(place / "bin" / "python")
    session.run("uv", "venv", "--quiet", f"--python={row['python']}", str(place), external=True)
    cache = {"UV_CACHE_DIR": cache_of(session)}
    session.install(f"--python={python}", *sources(BACKEND), *pinned(row), "-e.", env=cache)
    return python


def sources(backend: str) -> list[str]:
    """Return what tells uv where the wheels of torch come from."""
    is_cpu = backend == "cpu" or (backend == "auto" and cpu_index_answers())
    return ["--torch-backend=cpu"] if is_cpu else []


def cache_of(session: nox.Session) -> str:
    """Return the folder of uv's cache, which lies in the environment unless the caller has one."""
    return os.environ.get("UV_CACHE_DIR", str(Path(environment_of(session).location, "uv-cache")))


def environment_of(session: nox.Session) -> nox.virtualenv.VirtualEnv:
    """Return the environment of a session, which is its own."""
    if not isinstance(session.virtualenv, nox.virtualenv.VirtualEnv):
        session.error("needs an environment of its own: do not use --no-venv")
    return session.virtualenv


@functools.cache
def cpu_index_answers() -> bool:
    """Whether uv can reach its index of CPU wheels, asked once for all rows."""
    command = ["uv", "pip", "compile", "--quiet", "--no-deps", "--torch-backend=cpu", "-"]
    patience = {"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": "10"}
    answer = subprocess.run(
        command,
        input="torch",
        text=True,
        capture_output=True,
        env={**os.environ, **patience},
        check=False,
    )
    return answer.returncode == 0


@contextlib.contextmanager
def pytest_command(session: nox.Session, name: str) -> Iterator[list[str]]:
    """Give the command that runs tests; where coverage is asked for, leave what it measured in .coverage.<name>.

    Measuring makes the tests take half as long again.
    """
    if "MESHCOMPAT_COVERAGE" not in os.environ:
        yield ["pytest"]
        return
    for stale in [ROOT / f".coverage.{name}", *ROOT.glob(f".coverage.{name}.*")]:
        stale.unlink(missing_ok=True)
    session.env["COVERAGE_FILE"] = str(ROOT / f".coverage.{name}")
    try:
        yield ["coverage", "run", "-m", "pytest"]
    finally:  # also when tests fail
        session.run("coverage", "combine", "--quiet", success_codes=[0, 1])


def offer_all_pyenv_interpreters() -> None:
    """Make every interpreter that pyenv installed findable: its shims run only those of the selected versions."""
    shims = [
        Path(entry) for entry in os.environ["PATH"].split(os.pathsep) if Path(entry).name == "shims"
    ]
    found = [str(path) for entry in shims for path in sorted(entry.parent.glob("versions/*/bin"))]
    os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *found])


offer_all_pyenv_interpreters()

if __name__ == "__main__":
    nox.main()
