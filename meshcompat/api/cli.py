"""The way in of ``meshcompat api``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from meshcompat import _release
from meshcompat._help import describe
from meshcompat.api import answer, table

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    describe(
        parser,
        "Say on which torch releases a name about meshes and groups exists, since when calls warn, "
        "which parameters it takes where, and what to write instead. The answer comes from the "
        "wheels of every release from 2.2 on; torch is not imported.",
        examples=[
            "meshcompat api DeviceMesh._flatten",
            "meshcompat api _mesh_resources.get_root_mesh",
            "meshcompat api DeviceMesh._f",
            "meshcompat api torch.distributed.init_device_mesh",
            "meshcompat api --json DeviceMesh._layout",
        ],
        exit_codes={
            0: "the name exists on some release",
            1: "no release has such a name",
            2: "the call itself was wrong",
        },
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="a name, with its class or module or without, or how names begin; '' lists all",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Answer, and return the exit code."""
    asked = arguments.name.strip().removesuffix("()")
    exact = table.lookup(asked)
    found = [exact] if exact else table.members(asked) or table.matching(asked)
    if arguments.json:
        document = {
            "meshcompat": _release.own_version(),
            "releases": list(table.releases()),
            "names": [answer.document(name) for name in found],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif not found:
        sys.stderr.write(answer.nothing(asked))
    elif len(found) == 1:
        sys.stdout.write(answer.in_full(found[0], _installed()))
    else:
        sys.stdout.write(answer.in_lines(found))
    return 0 if found else 1


def _installed() -> str | None:
    try:
        return _release.installed_torch()
    except ImportError:
        return None
