"""``MsDataset``: a table by its name or its path, with columns that can be renamed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from ...errors import OptionError, Unsupported
from ..utils.constant import DownloadMode, Hubs
from .files import DataFiles, load_splits
from .table import Dataset, Row

_NEAREST = {
    "custom_cfg": "build_trainer takes the dataset as it is",
    "features": "columns are as the file has them",
    "stream_batch_size": "rows are read at once",
    "cache_dir": "the environment variable MODELSCOPE_CACHE says where datasets lie",
    "token": "the environment variable MODELSCOPE_API_TOKEN holds it",
    "dataset_info_only": "column_names of what is loaded has them",
    "data_dir": "give the folder itself in the place of the name",
}
_ONLY = {
    "trust_remote_code": (False, True),  # nothing of a dataset is executed
    "download_mode": (DownloadMode.REUSE_DATASET_IF_EXISTS,),
    "hub": (Hubs.modelscope,),
}
"""What some options may be."""


class MsDataset:
    """A table of this package, or one of the package ``datasets``."""

    def __init__(self, ds_instance: Any, target: str | None = None) -> None:
        """A dataset of a table.

        :param ds_instance: what :meth:`remap_columns` gives, or a ``datasets.Dataset``.
        :param target: the column that iterating gives, in the place of rows.
        """
        if not hasattr(ds_instance, "column_names") or not hasattr(ds_instance, "__getitem__"):
            raise OptionError(
                "ds_instance: expected a table, such as MsDataset.load(...)['train'].remap_columns(...) or a datasets.Dataset, "
                f"found {type(ds_instance).__name__}"
            )
        self._table: Any = ds_instance._table if isinstance(ds_instance, MsDataset) else ds_instance
        if target is not None and target not in self._table.column_names:
            raise OptionError(f"target: expected one of {', '.join(self._table.column_names)}, found {target}")
        self.target = target

    @staticmethod
    def load(
        dataset_name: str | os.PathLike[str] | list[Any],
        namespace: str = "modelscope",
        target: str | None = None,
        version: str = "master",
        *,
        subset_name: str | None = None,
        split: str | None = None,
        data_files: DataFiles | None = None,
        use_streaming: bool = False,
        **options: Any,
    ) -> Any:
        """Opens a dataset: one table where it has one split or ``split`` chooses it, else a dict of them by their names.

        A path is a file (CSV, TSV, JSON, JSON Lines, Parquet with the package ``pyarrow``) or a folder of such files, whose names say
        which split they are; or a folder of pictures with a ``metadata.csv`` or ``metadata.jsonl``. A name is looked for in the
        folders of ModelScope's clients, and downloaded if it is not there: the files of its repository.

        :param dataset_name: a path, ``name``, or ``owner/name``; a list is a table of one column.
        :param namespace: the owner of a name without one.
        :param target: the column that iterating gives, in the place of rows.
        :param version: a branch, a tag or a commit of the hub's.
        :param subset_name: which of several parts.
        :param split: which split.
        :param data_files: the files of a folder to read, a name or a list, or these by split.
        :param use_streaming: not taken.
        """
        if use_streaming:
            raise Unsupported("use_streaming: not taken here; rows are read at once, pictures when they are needed")
        for name, value in options.items():
            if value is None or value in _ONLY.get(name, ()):
                continue
            if name in _ONLY:
                raise Unsupported(f"{name}: expected {_ONLY[name][0]}, found {value}; a dataset that is here is taken as it is")
            nearest = _NEAREST.get(name, "MsDataset.load here takes a path or a name, a split, and files of a folder")
            raise Unsupported(f"{name}: not taken here; {nearest}")
        if isinstance(dataset_name, list):
            column = target or "target"
            return MsDataset(Dataset({column: dataset_name}), column)
        splits = load_splits(os.fspath(dataset_name), namespace, version, subset_name, data_files)
        if split is not None:
            if split not in splits:
                raise OptionError(f"split: expected {' or '.join(splits)}, found {split}")
            return MsDataset(splits[split], target)
        if len(splits) == 1:
            return MsDataset(next(iter(splits.values())), target)
        return {name: MsDataset(table, target) for name, table in splits.items()}

    @classmethod
    def to_ms_dataset(cls, ds_instance: Any, target: str | None = None) -> Any:
        """Of a table a dataset; of a dict of several a dict."""
        if isinstance(ds_instance, Mapping):
            made = {name: cls(table, target) for name, table in ds_instance.items()}
            return next(iter(made.values())) if len(made) == 1 else made
        return cls(ds_instance, target)

    from_hf_dataset = to_ms_dataset

    @property
    def ds_instance(self) -> Any:
        """The table."""
        return self._table

    @property
    def column_names(self) -> list[str]:
        """The columns' names."""
        return cast("list[str]", self._table.column_names)

    def to_hf_dataset(self) -> Any:
        """The table."""
        return self._table

    def remap_columns(self, column_mapping: Mapping[str, str]) -> Any:
        """The table with other names of columns: ``{"old": "new"}``."""
        return self._table.rename_columns(dict(column_mapping))

    def map(self, function: Callable[[Row], Mapping[str, Any] | None], **options: Any) -> Any:
        """The table with what ``function`` gives for each row in addition."""
        return self._table.map(function, **options)

    def __getitem__(self, key: int | slice | str | Sequence[int]) -> Any:
        return self._table[key]

    def __iter__(self) -> Iterator[Any]:
        for row in self._table:
            yield row if self.target is None else row[self.target]

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"MsDataset({self._table!r})"
