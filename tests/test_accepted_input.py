"""Names, sizes and numbers may come in whatever holds them, as torch takes them."""

from collections import UserList
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

import meshcompat as mc
from meshcompat.testing import fake_world
from tests.support.small_world import RANK


class ConfiguredList(Sequence):
    """A list as configuration libraries have it: a sequence of its own, no list."""

    def __init__(self, items):
        self.items = items

    def __getitem__(self, index):
        return self.items[index]

    def __len__(self):
        return len(self.items)


NAMES: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "list of a configuration library": ConfiguredList,
    "user list": UserList,
    "keys of a dict": lambda names: dict.fromkeys(names).keys(),
    "numpy strings": np.array,
    "names of an enum": lambda names: [mc.MeshAxisName(name) for name in names],
}
SIZES: dict[str, Any] = {
    "list of a configuration library": ConfiguredList,
    "torch.Size": torch.Size,
    "numpy ints": np.array,
    "list of numpy ints": lambda sizes: [np.int64(size) for size in sizes],
}


@pytest.mark.parametrize("names", NAMES)
def test_names_may_come_in_any_ordered_collection(names):
    wrap = NAMES[names]
    with fake_world(8, RANK):
        mesh = mc.init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=wrap(["pp", "dp", "tp"]))
        flat = mc.flatten(mesh, wrap(["dp", "tp"]), "dp_cp")
        split = mc.unflatten(flat, 0, (2, 2), wrap(["ep_shard", "ep"]))

        assert mesh.mesh_dim_names == ("pp", "dp", "tp")
        assert all(type(name) is str for name in mesh.mesh_dim_names)
        assert flat.mesh.tolist() == [4, 5, 6, 7]
        assert split.mesh_dim_names == ("ep_shard", "ep")
        assert mc.get_submesh(mesh, wrap(["tp", "pp"])) is mc.get_submesh(mesh, ("tp", "pp"))
        assert mc.get_ranks(mesh, wrap(["tp", "dp"])) == [4, 5, 6, 7]


@pytest.mark.parametrize("sizes", SIZES)
def test_sizes_may_come_in_any_ordered_collection(sizes):
    wrap = SIZES[sizes]
    with fake_world(8, RANK):
        mesh = mc.init_device_mesh("cpu", wrap([2, 4]), mesh_dim_names=("pp", "dp"))
        split = mc.unflatten(mesh, np.int64(-1), wrap([2, 2]), ("a", "b"))

        assert mesh.mesh.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert split.mesh_dim_names == ("pp", "a", "b")


@pytest.mark.parametrize("timeout", [np.int64(7), np.float32(7), 7.0], ids=repr)
def test_timeout_may_be_any_number_of_seconds(timeout):
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"), timeout=timeout)

        assert mc.flatten(mesh, ("tp",), "again", timeout=7) is mc.flatten(mesh, ("tp",), "again")


def test_meshes_to_concatenate_may_come_in_any_ordered_collection():
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))
        parts = [mc.get_flat_mesh(mesh, "dp"), mc.get_flat_mesh(mesh, "tp")]

        assert mc.concatenate(ConfiguredList(parts)) is mc.concatenate(parts)


def test_index_of_a_backend_may_be_a_numpy_int():
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), backend_override={np.int64(1): "fake"})

        assert tuple(mesh.shape) == (2, 4)


@pytest.mark.parametrize(
    "names",
    [{"dp", "tp"}, {"dp": 0, "tp": 1}, (name for name in ("dp", "tp")), b"dt", 7, None],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_order_or_length_holds_no_names(names):
    with fake_world(8):
        mesh = mc.init_device_mesh("cpu", (2, 4), mesh_dim_names=("dp", "tp"))

        with pytest.raises(mc.MeshLayoutError, match=r"a list or tuple of at least one"):
            mc.get_submesh(mesh, names)
