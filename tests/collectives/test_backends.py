"""A backend that this machine cannot run is refused before any group is made."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc
from meshcompat.testing import recorded_groups

pytestmark = [
    pytest.mark.multiprocess,
    pytest.mark.skipif(torch.cuda.is_available(), reason="NCCL runs here: this machine has CUDA"),
]


def ask_for(backend):
    with recorded_groups() as groups:
        try:
            mc.init_device_mesh("cpu", (2, 4), backend_override={0: backend})
        except mc.MeshLayoutError as error:
            return str(error), len(groups)
    return dist.get_backend(), len(groups)


@pytest.mark.parametrize("backend", ["nccl", "mpi"])
def test_a_backend_that_cannot_run_here_is_refused(pool, backend):
    words = f"backend {backend!r} is not available on this machine; leave it out"
    assert pool.run(ask_for, backend) == [(words, 0)] * 8
