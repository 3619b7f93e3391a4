"""Rows of named columns, with the methods of the package ``datasets`` that training programs call."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...errors import OptionError

Row = dict[str, Any]


class Dataset:
    """A table in memory. Methods give a new one and leave this one as it is."""

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self._columns = {name: list(values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in self._columns.items()}
        if len(set(lengths.values())) > 1:
            raise OptionError(f"columns: expected the same number of values in each, found {lengths}")

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Sequence[Any]]) -> Dataset:
        """The table of these columns."""
        return cls(mapping)

    @classmethod
    def from_list(cls, mapping: Iterable[Mapping[str, Any]]) -> Dataset:
        """The table of these rows; what a row lacks is ``None``."""
        rows = list(mapping)
        names = list(dict.fromkeys(name for row in rows for name in row))
        return cls({name: [row.get(name) for row in rows] for name in names})

    @property
    def column_names(self) -> list[str]:
        """The columns' names."""
        return list(self._columns)

    @property
    def features(self) -> dict[str, type]:
        """The columns' names, each with the type of its first value."""
        return {name: type(values[0]) if values else type(None) for name, values in self._columns.items()}

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(self)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), []))

    def __iter__(self) -> Iterator[Row]:
        return (self._row(index) for index in range(len(self)))

    def __getitem__(self, key: int | slice | str | Sequence[int]) -> Any:
        """A row by its number, a column by its name, or the columns of several rows."""
        if isinstance(key, str):
            return list(self._columns[key])
        if isinstance(key, slice):
            return {name: values[key] for name, values in self._columns.items()}
        if isinstance(key, int):
            if not -len(self) <= key < len(self):
                raise IndexError(f"expected a row from 0 to {len(self) - 1}, found {key}")
            return self._row(key)
        return {name: [values[index] for index in key] for name, values in self._columns.items()}

    def __repr__(self) -> str:
        return f"Dataset({{features: {self.column_names}, num_rows: {len(self)}}})"

    def _row(self, index: int) -> Row:
        return {name: values[index] for name, values in self._columns.items()}

    def _check(self, names: Iterable[str]) -> None:
        absent = [name for name in names if name not in self._columns]
        if absent:
            raise OptionError(f"expected a column {absent[0]}, found {', '.join(self._columns) or 'none'}")

    def rename_columns(self, column_mapping: Mapping[str, str]) -> Dataset:
        """Columns by other names: ``{"old": "new"}``."""
        self._check(column_mapping)
        names = [column_mapping.get(name, name) for name in self._columns]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise OptionError(f"expected every column to have a name of its own, found two called {sorted(twice)[0]}")
        return Dataset(dict(zip(names, self._columns.values(), strict=True)))

    def rename_column(self, original_column_name: str, new_column_name: str) -> Dataset:
        """One column by another name."""
        return self.rename_columns({original_column_name: new_column_name})

    def remove_columns(self, column_names: str | Sequence[str]) -> Dataset:
        """Without these columns."""
        left_out = [column_names] if isinstance(column_names, str) else list(column_names)
        self._check(left_out)
        return Dataset({name: values for name, values in self._columns.items() if name not in left_out})

    def map(self, function: Callable[[Row], Mapping[str, Any] | None], **options: Any) -> Dataset:
        """Each row with what ``function`` gives for it in addition, or in the place of what it had."""
        left_out = options.pop("remove_columns", None) or []
        # They change how the package `datasets` works, not what comes of it.
        for name in ["num_proc", "desc", "load_from_cache_file", "keep_in_memory"]:
            options.pop(name, None)
        if any(value not in (None, False) for value in options.values()):
            raise OptionError(
                f"map: {', '.join(options)}: not taken here; the package `datasets` has them, and MsDataset(dataset) takes its tables"
            )
        table = self.remove_columns(left_out)
        given = (function(row) or {} for row in self)
        return Dataset.from_list({**row, **more} for row, more in zip(table, given, strict=True))

    def filter(self, function: Callable[[Row], bool]) -> Dataset:
        """The rows for which ``function`` is true."""
        return self.select([index for index, row in enumerate(self) if function(row)])

    def select(self, indices: Iterable[int]) -> Dataset:
        """The rows of these numbers."""
        numbers = list(indices)
        return Dataset({name: [values[index] for index in numbers] for name, values in self._columns.items()})

    def shuffle(self, seed: int | None = None) -> Dataset:
        """The rows in another order, which ``seed`` decides."""
        numbers = list(range(len(self)))
        random.Random(seed).shuffle(numbers)
        return self.select(numbers)

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns."""
        return {name: list(values) for name, values in self._columns.items()}

    def to_list(self) -> list[Row]:
        """The rows."""
        return list(self)
