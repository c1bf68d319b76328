"""Releases of torch meet: what one writes the others read, and ranks of two minors are refused.

tests/collectives/test_agreement.py has ranks that only believe to have another torch, and
tests/test_plain_data.py the bytes that all releases write. Here are several interpreters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshcompat import _release
from tests.support.exchange import WAYS
from tests.support.small_world import KINDS

VARIABLE = "MESHCOMPAT_OTHER_PYTHONS"
OTHERS = list(filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))
ROOT = Path(__file__).parent.parent
FILES = len(KINDS) * len(WAYS)

pytestmark = [
    pytest.mark.multiprocess,
    pytest.mark.processes,
    pytest.mark.skipif(
        not OTHERS, reason=f"{VARIABLE} names no interpreters with other minors of torch"
    ),
]

RANK = """
import json, sys
from datetime import timedelta
import torch.distributed as dist
import meshcompat as mc
from meshcompat import _release

rank, port = int(sys.argv[1]), int(sys.argv[2])
limit = timedelta(seconds=60)
store = dist.TCPStore("127.0.0.1", port, 2, rank == 0, limit, wait_for_workers=False)
if rank == 0:
    print(store.port, flush=True)
dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=limit)
told = {"torch": ".".join(map(str, _release.minor_of(_release.installed_torch())))}
try:
    mc.init_device_mesh("cpu", (2, 1), mesh_dim_names=("dp", "tp"))
except mc.MeshMismatchError as error:
    told |= {"text": str(error), "rank": error.rank}
dist.barrier()
print(json.dumps(told), flush=True)
"""


def environment():
    silent = {"GLOO_SOCKET_IFNAME": "lo", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **silent, "PYTHONPATH": str(ROOT)}


def start(python, rank, port):
    command = [python, "-c", RANK, str(rank), str(port)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


@pytest.mark.parametrize("other", OTHERS)
def test_ranks_with_other_minors_of_torch_are_refused_and_both_named(other, figure):
    first = start(sys.executable, 0, 0)
    second = None
    try:
        second = start(other, 1, int(first.stdout.readline()))
        printed = [rank.communicate(timeout=120)[0] for rank in (first, second)]
    finally:
        for rank in filter(None, (first, second)):
            rank.kill()
            rank.communicate()
    told = [json.loads(text.splitlines()[-1]) for text in printed]  # gloo prints, too
    here, there = (words["torch"] for words in told)
    assert here == ".".join(map(str, _release.minor_of(_release.installed_torch())))
    assert here != there
    for words in told:
        assert words["rank"] == 1
        assert "they differ in torch" in words["text"]
        assert f"torch {here}\n" in words["text"]
        assert f"torch {there}\n" in words["text"]
    figure("faults", f"a rank with torch {there}", "refused, both named")
    figure("faults", "survived", 1)


def exchange(python, action, folder):
    command = [python, "-m", "tests.support.exchange", action, str(folder)]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


def test_every_release_reads_what_the_others_wrote(tmp_path, figure):
    pythons = [sys.executable, *OTHERS]
    for python in pythons:
        exchange(python, "write", tmp_path)
    told = [json.loads(exchange(python, "read", tmp_path)) for python in pythons]
    releases = [words["torch"] for words in told]
    assert len(set(releases)) == len(pythons)
    for words in told:
        assert words["read"] == dict.fromkeys(releases, FILES)
    figure("exchange", "releases that wrote and read", len(releases))
    figure("exchange", "files of other releases read", FILES * len(releases) * len(OTHERS))
