"""`timeout=` ends a collective whose peer never comes."""

from __future__ import annotations

import time

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc

pytestmark = pytest.mark.multiprocess

LATE = 7
PEERS = {"root": 6, "flattened": 1, "unflattened": 4}
"""Which rank waits for rank 7, in a group of which kind."""


def groups_with_own_timeouts(root_timeout, flat_timeout, unflat_timeout):
    """Return three groups that hold rank 7, each with one other of `PEERS`."""
    root = mc.init_device_mesh(
        "cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"), timeout=root_timeout
    )
    flat = mc.flatten(mc.get_submesh(root, ("pp", "dp")), "pp_dp", timeout=flat_timeout)
    halves = mc.flatten(mc.get_submesh(root, ("dp", "tp")), "dp_tp")
    view = mc.unflatten(halves, 0, (1, 4), ("one", "all"), timeout=unflat_timeout)
    return {
        "root": root.get_group("tp"),
        "flattened": flat.get_group(),
        "unflattened": view.get_group("all"),
    }


def wait_in_vain(*timeouts):
    """Return after how many seconds the collective of this rank failed; None if it has none."""
    # Making a group has to end in its time too, so nobody is still importing then.
    mc.init_device_mesh("cpu", (8,))
    dist.barrier()
    groups = groups_with_own_timeouts(*timeouts)
    dist.barrier()
    kind = next((kind for kind, rank in PEERS.items() if rank == dist.get_rank()), None)
    if kind is None:
        return None
    start = time.monotonic()
    with pytest.raises(RuntimeError):
        dist.all_reduce(torch.ones(1), group=groups[kind])
    return time.monotonic() - start


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        pytest.param((2, 2.5, 3), (2, 2.5, 3), id="each its own"),
        pytest.param((2, None, None), (2, 2, 2), id="that of the root"),
    ],
)
def test_a_collective_without_its_peer_ends_when_its_time_is_over(pool, given, ends):
    seconds = pool.run(wait_in_vain, *given)
    for kind, end in zip(PEERS, ends, strict=True):
        assert end - 0.5 < seconds[PEERS[kind]] < end + 5, kind
    assert pool.run(dist.get_rank) == list(range(8))
