"""Rows of a dataset as the JSON Lines that a recipe names. Pictures that are no files become files beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import OptionError, Unsupported
from ..utils.constant import Tasks

_TEXTS = {
    Tasks.image_captioning: ["answer"],
    Tasks.visual_question_answering: ["question", "answer"],
    Tasks.image_text_retrieval: ["text"],
}
"""The columns that each task reads beside the picture, as ``MPlugPreprocessor`` does."""


class RowsWriter:
    """Writes the rows of a task's datasets into a folder."""

    def __init__(self, task: str, folder: Path) -> None:
        self.task = task
        self.folder = folder

    def write(self, dataset: Any, name: str, *, keeps_rows: bool) -> Path:
        """Writes a dataset as ``name.jsonl``. With ``keeps_rows`` every row is an example, and else every picture, with all its texts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{name}.jsonl"
        # A row of its own number is about a picture of its own; of retrieval, what rows show the same picture matters.
        has_numbers = keeps_rows and self.task != Tasks.image_text_retrieval
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("w", encoding="utf-8") as file:
            for number, line in enumerate(self._lines(dataset, name)):
                own = {"question_id": number} if "question" in line else {"id": number}
                file.write(json.dumps({**(own if has_numbers else {}), **line}, ensure_ascii=False) + "\n")
        os.replace(unfinished, path)
        return path

    def _lines(self, dataset: Any, name: str) -> Iterator[dict[str, Any]]:
        for number, row in enumerate(dataset):
            path = self._picture(row, name, number)
            texts = {column: _text(row, column, number) for column in _TEXTS[self.task]}
            if self.task == Tasks.visual_question_answering:
                yield {"path": path, **texts}
            else:
                yield {"path": path, "captions": list(texts.values())}

    def _picture(self, row: Any, name: str, number: int) -> str:
        """The path of a row's picture, which is written where it has none."""
        image = _column(row, "image", number)
        if isinstance(image, dict) and image.get("bytes") is not None:
            image = image["bytes"]
        elif isinstance(image, dict):
            image = image.get("path")
        if isinstance(image, (str, os.PathLike)):
            text = os.fsdecode(image)
            if "://" in text:
                raise Unsupported(f"row {number}: image: pictures of addresses are not fetched in training, found {text}; download it")
            return os.path.abspath(text)
        path = self.folder / "pictures" / f"{name}-{number:06}.png"
        path.parent.mkdir(exist_ok=True)
        if isinstance(image, (bytes, bytearray)):
            path.write_bytes(image)
        elif image is not None and hasattr(image, "save") and hasattr(image, "convert"):
            image.convert("RGB").save(path)
        else:
            raise OptionError(f"row {number}: image: expected a path, a PIL picture or bytes, found {type(image).__name__}")
        return os.path.abspath(path)


def _column(row: Any, name: str, number: int) -> Any:
    if not hasattr(row, "keys"):
        raise OptionError(f"row {number}: expected a dict, found {type(row).__name__}")
    if name not in row:
        there = ", ".join(map(str, row))
        raise OptionError(f"expected a column {name}, found {there}: remap_columns({{'{next(iter(row), 'old')}': '{name}'}}) renames one")
    return row[name]


def _text(row: Any, name: str, number: int) -> Any:
    """A text, or several answers to a question. The text that is matched may stand under ``question`` too."""
    column = "question" if name == "text" and "text" not in row else name
    value = _column(row, column, number)
    is_list = name == "answer" and isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)
    if not isinstance(value, str) and not is_list:
        raise OptionError(f"row {number}: {column}: expected a text, found {type(value).__name__}")
    return list(value) if is_list else value
