"""Captions for the tables of data engines: Ray Data, Daft, Spark."""

from __future__ import annotations

import importlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, Unpack

from . import _native
from ._model import ModelName, Precision
from .captioner import Captioner, GenerationOptions, request_of
from .errors import OptionError, Unsupported

Table: TypeAlias = Any
"""A ``pyarrow.Table``: pyarrow has no types of its own."""
RecordBatch: TypeAlias = Any
"""A ``pyarrow.RecordBatch``."""
Schema: TypeAlias = Any
"""A ``pyarrow.Schema``."""

_BATCHES_AT_ONCE = 16
"""Batches whose pictures are handed to the engine together: few enough that their bytes are not there twice for a whole table."""


class BatchCaptioner:
    """Captions the pictures of a table, which engines hand over piece by piece: ``captioner(table)`` gives a table.

    The columns of the result are those of ``mplug caption --format parquet``, in every table alike, after the columns that came in; the
    bytes of pictures alone do not come out again. Rows stay in their order. A picture that fails is a row with ``error``.

    An object is its arguments: it can be pickled, and nothing is loaded before its first table. A process loads a model once, whatever the
    number of objects. Needs pyarrow (``pip install 'mplug-rs[arrow]'``).
    """

    def __init__(
        self,
        model: ModelName = None,
        *,
        image_column: str | None = None,
        path_column: str | None = None,
        column_prefix: str = "",
        batch_size: int = 4,
        threads: int | None = None,
        captions: int | None = None,
        raw: bool = False,
        max_pixels: int | None = None,
        max_file_bytes: int | None = None,
        precision: Precision | None = None,
        image_size: int | None = None,
        strict: bool = False,
        allow_urls: bool = False,
        allowed_hosts: Sequence[str] = (),
        adapter: str | os.PathLike[str] | None = None,
        **options: Unpack[GenerationOptions],
    ) -> None:
        """How every table is captioned.

        :param model: a folder, or a model's name on the hub, which must be on each machine (``mplug_rs.pull``); the demo model by default.
        :param image_column: the column with the pictures: the bytes of files, paths or web addresses, or ``struct<bytes, path>``. By
            default the first of ``image``, ``img``, ``picture``, ``photo``, ``jpg``, ``jpeg``, ``png``, ``webp``, ``image_bytes``,
            ``bytes``, ``image_path``, ``file_name``, ``filename``, ``path`` that can hold pictures.
        :param path_column: the column that says what pictures are called whose bytes are at hand; by default ``path`` where there is one.
        :param column_prefix: what the names of the result's columns begin with.
        :param batch_size: pictures that pass through the model together; changes speed and memory, never a caption.
        :param threads: threads of the process that captions; by default what ``OMP_NUM_THREADS`` says, which Ray sets to ``num_cpus``.
        :param captions: how many of each picture, in the column ``captions``.
        :param raw: keep the spaces between Chinese characters, as the original does.
        :param max_pixels: the most pixels of a picture (100 million).
        :param max_file_bytes: the most bytes of a file (256 MiB).
        :param precision: and the others up to ``adapter``: as for :class:`Captioner`.
        :param options: :class:`~mplug_rs.captioner.GenerationOptions`.
        """
        for name, value in (("batch_size", batch_size), ("threads", threads), ("max_pixels", max_pixels), ("max_file_bytes", max_file_bytes)):
            if value is not None and value < 1:
                raise OptionError(f"{name}: expected 1 or more, found {value}")
        self._model = _Model(
            None if model is None else os.fsdecode(model),
            precision,
            image_size,
            strict,
            allow_urls,
            tuple(allowed_hosts),
            None if adapter is None else os.fsdecode(adapter),
        )
        self._threads = threads
        self._image_column = image_column
        self._path_column = path_column
        self._column_prefix = column_prefix
        self._batch_size = batch_size
        self._request = request_of(captions, **options)
        self._options = (raw, batch_size, max_pixels, max_file_bytes)

    def __repr__(self) -> str:
        return f"BatchCaptioner({self._model.model or 'demo'!r})"

    def __call__(self, table: Table) -> Table:
        """The table with the columns of the captions. Ray Data's ``map_batches(..., batch_format="pyarrow")`` calls this."""
        return self._captioned(table, is_signed=False)

    def map_in_arrow(self, batches: Iterable[RecordBatch]) -> Iterator[RecordBatch]:
        """For Spark: ``frame.mapInArrow(captioner.map_in_arrow, schema)``.

        Token ids are ``int32``, for Spark has no unsigned numbers.
        """
        pyarrow = _pyarrow()
        for batch in batches:
            yield from self._captioned(pyarrow.Table.from_batches([batch]), is_signed=True).to_batches()

    def output_schema(self, schema: Schema) -> Schema:
        """The schema of the result for tables of ``schema``."""
        return self._layout(schema, is_signed=False).output

    def spark_schema(self, schema: Schema) -> Schema:
        """The schema of what :meth:`map_in_arrow` gives for batches of ``schema``."""
        return self._layout(schema, is_signed=True).output

    def _captioned(self, table: Table, *, is_signed: bool) -> Table:
        pyarrow = _pyarrow()
        layout = self._layout(table.schema, is_signed)
        found = [record for rows in self._rows(table, layout) for record in self._records(rows)]
        records = pyarrow.Table.from_pylist(found, schema=layout.records)
        columns = [table.column(name) for name in layout.kept] + records.columns
        return pyarrow.Table.from_arrays(columns, schema=layout.output)

    def _layout(self, schema: Schema, is_signed: bool) -> _Layout:
        pyarrow = _pyarrow()
        image, read = self._find_pictures(schema)
        path = self._find_names(schema, image, read)
        fields = [_field(column, is_signed) for column in json.loads(_native.record_columns())]
        names = [self._column_prefix + field.name for field in fields]
        has_paths = read is _of_path
        gone = set() if has_paths else {image}
        # What a picture is called stands in the result already, where the two columns share their name.
        if (image if has_paths else path) == self._column_prefix + "path":
            gone.add(self._column_prefix + "path")
        kept = [name for name in schema.names if name not in gone]
        for name in kept:
            if name in names:
                raise OptionError(
                    f"column {name!r}: expected a name that no column of the result has; rename it, or give a `column_prefix`"
                )
        renamed = [field.with_name(name) for field, name in zip(fields, names, strict=True)]
        output = pyarrow.schema([schema.field(name) for name in kept] + renamed)
        return _Layout(image, read, path, kept, pyarrow.schema(fields), output)

    def _find_pictures(self, schema: Schema) -> tuple[str, _Read]:
        """The column with the pictures, and how its values are read."""
        wanted = self._image_column
        for name in _native.picture_columns() if wanted is None else [wanted]:
            if name not in schema.names:
                continue
            read = _reader(schema.field(name).type)
            if read is not None:
                return name, read
            if wanted is not None:
                raise OptionError(
                    f"image_column: column {name!r} holds no pictures: it is {schema.field(name).type}; expected bytes, text (a path or a "
                    "web address), or struct<bytes, path>"
                )
        expected = "a column of pictures with a usual name, or `image_column=...`" if wanted is None else f"a column {wanted!r}"
        raise OptionError(f"image_column: expected {expected}, found {', '.join(map(repr, schema.names)) or 'no columns'}")

    def _find_names(self, schema: Schema, image: str, read: _Read) -> str | None:
        """The column that says what pictures are called whose bytes are at hand."""
        types, wanted = _pyarrow().types, self._path_column
        if read is _of_path:
            if wanted is not None:
                raise OptionError(f"path_column: expected none, as column {image!r} holds paths, found {wanted!r}")
            return None
        name = "path" if wanted is None else wanted
        is_there = name in schema.names and name != image
        if is_there and (_is_text(schema.field(name).type) or (wanted is not None and types.is_integer(schema.field(name).type))):
            return name
        if wanted is None:
            return None
        found = f"a column of {schema.field(name).type}" if name in schema.names else ", ".join(map(repr, schema.names))
        raise OptionError(f"path_column: expected {wanted!r} to be a column of text or whole numbers, found {found}")

    def _rows(self, table: Table, layout: _Layout) -> Iterator[list[_Row]]:
        """The pictures of the table with their names, some batches at a time."""
        step = _BATCHES_AT_ONCE * self._batch_size
        for start in range(0, table.num_rows, step):
            piece = table.slice(start, step)
            values = piece.column(layout.image).to_pylist()
            names = [None] * len(values) if layout.path is None else piece.column(layout.path).to_pylist()
            yield [layout.read(value, name) for value, name in zip(values, names, strict=True)]

    def _records(self, rows: list[_Row]) -> Iterator[dict[str, Any]]:
        native = _opened(self._model, self._threads)._native
        lines = native.records([(name or "", content) for name, content in rows], self._request, self._options)
        for line, (name, _) in zip(lines, rows, strict=True):
            record = json.loads(line)
            if name is None:
                record["path"] = None
            if "path_bytes" in record:
                record["path_bytes"] = bytes.fromhex(record["path_bytes"])
            yield record


class _Model(NamedTuple):
    """What a model is opened with."""

    model: str | None
    precision: Precision | None
    image_size: int | None
    strict: bool
    allow_urls: bool
    allowed_hosts: tuple[str, ...]
    adapter: str | None


class _Row(NamedTuple):
    """A picture on its way into the engine."""

    name: str | None
    """What its record calls it, if anything does."""
    content: str | bytes | None
    """A path or a web address, or the bytes of a file; none if the row has no picture."""


_Read: TypeAlias = Callable[[Any, Any], _Row]
"""A value of the pictures' column, and what the picture is called; a row of them."""


class _Layout(NamedTuple):
    """Which columns go in, and which come out."""

    image: str
    read: _Read
    path: str | None
    kept: list[str]
    """Those that come out as they came in."""
    records: Schema
    """The columns of records, with their own names."""
    output: Schema


def _of_path(value: Any, _name: Any) -> _Row:
    return _Row(value, value)


def _of_bytes(value: Any, name: Any) -> _Row:
    return _Row(None if name is None else str(name), value)


def _of_struct(value: Any, name: Any) -> _Row:
    value = value or {}
    path = value.get("path")
    content = value.get("bytes")
    if content is None and path is not None:
        return _Row(path, path)
    return _of_bytes(content, path if name is None else name)


def _reader(kind: Any) -> _Read | None:
    """How pictures are read from values of that type; nothing where it can hold none."""
    types = _pyarrow().types
    if types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        has_bytes = "bytes" in fields and _is_bytes(fields["bytes"])
        has_path = "path" in fields and _is_text(fields["path"])
        return _of_struct if has_bytes or has_path else None
    if _is_bytes(kind) or types.is_null(kind):
        return _of_bytes
    return _of_path if _is_text(kind) else None


def _is_text(kind: Any) -> bool:
    types = _pyarrow().types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_bytes(kind: Any) -> bool:
    types = _pyarrow().types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind))


def _field(column: dict[str, Any], is_signed: bool) -> Any:
    """A column of the engine's definition; engines take every column for one that may hold nulls."""
    return _pyarrow().field(column["name"], _type(column["kind"], is_signed), nullable=True)


def _type(kind: Any, is_signed: bool) -> Any:
    """The type of what a column of the engine's definition holds."""
    pyarrow = _pyarrow()
    match kind:
        case "text":
            return pyarrow.string()
        case "bytes":
            return pyarrow.binary()
        case "float":
            return pyarrow.float32()
        case "whole":
            return pyarrow.int32() if is_signed else pyarrow.uint32()
        case {"list": of}:
            return pyarrow.list_(pyarrow.field("element", _type(of, is_signed), nullable=False))
        case {"struct": columns}:
            fields = [pyarrow.field(column["name"], _type(column["kind"], is_signed), column["is_nullable"]) for column in columns]
            return pyarrow.struct(fields)
    raise AssertionError(f"no column holds {kind}")


def _pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise Unsupported("BatchCaptioner: expected the package pyarrow, found none; `pip install 'mplug-rs[arrow]'`") from error


_models: dict[_Model, Captioner] = {}
"""The models of this process: engines make an object anew for each task."""
_opening = threading.Lock()
"""Held while a model is loaded."""


def _opened(model: _Model, threads: int | None) -> Captioner:
    if threads is not None and _threads_set != [threads]:
        _native.set_threads(threads)
        _threads_set[:] = [threads]
    with _opening:
        if model not in _models:
            _models[model] = Captioner(**model._asdict())
        return _models[model]


_threads_set: list[int] = []
"""What the number of threads was set to here, if it was."""


def _forget_holder() -> None:
    global _opening
    _opening = threading.Lock()
    _threads_set.clear()


if hasattr(os, "register_at_fork"):
    # A thread that held the lock is not in the child.
    os.register_at_fork(after_in_child=_forget_holder)
