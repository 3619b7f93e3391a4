"""Options of hooks, optimizers and schedulers, each of which is read or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ...errors import OptionError, Unsupported

Tables: TypeAlias = dict[str, Any]
"""A recipe, or a table of one."""


class Options:
    """The options of something, each of which is to be read."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        if not isinstance(options, Mapping):
            raise OptionError(f"{name}: expected a dict, found {type(options).__name__}")
        self.name = name
        self._left = dict(options)

    def take(self, key: str, default: Any = None) -> Any:
        """An option, which is read now."""
        return self._left.pop(key, default)

    def needed(self, key: str) -> Any:
        """An option that must be there."""
        if key not in self._left:
            raise OptionError(f"{self.name}.{key}: expected a value, found none")
        return self._left.pop(key)

    def number(self, key: str, default: float) -> float:
        """A number."""
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise OptionError(f"{self.name}.{key}: expected a number, found {value!r}")
        return float(value)

    def whole(self, key: str, default: int | None, least: int = 1) -> int:
        """A whole number of at least ``least``; without a default it must be there."""
        value = self.needed(key) if default is None else self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise OptionError(f"{self.name}.{key}: expected a whole number from {least} on, found {value!r}")
        return value

    def leave(self, *keys: str) -> None:
        """Options that change nothing here."""
        for key in keys:
            self._left.pop(key, None)

    def finish(self, nearest: str) -> None:
        """Nothing is left over but what is switched off."""
        left = [key for key, value in self._left.items() if value not in (None, False)]
        if left:
            raise Unsupported(f"{self.name}.{left[0]}: not taken here; a recipe has {nearest}")
