"""What one release of torch writes and another reads: `python -m tests.support.exchange write|read FOLDER`.

Every process makes the same meshes in a world of its own. One that writes leaves each of them in
`FOLDER/<release>/` in all the ways that files hold them; one that reads opens what all releases
left, and prints how many files of each were, with no group made, the mesh that it has itself.
"""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import torch

import meshcompat as mc
from meshcompat import _release
from meshcompat.testing import fake_world, recorded_groups
from tests.support.small_world import KINDS, RANK, ours

SAFE: dict[str, Any] = (
    {"weights_only": True} if hasattr(torch.serialization, "add_safe_globals") else {}
)


def _write_json(mesh, path):
    path.write_text(json.dumps(mc.mesh_to_dict(mesh)), encoding="utf-8")


WAYS = {
    "pickle": (
        lambda mesh, path: path.write_bytes(pickle.dumps(mesh)),
        lambda path: pickle.loads(path.read_bytes()),  # noqa: S301  (our own bytes)
    ),
    "pt": (torch.save, lambda path: torch.load(path, **SAFE)),
    "json": (
        _write_json,
        lambda path: mc.mesh_from_dict(json.loads(path.read_text(encoding="utf-8"))),
    ),
}
"""How a mesh gets into a file and out of it, by the ending of the file."""


def write(meshes, folder):
    """Write each mesh in each way."""
    folder.mkdir(parents=True)
    for kind, mesh in meshes.items():
        for ending, (put, _) in WAYS.items():
            put(mesh, folder / f"{kind}.{ending}")


def read(meshes, folder):
    """Return how many files of *folder* gave back the very mesh that they hold."""
    right = 0
    for path in folder.iterdir():
        _, take = WAYS[path.suffix[1:]]
        with recorded_groups() as made:
            right += take(path) is meshes[path.stem] and made == []
    return right


def main(action, folder):
    """Write the meshes of a world, or read them, and print what was read."""
    release = _release.installed_torch()
    with fake_world(8, RANK):
        meshes = {kind: make(ours()) for kind, make in KINDS.items()}
        if action == "write":
            write(meshes, folder / release)
            return
        told = {written.name: read(meshes, written) for written in folder.iterdir()}
    print(json.dumps({"torch": release, "read": told}))  # noqa: T201  (its answer)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
