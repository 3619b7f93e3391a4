"""What pipelines are called with: a picture, ``(picture, text)``, or a dict of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..._pictures import Picture
from ...errors import OptionError, Unsupported

TEXT_KEYS = ("question", "text")
"""Keys of a dict's text; the first that is there counts."""


def picture_of(entry: Any) -> Picture:
    """The picture of an input; a text beside it is left alone, as the original's captioning does."""
    if isinstance(entry, Mapping):
        if "image" not in entry:
            raise OptionError(f"input: expected the key 'image', found {sorted(map(str, entry))}")
        entry = entry["image"]
    elif isinstance(entry, tuple):
        if not entry:
            raise OptionError("input: expected (picture, text), found an empty tuple")
        entry = entry[0]
    if isinstance(entry, str) and entry.startswith("oss://"):
        raise Unsupported(f"{entry}: object storage is not read here; give an http or https address of it")
    picture: Picture = entry
    return picture


def pair_of(entry: Any) -> tuple[Picture, str]:
    """The picture and the text of an input that needs both."""
    text: Any = None
    if isinstance(entry, Mapping):
        text = next((entry[key] for key in TEXT_KEYS if key in entry), None)
    elif isinstance(entry, tuple) and len(entry) > 1:
        text = entry[1]
    if not isinstance(text, str):
        found = "no text" if text is None else f"a text of type {type(text).__name__}"
        raise OptionError(
            "input: expected {'image': picture, 'question': text}, {'image': picture, 'text': text} or (picture, text), "
            f"found {type(entry).__name__} with {found}"
        )
    return picture_of(entry), text
