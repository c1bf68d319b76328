"""States of DTensors are written and read beside their mesh, without it, and in the background."""

from __future__ import annotations

import importlib
import warnings

import pytest
import torch

import meshcompat as mc
from meshcompat.testing import GlooPool
from tests.collectives.dtensors import dtensor_api

pytestmark = pytest.mark.multiprocess

VALUES = torch.arange(16.0).reshape(8, 2)


@pytest.fixture(scope="module")
def pair():
    """Two ranks: every one of them starts a process more."""
    with GlooPool(world_size=2, preload=("torch.distributed.tensor.parallel",)) as pool:
        yield pool


def sharded(values):
    api = dtensor_api()
    mesh = mc.init_device_mesh("cpu", (1, 2), mesh_dim_names=("dp", "tp"))
    return api.distribute_tensor(values, mc.get_submesh(mesh, "tp"), [api.Shard(0)])


def load(path):
    """Read a state as everybody does, in a process that knows DTensors."""
    dtensor_api()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # 2.4 and 2.5 tell of another default to come
        return torch.load(path)["weight"]


def written_and_read(folder):
    """Save a state, and return whether it is read on the live mesh, and what it holds."""
    state = sharded(VALUES)
    path = f"{folder}/{torch.distributed.get_rank()}.pt"
    torch.save({"weight": state}, path)
    read = load(path)
    return read.device_mesh is state.device_mesh, read.full_tensor().tolist()


def test_torch_load_reads_a_state_on_its_mesh_and_without_a_world_apart_from_it(pair, tmp_path):
    assert pair.run(written_and_read, str(tmp_path)) == [(True, VALUES.tolist())] * 2
    for rank in range(2):
        read = load(tmp_path / f"{rank}.pt")
        assert read.to_local().tolist() == VALUES.chunk(2)[rank].tolist()
        assert read.device_mesh.mesh.tolist() == [0, 1]
        assert list(read.device_mesh.get_coordinate()) == [rank]
        assert mc.get_axis_size(read.device_mesh, "tp") == 2


def saved_in_the_background(folder):
    """Save a state in another process, read it into an empty one; None where torch has no such thing."""
    checkpoint = importlib.import_module("torch.distributed.checkpoint")
    saver = importlib.import_module("torch.distributed.checkpoint.state_dict_saver")
    if not hasattr(saver, "AsyncCheckpointerType"):
        return None
    found = checkpoint.async_save(
        {"weight": sharded(VALUES)},
        checkpoint_id=folder,
        async_checkpointer_type=saver.AsyncCheckpointerType.PROCESS,
    )
    getattr(found, "upload_completion", found).result(timeout=240)
    state = {"weight": sharded(torch.zeros_like(VALUES))}
    checkpoint.load(state, checkpoint_id=folder)
    return state["weight"].full_tensor().tolist()


def test_a_background_process_saves_a_state(pair, tmp_path):
    saver = importlib.import_module("torch.distributed.checkpoint.state_dict_saver")
    expected = VALUES.tolist() if hasattr(saver, "AsyncCheckpointerType") else None
    assert pair.run(saved_in_the_background, str(tmp_path)) == [expected] * 2
