"""The only place that reads torch's version string.

It decides two things: the floor, and whether to warn that a torch is untested. What a
torch *can do* is asked in `_eras`, because vendor builds carry version strings that lie.
"""

from __future__ import annotations

import re
import sys
import warnings

from meshcompat._errors import UnsupportedTorchError, UntestedTorchWarning

OLDEST = (2, 2)
NEWEST_TESTED = (2, 15)


def installed_torch() -> str:
    """Return the version of torch, without importing it where it is not imported."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return str(torch.__version__)
    from importlib.metadata import version  # noqa: PLC0415  (a third of our import, seldom needed)

    return version("torch")


def own_version() -> str:
    """Return the version of meshcompat; a tree that was never installed has none."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("meshcompat")
    except PackageNotFoundError:
        return "0+unknown"


def minor_of(version: str) -> tuple[int, int] | None:
    """Return ``(major, minor)``, or None for a string that is no version at all."""
    usual = _usual(version)
    if usual is not None:
        return usual[0]
    # Others are rare, and this import takes longer than all of our own.
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415

    try:
        release = Version(version).release
    except InvalidVersion:
        return None
    return (release[0], release[1] if len(release) > 1 else 0)


def is_public(version: str) -> bool:
    """Return whether this is a release that was tested, and no vendor's or nightly build of it."""
    usual = _usual(version)
    if usual is None or not OLDEST <= usual[0] <= NEWEST_TESTED:
        return False
    return re.fullmatch(r"|cpu|cu\d+|rocm[\d.]+|xpu", usual[1]) is not None


def _usual(version: str) -> tuple[tuple[int, int], str] | None:
    """Return minor and kind of build, or None for a string that is more than three numbers and a build."""
    found = re.fullmatch(r"(\d+)\.(\d+)\.\d+(?:\+([a-z\d.]+))?", version)
    return None if found is None else ((int(found[1]), int(found[2])), found[3] or "")


def require_floor(version: str) -> None:
    """Raise `UnsupportedTorchError` for a torch older than the oldest supported."""
    minor = minor_of(version)
    if minor is not None and minor < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise UnsupportedTorchError(
            f"meshcompat needs torch {needed} or newer, but torch {version} is installed; "
            f"upgrade torch, or stay without meshcompat"
        )


def warn_if_untested(version: str) -> None:
    """Warn with `UntestedTorchWarning` for a torch newer than the newest tested."""
    minor = minor_of(version)
    if minor is None or minor > NEWEST_TESTED:
        tested = ".".join(map(str, NEWEST_TESTED))
        msg = (
            f"torch {version} is newer than {tested}, the newest torch that this meshcompat "
            f"was tested with; every mesh is checked when it is made, and a newer meshcompat "
            f"may know this torch"
        )
        warnings.warn(msg, UntestedTorchWarning, stacklevel=2)
