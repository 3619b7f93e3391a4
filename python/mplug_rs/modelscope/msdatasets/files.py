"""Datasets in files: which files a folder has for which split, and what is in them."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ... import _native
from ..._model import DownloadBar
from ...errors import OptionError, Unsupported
from .table import Dataset, Row

DataFiles: TypeAlias = "str | Sequence[str] | Mapping[str, str | Sequence[str]]"
"""Names of files, alone or by split."""

Source: TypeAlias = "tuple[Path, Path]"
"""A file of rows, and the folder to which the paths in it are relative."""

_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
_METADATA = ("metadata.csv", "metadata.jsonl")
# In the order in which a name is tried; the words are those of the package `datasets`.
_SPLITS = {
    "train": r"train|training",
    "test": r"test|testing|eval|evaluation",
    "validation": r"validation|valid|dev|val",
}
_PICTURE_COLUMNS = ("image", "image_path", "file_name", "path")
_FILE = ":FILE"
# A cell may hold a long text; the module's own limit is 131,072 characters.
_MOST_OF_A_CELL = 16 << 20


def load_splits(
    name: str, namespace: str, revision: str, subset: str | None, data_files: DataFiles | None
) -> dict[str, Dataset]:
    """The tables of a dataset by split."""
    path = Path(name).expanduser()
    if path.exists():
        return _of_path(path, subset, data_files, None)
    if path.is_absolute() or name.startswith(".") or path.suffix in _ENDINGS:
        raise OptionError(f"dataset_name: expected a file or a folder, found nothing at {name}")
    full_name = name if "/" in name else f"{namespace}/{name}"
    with DownloadBar(None) as bar:
        folder = _native.pull_dataset(full_name, revision, bar.show if bar.is_shown else None)
    return _of_path(Path(folder), subset, data_files, full_name)


def _of_path(
    path: Path, subset: str | None, data_files: DataFiles | None, hub_name: str | None
) -> dict[str, Dataset]:
    """The tables at a path; ``hub_name`` is that of a dataset which came from the hub."""
    if path.is_file():
        return {"train": _table([(path, path.parent)], None)}
    inside = path if hub_name is not None else None
    if data_files is not None:
        chosen = data_files if isinstance(data_files, Mapping) else {"train": data_files}
        files = {split: [_beside(path / file) for file in _as_list(names)] for split, names in chosen.items()}
    else:
        files = _described(path, subset, hub_name) or _found(path, subset)
    return {split: _table(paths, inside) for split, paths in files.items()}


def _beside(file: Path) -> Source:
    return (file, file.parent)


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _described(folder: Path, subset: str | None, hub_name: str | None) -> dict[str, list[Source]] | None:
    """The files that a ``NAME.json`` of ModelScope's older datasets lists: a table for each split, and an archive of its files."""
    name = hub_name.split("/")[-1] if hub_name else folder.name
    description = folder / f"{name}.json"
    if not description.is_file():
        return None
    parts = json.loads(description.read_text(encoding="utf-8"))
    is_description = isinstance(parts, dict) and all(isinstance(splits, dict) for splits in parts.values())
    if not is_description or not parts:
        return None
    if subset is None and len(parts) > 1:
        raise OptionError(f"subset_name: expected one of {', '.join(parts)}, found none")
    if subset is not None and subset not in parts:
        raise OptionError(f"subset_name: expected one of {', '.join(parts)}, found {subset}")
    found = {}
    for split, files in parts[subset or next(iter(parts))].items():
        if not isinstance(files, dict) or not files.get("meta"):
            continue
        archive = files.get("file") or ""
        pictures = folder / archive.removesuffix(".zip")
        if not pictures.is_dir():
            raise Unsupported(_stored_elsewhere(folder, archive, hub_name))
        found[split] = [(folder / files["meta"], pictures)]
    return found


def _stored_elsewhere(folder: Path, archive: str, hub_name: str | None) -> str:
    stem = archive.removesuffix(".zip")
    if (folder / archive).is_file():
        return f"{folder / archive}: archives are not opened here; unpack it to {folder / stem}"
    name = hub_name or "OWNER/NAME"
    return (
        f"{archive} of {name} lies in the hub's object storage, which only its own client reads: "
        f"`modelscope download --dataset {name} --local_dir DIR` downloads it; unpack {archive} to DIR/{stem}, "
        "and give MsDataset.load that DIR"
    )


def _found(folder: Path, subset: str | None) -> dict[str, list[Source]]:
    """The files of a folder by the split that their names say, and `train` where they say none."""
    root = folder if subset is None else folder / subset
    if not root.is_dir():
        raise OptionError(f"subset_name: expected a folder of {folder}, found {subset}")
    everything = [path for path in sorted(root.rglob("*")) if path.is_file() and not _is_hidden(path, root)]
    files = [path for path in everything if path.name in _METADATA] or [
        path for path in everything if path.suffix.lower() in _ENDINGS and path.name != "dataset_infos.json"
    ]
    if not files:
        raise OptionError(f"{folder}: expected files in CSV, TSV, JSON, JSON Lines or Parquet, found none")
    found: dict[str, list[Source]] = {}
    for path in files:
        found.setdefault(_split_of(path.relative_to(root)), []).append(_beside(path))
    return found


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _split_of(path: Path) -> str:
    for part in reversed(path.with_suffix("").parts):
        for split, words in _SPLITS.items():
            if re.search(rf"(?:^|[^a-z])(?:{words})(?:[^a-z]|$)", part.lower()):
                return split
    return "train"


def _table(sources: Iterable[Source], inside: Path | None) -> Dataset:
    """The rows of files. Pictures of a dataset that came from elsewhere may not be outside of it."""
    rows: list[Row] = []
    for file, pictures in sources:
        for row in _rows(file):
            rows.append({name: _path(name, value, file, pictures, inside) for name, value in row.items()})
    return Dataset.from_list(rows)


def _rows(path: Path) -> Iterator[Row]:
    try:
        yield from _READERS[path.suffix.lower()](path)
    except KeyError:
        raise OptionError(f"{path}: expected a name that ends in {', '.join(_ENDINGS)}") from None
    except (OSError, ValueError, csv.Error) as error:
        raise OptionError(f"{path}: {error}") from error


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_MOST_OF_A_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        for row in lines:
            if None in row or None in row.values():
                there = len(lines.fieldnames or [])
                raise ValueError(f"line {lines.line_num}: expected {there} columns, found another number")
            yield dict(row)


def _json(path: Path) -> Iterator[Row]:
    text = path.read_text(encoding="utf-8-sig")
    content = json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]
    for number, row in enumerate(content, 1):
        if not isinstance(row, dict):
            raise ValueError(f"entry {number}: expected an object, found {type(row).__name__}")
        yield row


def _parquet(path: Path) -> Iterator[Row]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise OptionError(f"{path}: Parquet is read by the package pyarrow, which is not installed") from None
    yield from parquet.read_table(path).to_pylist()


_READERS = {".csv": _csv, ".tsv": _csv, ".json": _json, ".jsonl": _json, ".parquet": _parquet}


def _path(column: str, value: Any, file: Path, pictures: Path, inside: Path | None) -> Any:
    """A value; of a picture the whole path."""
    is_file = column.endswith(_FILE)
    if not isinstance(value, str) or not (is_file or column in _PICTURE_COLUMNS) or "://" in value:
        return value
    path = Path(os.path.normpath(pictures / value))
    if inside is not None and not path.resolve().is_relative_to(inside.resolve()):
        raise OptionError(f"{file}: expected pictures inside the dataset, found {value}")
    return str(path) if is_file or path.exists() else value
