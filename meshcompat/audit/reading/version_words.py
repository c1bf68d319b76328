"""What names say of torch's version where the code behind them is not in sight.

Other packages' helpers such as ``is_torch_version(">=", "2.5")``, and constants such as ``TORCH_GE_2_10``.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from meshcompat.audit.releases import ALL, ORDER, Releases
from meshcompat.audit.values import UNKNOWN, Value, per_release

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OPERATORS: dict[Any, Callable[[Any, Any], Any]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "==": operator.eq, "!=": operator.ne,
    "ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt, "eq": operator.eq, "ne": operator.ne,
    **{getattr(operator, name): getattr(operator, name) for name in ("ge", "gt", "le", "lt", "eq", "ne")},
}  # fmt: skip

_VERSION_NAME = re.compile(
    r"(get_)?_*(py)?torch_*(base_*)?(version|ver)(_str|_string|_parsed|_tuple|_info)?",
    re.IGNORECASE,
)
_AVAILABLE = re.compile(
    r"_*(is_|has_)?(py)?torch(_distributed|_dist)?_(is_)?available", re.IGNORECASE
)
_AT_LEAST = r"(ge|gte|geq|greater_(or_)?equal(_than)?|at_least|min(imum)?|after|newer|and_later|or_later|plus|since)"
_BELOW = r"(lt|less(_than)?|below|before|older|under)"
_NUMBER = r"(?P<major>\d+)[_.](?P<minor>\d+)(?!\d*[a-z])"
_CONSTANT = re.compile(
    rf"_*(is_|has_|use_)?(py)?torch_?(version_?)?(?P<how>{_AT_LEAST}|{_BELOW})?_?(than_)?v?{_NUMBER}(_\d+)?"
    r"(?P<later>_?(or_(later|newer|above)|plus|and_later|and_above))?_*",
    re.IGNORECASE,
)


class TorchVersion(str):
    """A version as torch has it: a string that compares as a version, with strings, versions and tuples."""

    __slots__ = ()

    def _compare(self, other: object, how: Callable[[Any, Any], Any]) -> bool:
        mine = Version(str(self))
        if isinstance(other, (tuple, list)):
            return bool(how(mine.release[: len(other)], tuple(other)))
        return bool(how(mine, Version(str(other))))

    def __ge__(self, other: object) -> bool:
        return self._compare(other, operator.ge)

    def __gt__(self, other: object) -> bool:
        return self._compare(other, operator.gt)

    def __le__(self, other: object) -> bool:
        return self._compare(other, operator.le)

    def __lt__(self, other: object) -> bool:
        return self._compare(other, operator.lt)

    def __eq__(self, other: object) -> bool:
        return self._compare(other, operator.eq)

    def __ne__(self, other: object) -> bool:
        return self._compare(other, operator.ne)

    __hash__ = str.__hash__

    def __getattr__(self, name: str) -> Any:
        return getattr(Version(str(self)), name)


def parse(text: object) -> Version:
    """Return a parsed version, as packaging does."""
    return Version(str(text))


PARSERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("parse", "Version", "LooseVersion", "StrictVersion", "parse_version", "_parse"), parse
    ),
    "TorchVersion": TorchVersion,
}
"""What makes a version of a text, by the last part of its name."""


def by_name(name: str) -> Value:
    """Return what a constant's name, or that of a function without arguments, says of torch's version."""
    if _VERSION_NAME.fullmatch(name):
        return per_release({release: TorchVersion(release) for release in ORDER})
    if _AVAILABLE.fullmatch(name):
        return per_release(dict.fromkeys(ORDER, True))
    found = _CONSTANT.fullmatch(name)
    if found is None:
        return UNKNOWN
    asked = (int(found["major"]), int(found["minor"]))
    if found["how"] is None and found["later"] is None:
        return UNKNOWN
    below = found["how"] is not None and re.fullmatch(_BELOW, found["how"], re.IGNORECASE)
    return _truth(
        {
            r: (Version(r).release[:2] < asked if below else Version(r).release[:2] >= asked)
            for r in ORDER
        }
    )


def by_call(name: str, arguments: Sequence[Any]) -> Value:
    """Return what a helper's name and its constant arguments say, for a helper whose code is not in sight."""
    words = [argument for argument in arguments if isinstance(argument, str)]
    if not arguments:
        return by_name(name)
    if "torch" not in name.lower() and not any(re.match(r"torch\b", word) for word in words):
        return UNKNOWN
    requirement = re.match(r"torch\s*(\[.*\])?\s*(?P<spec>[<>=!~].*)", words[0]) if words else None
    if requirement:
        return _specifier(requirement["spec"])
    if name.lower() in {"version", "get_version", "_get_version", "package_version"} and words[
        :1
    ] == ["torch"]:
        return per_release({release: release for release in ORDER})
    compare = next((OPERATORS[a] for a in arguments if _is_hashable(a) and a in OPERATORS), None)
    version = next(filter(None, map(_version, arguments)), None)
    if version is None:
        return UNKNOWN
    if compare is None:
        lowered = name.lower()
        if re.search(rf"(^|_){_BELOW}(_|$)", lowered):
            compare = operator.lt
        elif re.search(rf"(^|_){_AT_LEAST}(_|$)", lowered):
            compare = operator.ge
        else:
            return UNKNOWN
    return _truth({release: bool(compare(Version(release), version)) for release in ORDER})


def _specifier(text: str) -> Value:
    try:
        fitting: Releases = frozenset(SpecifierSet(text).filter(ORDER, prereleases=True))
    except InvalidSpecifier:
        return UNKNOWN
    return Value(truthy=fitting, falsy=ALL - fitting)


def _truth(values: dict[str, bool]) -> Value:
    true = frozenset(release for release, value in values.items() if value)
    return Value(truthy=true, falsy=ALL - true)


def _version(value: object) -> Version | None:
    if isinstance(value, (tuple, list)) and value and all(isinstance(part, int) for part in value):
        value = ".".join(map(str, value))
    if not isinstance(value, (str, Version)) or not re.match(r"\d", str(value)):
        return None
    try:
        return Version(str(value))
    except InvalidVersion:
        return None


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
