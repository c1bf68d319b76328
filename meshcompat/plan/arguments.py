"""What the user asks for, from flags and a file, brought into one form.

What cannot be read is a ``ValueError`` in words for the user; whether it fits is for the builders.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from meshcompat._help import describe
from meshcompat.plan.files import read as read_file
from meshcompat.plan.request import SIZES, STRATEGIES, Request, Split

if TYPE_CHECKING:
    import argparse

_PURPOSE = """\
Print the meshes of a job on paper: which ranks talk to each other along each mesh dim, on how many \
nodes, over how many process groups, and what to look out for. It needs no torch, no GPU and no \
processes.

A FILE has the names of the flags as keys, such as tp = 8; flags on the command line override the \
file. A size below 1, such as --tp 0, counts as 1, as in the builders; --dp 0 means what the others leave.\
"""
_LARGEST_WORLD = 2**20
_SIZE_HELP = {
    "dp": "data parallelism, replicated and sharded together; by default what is left",
    "dp_replicate": "replicas of the model (HSDP)",
    "tp": "tensor parallelism",
    "pp": "pipeline stages",
    "cp": "context parallelism",
    "ep": "expert parallelism, a second factorisation of a stage",
}
_OTHERS = ("world_size", "gpus_per_node", "strategy", "mesh", "flatten", "unflatten", "rank")
KEYS = (*SIZES, *_OTHERS, "comm_mb")


class Output(NamedTuple):
    """What to do with the plan."""

    as_json: bool
    is_check: bool
    svg: str | None
    html: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    describe(
        parser,
        _PURPOSE,
        examples=[
            "meshcompat plan --world-size 64 --pp 2 --tp 4 --ep 8",
            "meshcompat plan --mesh pp=2,dp=8,tp=4 --rank 5 \\",
            "    --flatten dp_tp=dp,tp --unflatten dp=2x4:a,b",
            "meshcompat plan job.toml --html job.html",
            "meshcompat plan job.toml --check && sbatch job.sh",
        ],
        exit_codes={
            0: "it fits; there may be warnings",
            1: "it does not fit, and why stands on standard error",
            2: "the call itself was wrong",
        },
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="a file .toml or .json")
    parser.add_argument("--world-size", type=int, metavar="N", help="number of ranks")
    parser.add_argument(
        "--strategy",
        choices=STRATEGIES,
        metavar="NAME",
        help=f"whose meshes to plan: {', '.join(STRATEGIES)}; by default the first",
    )
    for name in SIZES:
        parser.add_argument(_flag(name), type=int, metavar="N", help=_SIZE_HELP[name])
    parser.add_argument(
        "--mesh", metavar="DIM=N,...", help="mesh dims and sizes of your own, instead of a strategy"
    )
    parser.add_argument(
        "--flatten",
        action="append",
        metavar="NAME=DIM,...",
        help="a flattened mesh dim of --mesh; may be given several times",
    )
    parser.add_argument(
        "--unflatten",
        action="append",
        metavar="DIM=NxN:A,B",
        help="a mesh dim, native or flattened, as several; may be given several times",
    )
    parser.add_argument("--gpus-per-node", type=int, metavar="N", help="by default 8")
    parser.add_argument(
        "--rank", type=int, metavar="N", help="the rank whose groups are listed; by default 0"
    )
    parser.add_argument(
        "--comm-mb",
        type=float,
        metavar="MB",
        help="GPU memory of one communicator; by default 512",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--svg", metavar="FILE", help="draw the meshes into an SVG file")
    parser.add_argument("--html", metavar="FILE", help="draw the meshes into an HTML file")
    parser.add_argument("--check", action="store_true", help="print nothing; only the exit code")


def read(arguments: argparse.Namespace) -> tuple[Request, Output]:
    """Return what is asked for.

    Raises:
        ValueError: It cannot be read, in words for the user.
    """
    given = {} if arguments.file is None else read_file(arguments.file)
    unknown = sorted(given.keys() - set(KEYS))
    if unknown:
        raise ValueError(
            f"{arguments.file!r} has unknown keys {', '.join(unknown)}; known are {', '.join(KEYS)}"
        )
    flags = {key: getattr(arguments, key) for key in KEYS}
    flags = {key: value for key, value in flags.items() if value is not None}
    spelled = {key: f"{key} in {arguments.file!r}" for key in given.keys() - flags.keys()}
    output = Output(arguments.json, arguments.check, arguments.svg, arguments.html)
    return request_of(given | flags, spelled), output


def request_of(given: Mapping[str, Any], spelled: Mapping[str, str] | None = None) -> Request:
    """Return the request of keys and values.

    Args:
        given: Keys and values.
        spelled: What a key is called that was not given as a flag.

    Raises:
        ValueError: They cannot be read, or do not go together.
    """
    mesh = _mesh(given["mesh"]) if "mesh" in given else ()
    flattened = _flattened(given.get("flatten", ()))
    asked = {name: given[name] for name in SIZES if given.get(name) is not None}
    sizes = {name: _size(size, _flag(name)) for name, size in asked.items()}
    strategy = given.get("strategy", None if mesh else "fsdp2")
    if mesh and (sizes or strategy is not None):
        mine, *others = [
            (spelled or {}).get(key, _flag(key))
            for key in ("mesh", *sizes, *(["strategy"] if strategy is not None else []))
        ]
        raise ValueError(f"{mine} is a mesh of your own, and goes without {', '.join(others)}")
    if not mesh and strategy not in STRATEGIES:
        raise ValueError(f"strategy {strategy!r} is none of {', '.join(STRATEGIES)}")
    if flattened and not mesh:
        raise ValueError("--flatten goes with --mesh; a strategy flattens its own mesh dims")
    # A size below 1 is for the builders to refuse.
    count = math.prod(max(size, 1) for _, size in mesh) if mesh else None
    if "world_size" not in given and count is None:
        raise ValueError("give --world-size, the number of ranks")
    world_size = _whole(given.get("world_size", count), "--world-size", 1, _LARGEST_WORLD)
    splits = _splits(given.get("unflatten", ()))
    if splits and strategy == "ddp":
        raise ValueError("--unflatten splits a mesh dim, and ddp has no mesh")
    return Request(
        world_size=world_size,
        strategy=strategy,
        sizes=sizes,
        mesh=mesh,
        flattened=flattened,
        splits=splits,
        gpus_per_node=_whole(given.get("gpus_per_node", 8), "--gpus-per-node", 1, world_size * 8),
        rank=_whole(given.get("rank", 0), "--rank", 0, world_size - 1),
        comm_mb=_megabytes(given.get("comm_mb", 512)),
    )


def _mesh(value: object) -> tuple[tuple[str, int], ...]:
    """Read ``pp=2,dp=8``, or a table of the same."""
    if isinstance(value, Mapping):
        pairs = [(str(name), size) for name, size in value.items()]
    else:
        parts = [part.strip() for part in str(value).split(",")]
        matches = [re.fullmatch(r"([^=]+)=(-?\d+)", part) for part in parts]
        if not all(matches):
            raise ValueError(f"--mesh {value!r} must be mesh dims and sizes, such as pp=2,dp=8")
        pairs = [(match[1].strip(), int(match[2])) for match in matches if match is not None]
    if not pairs or not all(type(size) is int for _, size in pairs):
        raise ValueError(f"--mesh {value!r} must be mesh dims and sizes, such as pp=2,dp=8")
    return tuple(pairs)


def _flattened(value: object) -> dict[str, tuple[str, ...]]:
    """Read ``dp_tp=dp,tp``, a list of such, or a table from name to names."""
    found: dict[str, tuple[str, ...]] = {}
    for name, joined in _pairs(value, "--flatten", "dp_tp=dp,tp"):
        if name in found:
            raise ValueError(f"--flatten names {name!r} twice")
        parts = joined.split(",") if isinstance(joined, str) else joined
        if not isinstance(parts, (list, tuple)):
            raise ValueError(f"--flatten {name!r} must join mesh dims, such as dp_tp=dp,tp")  # noqa: TRY004
        found[name] = tuple(str(part).strip() for part in parts)
    return found


def _splits(value: object) -> tuple[Split, ...]:
    """Read ``dp=2x4:ep_shard,ep``, a list of such, or a table from mesh dim to the rest."""
    found = []
    for mesh_dim, split in _pairs(value, "--unflatten", "dp=2x4:a,b"):
        match = re.fullmatch(r"\s*(\d+(?:x\d+)*)\s*:(.+)", str(split))
        if match is None:
            raise ValueError(
                f"--unflatten {mesh_dim}={split} must be sizes and names, such as dp=2x4:a,b"
            )
        sizes = tuple(int(size) for size in match[1].split("x"))
        names = tuple(name.strip() for name in match[2].split(","))
        found.append(Split(mesh_dim, sizes, names))
    if len(set(found)) < len(found):
        raise ValueError("--unflatten splits a mesh dim twice into the same sizes and names")
    calls = [split.mesh_name for split in found]
    return tuple(
        replace(split, is_one_of_several=calls.count(split.mesh_name) > 1) for split in found
    )


def _pairs(value: object, flag: str, example: str) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return [(str(name).strip(), rest) for name, rest in value.items()]
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        raise ValueError(f"{flag} {value!r} must be text such as {example}")  # noqa: TRY004
    pairs: list[tuple[str, object]] = []
    for text in texts:
        name, equals, rest = str(text).partition("=")
        if not equals or not name.strip() or not rest.strip():
            raise ValueError(f"{flag} {text!r} must be such as {example}")
        pairs.append((name.strip(), rest))
    return pairs


def _size(value: object, flag: str) -> int:
    """Read a size; one that is too small is for the builders to refuse."""
    if type(value) is not int:
        raise ValueError(f"{flag} {value!r} must be a whole number")
    return value


def _whole(value: object, flag: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{flag} {value!r} must be a whole number from {least} to {most}")
    return value


def _megabytes(value: object) -> float:
    if type(value) not in {int, float} or not 0 < float(value) < math.inf:  # type: ignore[arg-type]
        raise ValueError(f"--comm-mb {value!r} must be a number of MB above 0")
    return float(value)  # type: ignore[arg-type]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
