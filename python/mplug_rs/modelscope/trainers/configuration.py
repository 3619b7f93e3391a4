"""The configuration as trainers read it: the model's file, the default hooks, the caller's changes, and hooks in their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import OptionError
from ..utils.config import Config, ConfigDict

DEFAULT_HOOKS = [
    {"type": "CheckpointHook", "interval": 1},
    {"type": "TextLoggerHook", "interval": 10},
    {"type": "IterTimerHook"},
]
"""The hooks of a configuration that has none."""

PLACES = {
    "TextLoggerHook": "train.logging",
    "CheckpointHook": "train.checkpoint.period",
    "BestCkptSaverHook": "train.checkpoint.best",
    "EvaluationHook": "evaluation.period",
}
"""Hooks whose options are entries of the configuration too; where both are, the entries stay."""


def rebuilt(
    file: Config, modify: Callable[[Config], Config] | None, options: Mapping[str, Any] | None
) -> tuple[Config, list[ConfigDict]]:
    """The configuration after the caller's changes, and its hooks, those included that stand in places of their own."""
    file.merge_from_dict({"train.hooks": DEFAULT_HOOKS}, force=False)
    config = file if modify is None else modify(file)
    if not isinstance(config, Mapping):
        raise OptionError(
            f"cfg_modify_fn: expected the configuration that it is given, found {type(config).__name__}; end it with `return cfg`"
        )
    config = config if isinstance(config, Config) else Config(config)
    config.merge_from_dict(options or {})
    return config, _hooks(config)


def _hooks(config: Config) -> list[ConfigDict]:
    hooks: dict[str, ConfigDict] = {}
    for hook in config.safe_get("train.hooks") or []:
        if not hook:
            continue
        if not isinstance(hook, Mapping) or "type" not in hook:
            raise OptionError(f"train.hooks: expected dicts with a type, found {hook!r}")
        if hook["type"] in hooks:
            raise OptionError(f"train.hooks: expected one {hook['type']}, found two")
        hooks[hook["type"]] = ConfigDict(hook)
    for kind, place in PLACES.items():
        entry = config.safe_get(place)
        if entry is not None:
            hooks[kind] = ConfigDict({"type": kind, **entry})
    return list(hooks.values())
