"""Which launcher started this process, brought into torchrun's variables. Imports no torch.

Where a launcher started many processes and does not say enough for them to find each other, this
raises: ranks that each test a world of their own would pass without trying the cluster.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What a rank needs; torchrun sets all of it."""

_NUMBERS = ("RANK", "WORLD_SIZE", "MASTER_PORT")
_LOOPBACK = "127.0.0.1"
DIGITS = 7
"""Longest number of ranks that is taken for one; longer ones would be factorised for ever."""

_LARGEST_PORT = 65535
_PORTS = range(15000, 30000)
"""Ports to choose from where the launcher names none, below those that systems give away."""


class LauncherError(ValueError):
    """A launcher started this process, and does not say enough, or what cannot be."""


class Launch(NamedTuple):
    """What a launcher says, in torchrun's variables."""

    launcher: str
    variables: Mapping[str, str]


def launch_of(environment: Mapping[str, str]) -> Launch | None:
    """Return how this process was launched, or None where it was started alone.

    A launcher that started a single process is none: there is nobody to meet.

    Raises:
        LauncherError: A launcher started several processes, and its variables do not suffice, or
            say what cannot be.
    """
    launch = _said(environment)
    if launch is not None:
        _require_a_place(launch.variables)
    return launch


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, and not too long for a number of ranks."""
    return text.isdecimal() and len(text) <= DIGITS


def _said(environment: Mapping[str, str]) -> Launch | None:
    if "RANK" in environment:
        is_torchrun = "TORCHELASTIC_RUN_ID" in environment
        return Launch("torchrun" if is_torchrun else "RANK, WORLD_SIZE", environment)
    by_mpi = (_mpi(environment, mpi) for mpi in _MPIS)
    return _slurm(environment) or next(filter(None, by_mpi), None)


def _require_a_place(variables: Mapping[str, str]) -> None:
    """Refuse variables that give this process no place among the ranks."""
    for name in (*_NUMBERS, "LOCAL_RANK"):
        value = variables.get(name, "0")
        if not is_whole(value):
            raise _bad(name, value, f"a whole number of at most {DIGITS} digits")
    absent = [name for name in VARIABLES if not variables.get(name)]
    if absent:
        raise LauncherError(
            f"RANK is set, as by a launcher, but not {', '.join(absent)}; set all of "
            f"{', '.join(VARIABLES)}, or unset RANK to start ranks on this machine"
        )
    rank, world_size, port = (int(variables[name]) for name in _NUMBERS)
    if rank >= world_size:
        raise _bad("RANK", rank, f"below WORLD_SIZE, which is {world_size}")
    if not 0 < port <= _LARGEST_PORT:
        raise _bad("MASTER_PORT", port, f"from 1 to {_LARGEST_PORT}")


def _bad(name: str, value: object, allowed: str) -> LauncherError:
    return LauncherError(
        f"{name} is {value!r} in the environment, but must be {allowed}; set it right, or unset "
        f"RANK to do without a launcher"
    )


def _slurm(environment: Mapping[str, str]) -> Launch | None:
    size = environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS", "1")
    if size == "1":
        return None
    rank = environment.get("SLURM_PROCID")
    step = environment.get("SLURM_STEP_ID") or environment.get("SLURM_STEPID")
    if rank is None or step is None:
        raise LauncherError(
            f"SLURM gives this job {size} tasks, but this process is none of them (SLURM_PROCID "
            f"or SLURM_STEP_ID is not set), and alone it would test ranks of this machine only; "
            f"{_try('srun meshcompat verify')}"
        )
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST")
    count = environment.get("SLURM_STEP_NUM_NODES") or environment.get("SLURM_NNODES")
    address = _first_host(nodes) if nodes else environment.get("SLURM_LAUNCH_NODE_IPADDR")
    if count == "1":
        address = _LOOPBACK
    if "MASTER_ADDR" not in environment and address is None:
        raise LauncherError(
            f"SLURM started this task, number {rank} of {size}, but neither SLURM_NODELIST nor "
            f"SLURM_LAUNCH_NODE_IPADDR says where task 0 runs; "
            f"{_try('MASTER_ADDR=<host of task 0> srun meshcompat verify')}"
        )
    job = f"{environment.get('SLURM_JOB_ID', '')}.{step}"
    local_rank = environment.get("SLURM_LOCALID")
    return _launch("SLURM", environment, (rank, size, local_rank), address, job)


class _Mpi(NamedTuple):
    """The variables of an MPI's launcher, which says nothing of where rank 0 runs."""

    name: str
    command: str
    size: str
    rank: str
    local_size: str
    local_rank: str
    jobs: tuple[str, ...]
    line: str


_MPIS = (
    _Mpi(
        name="Open MPI",
        command="Open MPI's mpirun",
        size="OMPI_COMM_WORLD_SIZE",
        rank="OMPI_COMM_WORLD_RANK",
        local_size="OMPI_COMM_WORLD_LOCAL_SIZE",
        local_rank="OMPI_COMM_WORLD_LOCAL_RANK",
        jobs=("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"),
        line="mpirun -x MASTER_ADDR=<host of rank 0> -x MASTER_PORT=29500 meshcompat verify",
    ),
    _Mpi(
        name="PMI",
        command="mpiexec",
        size="PMI_SIZE",
        rank="PMI_RANK",
        local_size="MPI_LOCALNRANKS",
        local_rank="MPI_LOCALRANKID",
        jobs=("PMI_JOBID", "PBS_JOBID"),
        line="mpiexec -genv MASTER_ADDR <host of rank 0> -genv MASTER_PORT 29500 meshcompat verify",
    ),
)


def _mpi(environment: Mapping[str, str], mpi: _Mpi) -> Launch | None:
    size = environment.get(mpi.size, "1")
    rank = environment.get(mpi.rank)
    if size == "1":
        return None
    if rank is None:
        raise LauncherError(
            f"{mpi.size} is {size}, as under {mpi.command}, but {mpi.rank} is not set; "
            f"{_try(mpi.line)}"
        )
    on_one_host = environment.get(mpi.local_size) == size
    if not on_one_host and "MASTER_ADDR" not in environment:
        raise LauncherError(
            f"{mpi.command} started this process, rank {rank} of {size}, but does not say where "
            f"rank 0 runs; {_try(mpi.line)}"
        )
    job = next((environment[name] for name in mpi.jobs if environment.get(name)), "")
    local_rank = environment.get(mpi.local_rank)
    return _launch(mpi.name, environment, (rank, size, local_rank), _LOOPBACK, job)


def _launch(
    launcher: str,
    environment: Mapping[str, str],
    place: tuple[str, str, str | None],
    address: str | None,
    job: str,
) -> Launch:
    """Fill in what the launcher does not say; what the environment says goes first."""
    rank, size, local_rank = place
    port = _PORTS[zlib.crc32(job.encode()) % len(_PORTS)]
    variables = {
        "MASTER_ADDR": str(address),
        "MASTER_PORT": str(port),
        **environment,
        "RANK": rank,
        "WORLD_SIZE": size,
    }
    if local_rank is not None:
        variables["LOCAL_RANK"] = local_rank
    return Launch(launcher, variables)


def _try(line: str) -> str:
    return f"type: {line}; or add --alone to start ranks on this machine"


def _first_host(nodes: str) -> str:
    """Return the first host of a list in SLURM's spelling: ``n01`` of ``n[01-04,07],login``."""
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])
