"""The configuration of a model and its training, with attributes: ``cfg.train.optimizer.lr = 2e-5``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import OptionError


class ConfigDict(dict[str, Any]):
    """A dict whose entries are attributes too. Dicts that are put into it, and into lists in it, become such dicts."""

    def __init__(self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **more: Any) -> None:
        super().__init__()
        self.update(dict(entries), **more)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, _wrapped(value))

    def update(self, *entries: Any, **more: Any) -> None:
        """Sets entries, as a dict's does."""
        for name, value in dict(*entries, **more).items():
            self[name] = value

    def setdefault(self, name: str, default: Any = None) -> Any:
        """An entry, which is ``default`` from now on if it is not there."""
        if name not in self:
            self[name] = default
        return self[name]

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        there = ", ".join(self) or "none"
        raise AttributeError(f"the configuration has no {name} here; there are {there}")

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(name)
        del self[name]

    def __deepcopy__(self, memo: dict[int, Any]) -> ConfigDict:
        return type(self)(self.to_dict())

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.to_dict(),))

    def safe_get(self, key_chain: str, default: Any = None) -> Any:
        """The entry of ``"train.optimizer.lr"``, or ``default`` where a part of it is missing."""
        value: Any = self
        for name in key_chain.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return default
            value = value[name]
        return value

    def merge_from_dict(self, options: Mapping[str, Any], allow_list_keys: bool = True, force: bool = True) -> None:
        """Sets entries by their chains of names. Without ``force`` those that are there stay."""
        for chain, value in options.items():
            inside: Any = self
            *tables, last = chain.split(".")
            for name in tables:
                inside = _below(inside, name, allow_list_keys)
            if isinstance(inside, list):
                inside[int(last)] = _wrapped(value)
            elif force or last not in inside:
                inside[last] = value

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists of the same."""
        return {name: _plain(value) for name, value in self.items()}


class Config(ConfigDict):
    """The content of a ``configuration.json``."""

    @classmethod
    def from_file(cls, filename: str | os.PathLike[str]) -> Config:
        """Reads a file in JSON."""
        try:
            content = json.loads(Path(filename).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OptionError(f"{os.fspath(filename)}: {error}") from error
        if not isinstance(content, dict):
            raise OptionError(f"{os.fspath(filename)}: expected an object, found {type(content).__name__}")
        return cls(content)

    @classmethod
    def from_string(cls, cfg_str: str, file_format: str = ".json") -> Config:
        """Reads a text in JSON."""
        if file_format != ".json":
            raise OptionError(f"file_format: expected .json, found {file_format}")
        return cls(json.loads(cfg_str))

    def dump(self, file: str | os.PathLike[str] | None = None) -> str | None:
        """Its text in JSON, or nothing once that is written to ``file``."""
        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=2)
        if file is None:
            return text
        Path(file).write_text(text, encoding="utf-8")
        return None


def _below(inside: Any, name: str, allow_list_keys: bool) -> Any:
    """The entry of a dict, which is made if it is no table, or of a list."""
    if isinstance(inside, list):
        if not allow_list_keys:
            raise OptionError(f"expected a dict above {name}, found a list")
        return inside[int(name)]
    if not isinstance(inside.get(name), (Mapping, list)):
        inside[name] = {}
    return inside[name]


def _wrapped(value: Any) -> Any:
    if isinstance(value, ConfigDict):
        return value
    if isinstance(value, Mapping):
        return ConfigDict(value)
    if isinstance(value, (list, tuple)):
        return [_wrapped(entry) for entry in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value
