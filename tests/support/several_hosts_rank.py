"""What a rank does when a cable is to be unplugged: `several_hosts_rank.py FOLDER build|collective TIMEOUT`."""

from __future__ import annotations

import itertools
import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

import meshcompat as mc


def build(limit):
    yield lambda: mc.init_device_mesh("cpu", (dist.get_world_size(),))
    for number in itertools.count():
        names = (f"dp{number}", f"tp{number}")
        yield lambda names=names: mc.init_device_mesh(
            "cpu", (dist.get_world_size() // 2, 2), mesh_dim_names=names, timeout=limit
        )


def collective(limit):
    shape = (dist.get_world_size() // 2, 2)
    yield lambda: mc.init_device_mesh("cpu", shape)  # whatever the first call of a process needs
    mesh = mc.init_device_mesh("cpu", shape, mesh_dim_names=("dp", "tp"), timeout=limit)
    while True:
        yield lambda: dist.all_reduce(torch.ones(1), group=mesh.get_group("dp"))


def main(folder, kind, limit):
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank, told = dist.get_rank(), None
    for number, call in enumerate({"build": build, "collective": collective}[kind](limit)):
        start = time.monotonic()
        try:
            call()
        except RuntimeError as error:
            seconds = time.monotonic() - start
            missing = list(getattr(error, "missing", ()))
            told = {"kind": type(error).__name__, "text": str(error), "missing": missing}
            Path(folder, f"end-{rank}").write_text(json.dumps({**told, "seconds": seconds}))
            break
        if number == 5:
            Path(folder, f"begun-{rank}").touch()
        time.sleep(0.02)
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
