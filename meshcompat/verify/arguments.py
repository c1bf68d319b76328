"""What the user asks for, brought into one form; what cannot be is refused with exit code 2."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from meshcompat._help import describe
from meshcompat.verify.plan import STANDARD_NAMES, Plan, derive_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _Refuse = Callable[[str], NoReturn]

_PURPOSE = """\
Make the device meshes of a training job, run an all-reduce on every process group of each, and \
compare the sums with ranks that were counted by hand.

Alone it starts ranks on this machine, on CPU; under torchrun it uses the ranks that it is given.
"""

_DIGITS = 7
"""Longest number of ranks that is taken for one; longer ones would be factorised for ever."""
_LAUNCHER_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Request:
    """What to verify, and how."""

    plan: Plan
    device: str | None
    timeout: float
    as_json: bool
    is_launched: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    describe(
        parser,
        _PURPOSE,
        examples=[
            "meshcompat verify -n 16",
            "meshcompat verify --shape 2,4 --names dp,tp --json",
            "torchrun --nproc-per-node 8 -m meshcompat verify",
        ],
        exit_codes={
            0: "all is right on all ranks",
            1: "a sum was wrong, or a rank died, hung or never came, and the report names it",
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
    parser.add_argument("--json", action="store_true", help="print one JSON document and no table")


def read(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
) -> Request:
    """Return the request, or exit with code 2 and a message.

    Under a launcher only rank 0 prints it: one message is enough for thousands of ranks.
    """

    def refuse(message: str) -> NoReturn:
        if environment.get("RANK", "0") != "0":
            raise SystemExit(2)
        parser.error(message)

    given = _world_size(environment, refuse)
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
    plan = _plan(arguments.shape, arguments.names, given or world_size, refuse)
    return Request(plan, arguments.device, arguments.timeout, arguments.json, given is not None)


def _world_size(environment: Mapping[str, str], refuse: _Refuse) -> int | None:
    """Return the number of ranks that a launcher started, or None without a launcher."""
    if "RANK" not in environment:
        return None
    values = {name: environment.get(name) for name in _LAUNCHER_VARIABLES}
    absent = [name for name, value in values.items() if not value]
    if absent:
        refuse(
            f"RANK is set, as by a launcher, but {', '.join(absent)} is not; set all of "
            f"{', '.join(_LAUNCHER_VARIABLES)}, or unset RANK to start ranks on this machine"
        )
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", "LOCAL_RANK"):
        value = environment.get(name, "0")
        if not _is_whole(value):
            refuse(
                f"{name} is {value!r} in the environment, but must be a whole number of at most "
                f"{_DIGITS} digits"
            )
    rank, world_size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    if rank >= world_size:
        refuse(f"RANK is {rank}, but must be below WORLD_SIZE, which is {world_size}")
    return world_size


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
        return Plan(derive_shape(world_size or 8, names), names)
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


def _is_whole(text: str) -> bool:
    return text.isdecimal() and len(text) <= _DIGITS


def _joined(parts: tuple[object, ...]) -> str:
    return ",".join(map(str, parts))


def _sizes(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(_is_whole(part.strip()) and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text!r} must be whole numbers above 0, of at most {_DIGITS} digits, with commas "
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
    if not _is_whole(text) or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} must be a whole number above 0, the number of ranks, of at most {_DIGITS} "
            f"digits"
        )
    return int(text)


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
