"""What launchers say of their ranks: a world where it suffices, else a refusal with a line to type."""

import argparse

import pytest

from meshcompat._rank_processes.launchers import LauncherError, launch_of
from meshcompat._rank_processes.place import Place
from meshcompat.verify import arguments

pytestmark = pytest.mark.once

SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "32",
    "SLURM_STEP_NUM_TASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_NODELIST": "gpu[017-018,021],login1",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.7",
}
MPIRUN = {
    "OMPI_COMM_WORLD_SIZE": "16",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "16",
    "PMIX_NAMESPACE": "prterun-node0-4711",
}
HYDRA = {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "2", "MPI_LOCALNRANKS": "4"}


def without(variables, *names):
    return {name: value for name, value in variables.items() if name not in names}


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (SRUN, ("SLURM", 9, 16, 1, "gpu017")),
        ({**SRUN, "SLURM_STEP_NODELIST": "b[2-3]"}, ("SLURM", 9, 16, 1, "b2")),
        ({**SRUN, "SLURM_NODELIST": "a,b"}, ("SLURM", 9, 16, 1, "a")),
        ({**SRUN, "SLURM_NODELIST": "r[1-2]n[07-09]"}, ("SLURM", 9, 16, 1, "r1n07")),
        ({**SRUN, "SLURM_STEP_NUM_NODES": "1"}, ("SLURM", 9, 16, 1, "127.0.0.1")),
        (without(SRUN, "SLURM_NODELIST"), ("SLURM", 9, 16, 1, "10.0.0.7")),
        ({**SRUN, "MASTER_ADDR": "head"}, ("SLURM", 9, 16, 1, "head")),
        (MPIRUN, ("Open MPI", 3, 16, 3, "127.0.0.1")),
        (
            {**MPIRUN, "OMPI_COMM_WORLD_LOCAL_SIZE": "8", "MASTER_ADDR": "n0"},
            ("Open MPI", 3, 16, 3, "n0"),
        ),
        (HYDRA, ("PMI", 2, 4, 2, "127.0.0.1")),
        (without(HYDRA, "MPI_LOCALRANKID"), ("PMI", 2, 4, 2, "127.0.0.1")),
        ({**SRUN, **HYDRA}, ("SLURM", 9, 16, 1, "gpu017")),
    ],
)
def test_a_launcher_gives_the_world(environment, told):
    place = Place.of(environment)
    assert (place.launcher, place.rank, place.world_size, place.local_rank, place.host) == told


def test_all_ranks_of_a_job_choose_the_same_port_and_other_jobs_others():
    ports = {Place.of({**SRUN, "SLURM_PROCID": str(rank)}).port for rank in range(16)}
    other = Place.of({**SRUN, "SLURM_STEP_ID": "1"}).port
    assert len(ports) == 1
    assert other not in ports
    assert Place.of({**SRUN, "MASTER_PORT": "29501"}).port == 29501


def test_torchrun_inside_another_launcher_goes_first():
    torchrun = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "29500"}
    place = Place.of({**SRUN, **torchrun, "TORCHELASTIC_RUN_ID": "x"})
    assert (place.launcher, place.rank, place.world_size) == ("torchrun", 1, 2)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "1"},
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1"},  # a shell that was opened with srun --pty
        {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        {"PMI_SIZE": "1", "PMI_RANK": "0"},
    ],
)
def test_a_single_process_was_not_launched(environment):
    assert launch_of(environment) is None


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"SLURM_NTASKS": "16"}, "srun meshcompat verify"),
        (without(SRUN, "SLURM_STEP_ID"), "srun meshcompat verify"),  # in the script of sbatch
        (
            without(SRUN, "SLURM_NODELIST", "SLURM_LAUNCH_NODE_IPADDR"),
            "MASTER_ADDR=<host of task 0> srun meshcompat verify",
        ),
        ({"OMPI_COMM_WORLD_SIZE": "16"}, "mpirun -x MASTER_ADDR=<host of rank 0>"),
        ({**MPIRUN, "OMPI_COMM_WORLD_LOCAL_SIZE": "8"}, "mpirun -x MASTER_ADDR=<host of rank 0>"),
        ({"PMI_SIZE": "4"}, "mpiexec -genv MASTER_ADDR <host of rank 0>"),
        (without(HYDRA, "MPI_LOCALNRANKS"), "mpiexec -genv MASTER_ADDR <host of rank 0>"),
    ],
)
def test_a_launcher_that_says_too_little_is_refused_with_a_line_to_type(environment, line):
    with pytest.raises(LauncherError) as raised:
        launch_of(environment)
    assert f"type: {line}" in str(raised.value)
    assert "--alone" in str(raised.value)


def test_the_command_refuses_it_and_starts_ranks_here_where_it_is_told_to(capsys):
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    environment = {"SLURM_NTASKS": "16"}
    with pytest.raises(SystemExit) as raised:
        arguments.read(parser, parser.parse_args([]), environment)
    assert raised.value.code == 2
    assert "SLURM gives this job 16 tasks" in " ".join(capsys.readouterr().err.split())
    request = arguments.read(parser, parser.parse_args(["--alone"]), environment)
    assert not request.is_launched
    assert request.plan.world_size == 8


def test_a_refusal_is_printed_by_the_first_rank_only(capsys):
    parser = argparse.ArgumentParser()
    arguments.add_arguments(parser)
    with pytest.raises(SystemExit) as raised:
        arguments.read(parser, parser.parse_args(["-n", "8"]), SRUN)
    assert raised.value.code == 2
    assert capsys.readouterr().err == ""


def test_a_place_needs_a_launcher():
    with pytest.raises(ValueError, match="no launcher has started this process"):
        Place.of({})
