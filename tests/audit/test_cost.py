"""What reading a million lines costs: one process, so that two cores have twice the time."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.once, pytest.mark.soak]

PLAIN = "def f{0}(x, y):\n    total = x + y\n    for part in range(total):\n        total += part\n    return total\n\n"
MESHES = (
    "import torch\nfrom torch.distributed.device_mesh import DeviceMesh, init_device_mesh\n\n"
    "class Parallel{0}:\n    def __init__(self, mesh: DeviceMesh):\n        self.mesh = mesh\n"
    '        self.flat = mesh["dp", "cp"]._flatten("dp_cp")\n\n'
    "    def size(self, name):\n        return self.mesh[name].size() if self.mesh.ndim > 1 else 1\n\n"
)


def tree(folder, files, with_meshes):
    """Write files of 400 lines each, some of them about meshes."""
    for number in range(files):
        about = MESHES.format(number) if number < with_meshes else "import os\n"
        body = "".join(PLAIN.format(index) for index in range((400 - about.count("\n")) // 6))
        place = folder / f"package{number % 20}"
        place.mkdir(exist_ok=True)
        (place / f"module{number}.py").write_text(about + body)


def measured(folder):
    """Return seconds of processor time, and megabytes at most."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [
        sys.executable,
        "-m",
        "meshcompat",
        "audit",
        "--exit-zero",
        "--format",
        "json",
        "--output",
        "/dev/null",
    ]
    subprocess.run([*command, str(folder)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        after.ru_maxrss / 1024,
    )


def test_a_million_lines_take_less_than_20_seconds_and_a_gigabyte(tmp_path):
    tree(tmp_path, files=2500, with_meshes=125)
    seconds, megabytes = measured(tmp_path)
    assert seconds < 20
    assert megabytes < 1024


def test_2000_files_without_meshes_take_less_than_2_seconds(tmp_path):
    tree(tmp_path, files=2000, with_meshes=0)
    assert measured(tmp_path)[0] < 2
