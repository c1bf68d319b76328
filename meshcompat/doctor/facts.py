"""What is installed here, and what torch can do with it. Nothing is made, and no mesh is touched."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from typing import TYPE_CHECKING, Any

from meshcompat import _release
from meshcompat._rank_processes.words import one_line
from meshcompat.doctor.masks import of_interest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meshcompat._eras import Era

LIBRARIES = ("packaging", "numpy", "rich")
BACKENDS = ("gloo", "nccl", "mpi", "ucc", "xccl")


def gather(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the facts, as JSON has them; ``missing`` lists what meshcompat needs and does not find."""
    facts: dict[str, Any] = {
        "meshcompat": _release.own_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "torch": None,
        "era": None,
        "backends": [],
        "nccl": None,
        "gpus": [],
        "environment": of_interest(environment),
        "missing": [],
    }
    if facts["libraries"]["packaging"] is None:
        facts["missing"].append("packaging is not installed; pip install packaging")
    try:
        facts |= _of_torch()
    except ModuleNotFoundError as error:
        is_torch = error.name == "torch"
        facts["missing"].append(
            "torch is not installed; pip install torch" if is_torch else _unimported(error)
        )
    except (ImportError, OSError, RuntimeError) as error:
        facts["missing"].append(_unimported(error))
    else:
        facts["missing"] += _missing(facts)
    return facts


def _unimported(error: Exception) -> str:
    return f"torch cannot be imported: {one_line(error)}"


def _of_torch() -> dict[str, Any]:
    import torch  # noqa: PLC0415  (its absence is a fact too)
    import torch.distributed as dist  # noqa: PLC0415

    version = torch.version
    found: dict[str, Any] = {
        "torch": {
            "release": str(torch.__version__),
            "git": getattr(version, "git_version", None),
            "cuda": getattr(version, "cuda", None),
            "hip": getattr(version, "hip", None),
            "debug": bool(getattr(version, "debug", False)),
        }
    }
    if not dist.is_available():
        return found
    from meshcompat import _eras  # noqa: PLC0415

    era = _eras.detected()
    found["era"] = era and _described(era)
    found["backends"] = [
        name for name in BACKENDS if getattr(dist, f"is_{name}_available", lambda: False)()
    ]
    with contextlib.suppress(Exception):  # a build without NCCL raises one thing or another
        nccl: Callable[[], tuple[int, ...]] = torch.cuda.nccl.version
        found["nccl"] = ".".join(map(str, nccl()))
    return found | _gpus(torch)


def _described(era: Era) -> dict[str, str]:
    return {
        "name": era.name,
        "oldest": ".".join(map(str, era.oldest)),
        "newest": ".".join(map(str, era.newest)),
        "capability": ".".join(era.capability),
    }


def _gpus(torch: Any) -> dict[str, Any]:
    """Return the devices of this process; an error where the driver or a device is at fault."""
    try:
        properties = [
            torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())
        ]
    except Exception as error:  # noqa: BLE001  (whatever a driver raises is what a bug report needs)
        return {"gpus": [], "gpu_error": one_line(error)}
    return {
        "gpus": [
            {"name": device.name, "memory_gib": round(device.total_memory / 2**30)}
            for device in properties
        ]
    }


def _missing(facts: Mapping[str, Any]) -> list[str]:
    release = facts["torch"]["release"]
    minor = _release.minor_of(release)
    oldest, newest = (".".join(map(str, end)) for end in (_release.OLDEST, _release.NEWEST_TESTED))
    if minor is not None and minor < _release.OLDEST:
        return [f"torch {release} is older than {oldest}, the oldest that meshcompat runs on"]
    if not facts["backends"] and facts["era"] is None:
        return [f"torch {release} was built without torch.distributed; install another build"]
    if facts["era"] is None:
        return [
            f"torch {release} has none of the DeviceMesh internals of torch {oldest} to {newest}"
        ]
    return []


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
