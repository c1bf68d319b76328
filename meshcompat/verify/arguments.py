"""What the user asks for, brought into one form; what cannot be is refused with exit code 2."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from meshcompat._help import describe
from meshcompat._rank_processes.launchers import (
    DIGITS,
    LauncherError,
    is_whole,
    launch_of,
)
from meshcompat.verify.local import limits
from meshcompat.verify.plan import STANDARD_NAMES, Plan, derive_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _Refuse = Callable[[str], NoReturn]

_PURPOSE = """\
Make the device meshes of a training job, run an all-reduce on every process group of each, and \
compare the sums with ranks that were counted by hand.

Alone it starts ranks on this machine, on CPU; under torchrun, srun or mpirun it uses the ranks that \
it is given.
"""

_DEFAULT_RANKS = 8
_DEFAULTS = {
    "dp_shard": "; by default what the others leave",
    "ep": " of experts, over the ranks of a pipeline stage; by default near the square root",
}
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_LARGEST = 2**34


@dataclass(frozen=True)
class Request:
    """What to verify, and how."""

    plan: Plan
    device: str | None
    timeout: float
    as_json: bool
    is_launched: bool
    report: str | None = None
    is_strict: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    describe(
        parser,
        _PURPOSE,
        examples=[
            "meshcompat verify -n 16 --tp 4 --pp 2 --ep 2",
            "meshcompat verify --shape 2,4 --names dp,tp --json",
            "meshcompat verify --bandwidth 1M,64M --report out.html",
            "torchrun --nproc-per-node 8 -m meshcompat verify --strict",
            "srun --ntasks 16 meshcompat verify",
        ],
        exit_codes={
            0: "all is right on all ranks",
            1: "a sum was wrong, or a rank died, hung or never came, and the report names it; with "
            "--strict also where there is a warning",
            2: "the arguments do not fit together",
        },
    )
    parser.add_argument(
        "--shape",
        type=_sizes,
        metavar="N,N,...",
        help="size of each mesh dim, such as 2,1,2,1,2; by default one that fits the number of "
        "ranks",
    )
    parser.add_argument(
        "--names",
        type=_names,
        metavar="NAME,...",
        help=f"name of each mesh dim, by default {','.join(STANDARD_NAMES)}; flattened and expert "
        f"meshes are made where the dims that they need are there",
    )
    for name in (*STANDARD_NAMES, "ep"):
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=_count,
            metavar="N",
            help=f"size of the mesh dim {name}" + _DEFAULTS.get(name, ""),
        )
    parser.add_argument(
        "-n", "--world-size", type=_count, metavar="N", help="ranks to start, by default 8"
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="cpu with gloo, or cuda with NCCL under torchrun; there, by default, cuda if "
        "available",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="longest wait without progress, and timeout of every process group; by default 60",
    )
    parser.add_argument(
        "--bandwidth",
        type=_bytes,
        default=(),
        metavar="SIZE,...",
        help="measure all-reduces of these sizes in bytes, such as 1M,64M, on all groups of each "
        "mesh dim at once",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document and no table")
    parser.add_argument(
        "--report",
        metavar="FILE",
        help="write the report to a file too: .json, .html, or else text",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 if there is a warning")
    parser.add_argument(
        "--alone",
        action="store_true",
        help="start ranks on this machine, whatever a launcher's variables say",
    )
    parser.add_argument(
        "--oversubscribe",
        action="store_true",
        help="start more ranks than the cores and the memory of this machine are good for",
    )


def read(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
) -> Request:
    """Return the request, or exit with code 2 and a message.

    What all ranks were asked for alike is refused in words by rank 0 only: one message is enough
    for thousands of ranks. A process whose own variables are wrong says so itself.
    """
    try:
        launch = None if arguments.alone else launch_of(environment)
    except LauncherError as error:
        parser.error(str(error))

    def refuse(message: str) -> NoReturn:
        if launch is not None and int(launch.variables["RANK"]) != 0:
            raise SystemExit(2)
        parser.error(message)

    given = None if launch is None else int(launch.variables["WORLD_SIZE"])
    plan = _asked_plan(arguments, given, refuse)
    if arguments.report is not None and not Path(arguments.report).parent.is_dir():
        refuse(
            f"--report {arguments.report!r} is to be written to a folder that does not exist; "
            f"make the folder {str(Path(arguments.report).parent)!r}, or name another file"
        )
    return Request(
        *(plan, arguments.device, arguments.timeout, arguments.json, given is not None),
        report=arguments.report,
        is_strict=arguments.strict,
    )


def _asked_plan(arguments: argparse.Namespace, given: int | None, refuse: _Refuse) -> Plan:
    """Return the plan for the ranks that a launcher gives, or else for ranks of our own."""
    world_size = arguments.world_size
    if given is not None and world_size not in {None, given}:
        refuse(
            f"--world-size {world_size} was asked for, but the launcher started {given} ranks; "
            f"leave --world-size out"
        )
    if given is None and arguments.device == "cuda":
        refuse(
            "--device cuda needs one process for each GPU, and alone this command starts ranks "
            "on CPU only; start it with: torchrun --nproc-per-node <GPUs> -m meshcompat verify"
        )
    shape, names = _shape_and_names(arguments, given or world_size, refuse)
    plan = _plan(shape, names, given or world_size, refuse)
    excess = None
    if given is None and not arguments.oversubscribe:
        excess = limits.excess(plan.world_size)
    if excess is not None:
        refuse(excess)
    ep = _fitting_ep(plan, arguments.ep, refuse)
    return replace(plan, ep=ep, bandwidth=arguments.bandwidth)


def _shape_and_names(
    arguments: argparse.Namespace, world_size: int | None, refuse: _Refuse
) -> tuple[tuple[int, ...] | None, tuple[str, ...] | None]:
    """Return what was asked for as a shape and names; sizes by name give the standard root."""
    sizes = {name: getattr(arguments, name) for name in STANDARD_NAMES}
    if not any(sizes.values()):
        return arguments.shape, arguments.names
    told = {name: size for name, size in sizes.items() if size}
    _require_one_way(arguments, told, refuse)
    product = math.prod(told.values())
    factors = " * ".join(f"{name} {size}" for name, size in told.items())
    factors += f" = {product}" if len(told) > 1 else ""
    if sizes["dp_shard"] is not None:
        if world_size not in {None, product}:
            refuse(
                f"{factors} does not make {world_size} ranks; give sizes whose product is "
                f"{world_size}, or leave --dp-shard to be what the others leave"
            )
    else:
        whole = world_size or (_DEFAULT_RANKS if _DEFAULT_RANKS % product == 0 else product)
        if whole % product:
            refuse(f"{factors} does not divide {whole} ranks; give sizes whose product does")
        sizes["dp_shard"] = whole // product
    return tuple(sizes[name] or 1 for name in STANDARD_NAMES), STANDARD_NAMES


def _require_one_way(
    arguments: argparse.Namespace, told: Mapping[str, int], refuse: _Refuse
) -> None:
    ways = {"--shape": arguments.shape, "--names": arguments.names}
    others = [flag for flag, value in ways.items() if value]
    if not others:
        return
    by_name = [f"--{name.replace('_', '-')}" for name in told]
    refuse(
        f"{' and '.join(by_name)} cannot be given with {' and '.join(others)}: sizes by name make "
        f"the mesh {','.join(STANDARD_NAMES)}; leave out the one or the other"
    )


def _fitting_ep(plan: Plan, ep: int | None, refuse: _Refuse) -> int | None:
    if ep is not None and ep not in plan.expert_choices:
        if not plan.expert_choices:
            refuse(f"--ep {ep} needs a mesh dim dp_shard, but the mesh has {_joined(plan.names)}")
        refuse(
            f"--ep {ep} does not divide the {plan.expert_choices[0]} ranks of a pipeline stage "
            f"without cutting a mesh dim; give one of {_joined(plan.expert_choices)}"
        )
    return ep


def _plan(
    shape: tuple[int, ...] | None,
    names: tuple[str, ...] | None,
    world_size: int | None,
    refuse: _Refuse,
) -> Plan:
    if names is None:
        names = STANDARD_NAMES
        if shape is not None and len(shape) != len(names):
            names = tuple(f"dim_{index}" for index in range(len(shape)))
    if shape is None:
        return Plan(derive_shape(world_size or _DEFAULT_RANKS, names), names)
    if len(shape) != len(names):
        refuse(
            f"--shape has {len(shape)} sizes, {_joined(shape)}, but --names has {len(names)} "
            f"names, {_joined(names)}; give one name for each size"
        )
    count = math.prod(shape)
    if world_size not in {None, count}:
        refuse(
            f"--shape {_joined(shape)} has {' * '.join(map(str, shape))} = {count} ranks, but "
            f"there are {world_size}; give sizes whose product is {world_size}"
        )
    return Plan(shape, names)


def _joined(parts: tuple[object, ...]) -> str:
    return ",".join(map(str, parts))


def _sizes(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(is_whole(part.strip()) and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be whole numbers above 0, of at most {DIGITS} digits, with commas "
            f"between, such as 2,1,2,1,2"
        )
    return tuple(map(int, parts))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be different names with commas between, such as pp,dp,tp"
        )
    return names


def _count(text: str) -> int:
    if not is_whole(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a whole number above 0, the number of ranks, of at most {DIGITS} "
            f"digits"
        )
    return int(text)


def _bytes(text: str) -> tuple[int, ...]:
    sizes = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,11})([KMG]?)(?:i?B)?", part.strip(), re.IGNORECASE)
        size = 0 if found is None else int(found[1]) * _UNITS[found[2].upper()]
        if not 0 < size <= _LARGEST:
            raise argparse.ArgumentTypeError(
                f"{text!r} must be sizes in bytes with commas between, each from 1 to 16G, such "
                f"as 64K,1M,64M"
            )
        sizes.append(size)
    return tuple(dict.fromkeys(sizes))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 86400:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be seconds, above 0 and not more than a day (86400)"
        )
    return seconds
