"""What one run is asked for: the command line, over `[tool.meshcompat.audit]` of the nearest pyproject.toml."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from meshcompat.audit import toml
from meshcompat.audit.rules import RULES
from meshcompat.audit.values import Confidence

if TYPE_CHECKING:
    import argparse


class SettingsError(ValueError):
    """What was asked for cannot be done; the text says it in one line."""


@dataclass(frozen=True)
class Settings:
    """What findings are wanted, of which releases."""

    torch: SpecifierSet | None = None
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    confidence: Confidence = Confidence.MEDIUM
    baseline: Path | None = None

    def wants(self, code: str) -> bool:
        """Whether a rule is selected and not ignored."""
        chosen = not self.select or code.startswith(self.select)
        return chosen and not (self.ignore and code.startswith(self.ignore))


KEYS = tuple(field.name for field in fields(Settings))


def read(arguments: argparse.Namespace, start: Path) -> Settings:
    """Return the settings of a run; the command line wins over the file.

    Raises:
        SettingsError: A value is none of those that are allowed, or a key of the file is unknown.
    """
    settings = _of_file(start)
    given = {
        name: getattr(arguments, name)
        for name in KEYS
        if getattr(arguments, name, None) is not None
    }
    return replace(
        settings,
        **{name: _value(name, value, f"--{name}", Path()) for name, value in given.items()},
    )


def _of_file(start: Path) -> Settings:
    found = nearest(start)
    if found is None:
        return Settings()
    path, table = found
    unknown = sorted(set(table) - set(KEYS))
    if unknown:
        raise SettingsError(
            f"{path}: unknown key {unknown[0]!r} in [tool.meshcompat.audit]; allowed are {', '.join(KEYS)}"
        )
    return Settings(
        **{
            name: _value(name, value, f"{path}: {name}", path.parent)
            for name, value in table.items()
        }
    )


def nearest(start: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the nearest pyproject.toml at or above a path, with its table; None where there is none."""
    try:
        place = start.resolve()
    except (OSError, RuntimeError):
        return None
    for folder in [place, *place.parents] if place.is_dir() else place.parents:
        path = folder / "pyproject.toml"
        try:
            if not path.is_file():
                continue
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if "meshcompat" not in text:
            return None
        try:
            tool = toml.loads(text).get("tool", {})
        except toml.TomlError as error:
            raise SettingsError(f"{path}: {error}") from None
        table = tool.get("meshcompat", {}).get("audit", {}) if isinstance(tool, dict) else {}
        if not isinstance(table, dict):
            raise SettingsError(f"{path}: [tool.meshcompat.audit] is no table")
        return path, table
    return None


def _value(name: str, value: Any, where: str, folder: Path) -> Any:
    if name == "torch":
        return _spec(value, where)
    if name == "confidence":
        return _confidence(value, where)
    if name == "baseline":
        if not isinstance(value, (str, Path)):
            raise SettingsError(f"{where}: {value!r} is no path")
        return folder / value
    if name in {"select", "ignore"}:
        return _codes(value, where)
    return tuple(_words(value, where))


def _spec(value: Any, where: str) -> SpecifierSet:
    try:
        return SpecifierSet(value)
    except (InvalidSpecifier, TypeError, AttributeError):
        raise SettingsError(
            f"{where}: {value!r} is no range of versions; write one such as '>=2.6' or '>=2.6,<2.11'"
        ) from None


def _confidence(value: Any, where: str) -> Confidence:
    words = [one.word for one in reversed(Confidence)]
    if str(value).lower() not in words:
        raise SettingsError(f"{where}: {value!r} is no confidence; allowed are {', '.join(words)}")
    return Confidence[str(value).upper()]


def _words(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise SettingsError(f"{where}: {value!r} is no list of strings")
    return value


def _codes(value: Any, where: str) -> tuple[str, ...]:
    codes = [
        code.strip().upper()
        for text in _words(value, where)
        for code in text.split(",")
        if code.strip()
    ]
    for code in codes:
        if not any(rule.code.startswith(code) for rule in RULES):
            raise SettingsError(
                f"{where}: no rule begins with {code!r}; `meshcompat audit --rules` lists them"
            )
    return tuple(codes)
