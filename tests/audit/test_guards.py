"""Which questions about torch's release the audit understands: all these keep releases before 2.10 out."""

from __future__ import annotations

import pytest

from tests.support.audited import judged

pytestmark = pytest.mark.once

HEAD = """\
import torch
import torch.version
from torch import __version__ as tv
from torch.torch_version import TorchVersion
from torch.version import __version__ as tvv
from packaging.version import Version as V
from torch.distributed.device_mesh import DeviceMesh
MAJOR, MINOR = int(tv.split(".")[0]), int(torch.__version__.split(".")[1])
PARTS = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
HAS = hasattr(DeviceMesh, "_layout")
class Caps:
    layout = V(torch.__version__) >= V("2.10")
    has = hasattr(DeviceMesh, "_layout")
    name = "2.10"
class More(Caps):
    pass
def f(mesh: DeviceMesh):
"""
UNDERSTOOD = [
    'TorchVersion(torch.__version__) >= "2.10"',
    "TorchVersion(torch.__version__) >= (2, 10)",
    'TorchVersion(tv) >= V("2.10")',
    "TorchVersion(tv).minor >= 10",
    'V(tv) >= V("2.10")',
    'V(tvv) >= V("2.10")',
    'V(torch.version.__version__) >= V("2.10")',
    'callable(getattr(mesh, "_layout", None))',
    'bool(getattr(mesh, "_layout", None))',
    "bool(HAS)",
    "Caps.layout",
    "Caps.has",
    "More.layout",
    "Caps().layout",
    'int(tv.split(".")[0]) > 2 or (int(tv.split(".")[0]) == 2 and int(tv.split(".")[1]) >= 10)',
    "MAJOR > 2 or (MAJOR == 2 and MINOR >= 10)",
    "(MAJOR, MINOR) >= (2, 10)",
    "PARTS >= (2, 10)",
    'tuple(map(int, tv.split("+")[0].split(".")[:2])) >= (2, 10)',
    '[int(part) for part in tv.split(".")[:2]] >= [2, 10]',
    "all([HAS, mesh.ndim])",
    "any((False, HAS))",
    "all([MAJOR == 2, MINOR >= 10])",
]
NOT_ENOUGH = {
    'TorchVersion(torch.__version__) >= "2.9"': ["2.9.1"],
    'V(tv) >= V("2.8")': ["2.8.0", "2.9.1"],
    "any([HAS, mesh.ndim])": None,
    "all([mesh.ndim, True])": None,
    'callable(getattr(mesh, "_flatten", None))': ["2.5.1", "2.6.0", "2.7.1", "2.8.0", "2.9.1"],
    "Caps.name": None,
    "Caps.unknown": None,
    "MAJOR >= 2": None,
    "MAJOR > 2 or mesh.ndim": None,
}


def failing(guard):
    """Return where reading a member of 2.10 on fails behind a guard."""
    found = judged(f"{HEAD}    if {guard}:\n        return mesh._layout\n")
    last = max(finding.span.line for finding in found if finding.name == "DeviceMesh._layout")
    (finding,) = (finding for finding in found if finding.span.line == last)
    return sorted(finding.fails_on)


@pytest.mark.parametrize("guard", UNDERSTOOD)
def test_a_guard_is_understood(guard):
    assert failing(guard) == []


@pytest.mark.parametrize("guard", NOT_ENOUGH)
def test_a_guard_that_keeps_too_little_out_leaves_the_rest(guard):
    rest = NOT_ENOUGH[guard] or [
        "2.2.2",
        "2.3.1",
        "2.4.1",
        "2.5.1",
        "2.6.0",
        "2.7.1",
        "2.8.0",
        "2.9.1",
    ]
    assert failing(guard) == rest
