"""Which environment variables matter to a job's meshes, with nothing secret in their values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MASK = "***"

_NAMES = re.compile(
    r"""
    (CUDA|FI|GLOO|HIP|HSA|MESHCOMPAT|NCCL|NVIDIA|PYTORCH|RCCL|ROCR|TORCH|TORCHELASTIC|UCC|UCX)_.*
    | (LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE) | ROLE_NAME | MASTER_(ADDR|PORT)
    | SLURM_(JOB_ID|LOCALID|NNODES|NODELIST|NTASKS|PROCID|STEP_ID|STEP_NUM_TASKS)
    | OMPI_COMM_WORLD_\w+ | PMI_(RANK|SIZE) | PMIX_RANK
    | OMP_NUM_THREADS | PYTHONHASHSEED | PYTHONWARNINGS | LD_PRELOAD
    """,
    re.VERBOSE,
)
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASS(WORD|WD|PHRASE)?(_|$)|CREDENTIAL|AUTH|API_?KEY|(^|_)KEYS?(_|$)|COOKIE",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"""
    (?<=://)[^/@\s]+(?=@)                            # user and password in an address
    | (?<=[?&;,\s])(?:token|key|password|secret|sig|signature)=[^&;,\s]+
    | \b(?:hf|gh[a-z]|glpat|github_pat|sk|xox[a-z]|pypi)[-_][\w-]{10,}
    | \bAKIA[A-Z0-9]{12,}
    | \b[A-Za-z0-9]{32,}\b                           # nothing that a person writes
    """,
    re.VERBOSE | re.IGNORECASE,
)


def of_interest(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that matter, in the order of their names, with secrets masked."""
    return {
        name: masked(name, environment[name])
        for name in sorted(environment)
        if _NAMES.fullmatch(name)
    }


def masked(name: str, value: str) -> str:
    """Return a value that may be shown to anybody; the home folder is written ``~``."""
    if value and _SECRET_NAME.search(name):
        return MASK
    value = _SECRET_VALUE.sub(MASK, value)
    home = str(Path.home())
    return value if home == "/" else value.replace(home, "~")
