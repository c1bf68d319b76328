"""The way in of ``meshcompat doctor``."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys

from meshcompat._help import describe

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    describe(
        parser,
        "Print what a bug report needs: versions, how torch was built, backends, GPUs, environment "
        "variables (secrets are masked), and what this torch's own DeviceMesh does wrong, which is "
        "tried in fake worlds while you wait.\n\n"
        "Under torchrun or srun rank 0 also tells what differs between the ranks: versions, "
        "variables, hosts, clocks. No process group is made.",
        examples=[
            "meshcompat doctor",
            "meshcompat doctor --json > report.json",
            "torchrun --nproc-per-node 8 -m meshcompat doctor",
        ],
        exit_codes={
            0: "all that meshcompat needs is here, whatever else was found",
            1: "something is missing: torch, a torch that is new enough, or a rank",
            2: "the call itself was wrong",
        },
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="longest wait for ranks that a launcher started; by default 30",
    )


def run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Look, print on rank 0, and return the exit code."""
    # torch is asked about only where help was not.
    from meshcompat.doctor import report  # noqa: PLC0415
    from meshcompat.doctor.examination import examine  # noqa: PLC0415
    from meshcompat.doctor.ranks import NotMetError  # noqa: PLC0415

    environment = dict(os.environ)
    # torch's log of a store that does not answer is a page for each try.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    try:
        found = examine(environment, arguments.timeout)
    except NotMetError as error:
        # One line a machine is enough.
        if environment.get("LOCAL_RANK", "0") == "0":
            sys.stderr.write(f"{error}\n")
        return 1
    if found is None:
        return 0
    if arguments.json:
        sys.stdout.write(json.dumps(report.document(found), indent=2) + "\n")
    else:
        sys.stdout.write(report.text(found))
    return 1 if found.missing else 0


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} must be seconds, above 0 and at most 3600")
    return seconds
