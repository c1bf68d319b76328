"""Sources that are rewritten, for tests about what they become."""

from __future__ import annotations

from pathlib import Path

from meshcompat.audit import fix
from meshcompat.audit.files import Found
from meshcompat.audit.report import Part
from meshcompat.audit.rules import judge
from meshcompat.audit.survey import survey
from meshcompat.audit.values import Confidence

NOWHERE = Path("/nowhere")
HEAD = (
    "from torch.distributed.device_mesh import DeviceMesh, _mesh_resources, init_device_mesh\n"
    'm = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("dp", "cp", "tp"))\n'
)


def planned(files, *, publish=False):
    """Return the plan for the contents of files, by path."""
    found = [Found(path, path, content) for path, content in files.items()]
    read = survey(found, NOWHERE)
    part = Part(NOWHERE, read)
    judged = [finding for sites in read.sites.values() for finding in judge(sites)]
    shown = [finding for finding in judged if finding.confidence >= Confidence.MEDIUM]
    part.findings = [finding for finding in shown if not finding.is_guarded]
    part.guarded = [finding for finding in shown if finding.is_guarded]
    return fix.plan(part, publish=publish)


def rewritten(text, *, publish=False, head=HEAD, **others):
    """Return a text behind the usual head after rewriting, and why findings in it stay."""
    files = {
        "a.py": (head + text).encode(),
        **{f"{name}.py": other.encode() for name, other in others.items()},
    }
    plan = planned(files, publish=publish)
    content = plan.contents.get("a.py", files["a.py"]).decode()
    prefix = "import meshcompat\n"
    body = content.removeprefix(prefix).removeprefix(head)
    assert content in {head + body, prefix + head + body}
    reasons = [finding.left for finding in plan.part.findings if not finding.fixable]
    return body, reasons
