"""`BatchCaptioner`: the tables of Ray Data, Daft and Spark, against the lines of the command. `reference/check_engines.py` has the engines."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from conftest import EXAMPLES

from mplug_rs import BatchCaptioner, OptionError, Unsupported

pytestmark = pytest.mark.filterwarnings("ignore:this is the small built-in demo model")

RECORD = ["path", "path_bytes", "caption", "score", "token_ids", "captions", "tags", "error"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Whole pictures, one of them twice, and broken ones between them, below Chinese names."""
    folder = tmp_path_factory.mktemp("图库") / "夏天 [1]"
    folder.mkdir()
    whole = EXAMPLES[0].read_bytes()
    broken = {"半张.png": whole[: len(whole) // 2], "空.png": b"", "文字.png": "不是图片".encode(), "再来一次.png": whole}
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    missing, address = str(folder.parent / "没有.png"), "http://127.0.0.1:9/a.png"
    return [*map(str, EXAMPLES), *(str(folder / name) for name in broken), missing, address]


def command(program: str, *arguments: str, names: list[str] | None = None) -> list[dict[str, Any]]:
    """The records of ``mplug caption``."""
    run = subprocess.run(
        [program, "caption", *arguments, *([] if names is None else ["-"]), "--format", "jsonl"],
        input="\n".join(names or []),
        capture_output=True,
        text=True,
    )
    assert run.returncode in (0, 1), run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def records(table: Any) -> list[dict[str, Any]]:
    """The rows without what is null."""
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def rounded(found: Any) -> Any:
    """Numbers of 32 bits, wherever they are, and nothing of what tables have no column for."""
    if isinstance(found, float):
        return pyarrow.scalar(found, pyarrow.float32()).as_py()
    if isinstance(found, dict):
        return {key: rounded(value) for key, value in found.items() if key != "is_finished"}
    return [rounded(value) for value in found] if isinstance(found, list) else found


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, []),
        ({"captions": 3, "tags": 4, "diverse": 0.2, "raw": True}, ["--captions", "3", "--tags=4", "--diverse=0.2", "--raw"]),
        ({"language": "en", "forbid": "a", "max_pixels": 30000}, ["--language", "en", "--forbid", "a", "--max-pixels", "30000"]),
        ({"beams": 1, "max_file_bytes": 9000, "batch_size": 3}, ["--beams", "1", "--max-file-bytes", "9000"]),
    ],
)
def test_rows_are_the_commands_records(program: str, pictures: list[str], options: Any, arguments: list[str]) -> None:
    expected = command(program, *arguments, names=pictures)
    found = BatchCaptioner(**options)(pyarrow.table({"path": pictures}))
    assert found.column_names == RECORD
    assert records(found) == rounded(expected)
    assert sum("error" in record for record in expected) >= 5, "some fail, as values"


def test_the_file_of_the_command_has_the_same_columns(program: str, pictures: list[str], tmp_path: Path) -> None:
    file = tmp_path / "captions.parquet"
    names = "\n".join(pictures)
    write = [program, "caption", "-", "--format", "parquet", "--output", str(file), "--captions", "2"]
    run = subprocess.run(write, input=names, capture_output=True, text=True)
    assert run.returncode == 1, run.stderr
    written = pyarrow.parquet.read_table(file)
    found = BatchCaptioner(captions=2)(pyarrow.table({"path": pictures}))
    # A path is never null in a file; in a table of an engine it is where a row has none.
    assert [(field.name, field.type) for field in found.schema] == [(field.name, field.type) for field in written.schema]
    assert found.to_pylist() == written.to_pylist()


def test_pictures_are_paths_or_bytes_or_both(pictures: list[str]) -> None:
    captioner = BatchCaptioner()
    whole = pictures[:4]
    expected = records(captioner(pyarrow.table({"path": whole})))
    content = [Path(path).read_bytes() for path in whole]
    for kind in (pyarrow.binary(), pyarrow.large_binary(), pyarrow.binary_view()):
        table = pyarrow.table({"bytes": pyarrow.array(content, kind), "path": whole})
        assert records(captioner(table)) == expected
    for kind in (pyarrow.large_string(), pyarrow.string_view(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())):
        found = captioner(pyarrow.table({"path": pyarrow.array(whole, pyarrow.string()).cast(kind)}))
        assert records(found) == expected and found.column_names == RECORD
    both = [{"bytes": content[0], "path": whole[0]}, {"bytes": None, "path": whole[1]}, {"bytes": content[2], "path": whole[2]}, None]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    found = captioner(pyarrow.table({"image": pyarrow.array(both, kind)}))
    assert records(found.slice(0, 3)) == expected[:3] and found.column_names == RECORD
    assert records(found.slice(3)) == [{"error": "cannot be read: the row has no picture (null)"}]


def test_other_columns_come_out_as_they_came_in(pictures: list[str]) -> None:
    whole = pictures[:3]
    ids = pyarrow.array([7, 8, 9], pyarrow.int16())
    nested = pyarrow.array([[1], None, []], pyarrow.list_(pyarrow.int8()))
    table = pyarrow.table({"id": ids, "photo": whole, "more": nested}).replace_schema_metadata({"huggingface": "x"})
    captioner = BatchCaptioner()
    found = captioner(table)
    assert found.column_names == ["id", "photo", "more", *RECORD]
    assert found.column("id").combine_chunks() == ids and found.column("more").combine_chunks() == nested
    assert found.column("path").to_pylist() == whole
    assert found.schema == captioner.output_schema(table.schema)
    numbered = BatchCaptioner(image_column="b", path_column="id")(pyarrow.table({"id": ids, "b": [Path(p).read_bytes() for p in whole]}))
    assert numbered.column("path").to_pylist() == ["7", "8", "9"] and numbered.column_names == ["id", *RECORD]


def test_names_that_clash_get_a_prefix(pictures: list[str]) -> None:
    table = pyarrow.table({"path": pictures[:1], "caption": ["by a person"]})
    with pytest.raises(OptionError, match="column 'caption': expected a name .* `column_prefix`"):
        BatchCaptioner()(table)
    found = BatchCaptioner(column_prefix="mplug_")(table)
    assert found.column_names == ["path", "caption", *(f"mplug_{name}" for name in RECORD)]
    assert found.column("mplug_path") == found.column("path")


def test_every_table_has_one_schema(pictures: list[str]) -> None:
    captioner = BatchCaptioner()
    whole, broken = (captioner(pyarrow.table({"path": [path]})) for path in (pictures[0], pictures[-1]))
    empty = captioner(pyarrow.table({"path": pyarrow.array([], pyarrow.string())}))
    nulls = captioner(pyarrow.table({"path": pyarrow.array([None], pyarrow.string())}))
    assert whole.schema == broken.schema == empty.schema == nulls.schema
    assert pyarrow.concat_tables([whole, broken, empty, nulls]).num_rows == 3
    assert [row["path"] for row in nulls.to_pylist()] == [None]


def test_batches_of_spark_have_signed_numbers(pictures: list[str]) -> None:
    captioner = BatchCaptioner()
    table = pyarrow.table({"id": [1, 2, 3], "path": pictures[:3]})
    batches = captioner.map_in_arrow(iter(table.to_batches(max_chunksize=2)))
    found = pyarrow.Table.from_batches(batches)
    assert found.schema == captioner.spark_schema(table.schema)
    assert found.field("token_ids").type.value_type == pyarrow.int32()
    assert records(found) == records(captioner(table))
    assert not list(captioner.map_in_arrow(iter([])))


def _in_a_process(captioner: BatchCaptioner, table: Any) -> Any:
    return captioner(table)


def test_it_is_pickled_as_its_arguments(pictures: list[str], tmp_path: Path) -> None:
    captioner = BatchCaptioner(captions=2, threads=1)
    table = pyarrow.table({"path": pictures})
    expected = captioner(table)
    assert len(pickle.dumps(captioner)) < 2000, "no model is in it"
    again = pickle.loads(pickle.dumps(captioner))
    assert again(table) == expected and repr(again) == "BatchCaptioner('demo')"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        assert processes.submit(_in_a_process, captioner, table).result(timeout=120) == expected
    # Nothing is loaded before the first table, so that a driver need not have the model.
    elsewhere = BatchCaptioner(tmp_path / "elsewhere")
    elsewhere(table.slice(0, 0))
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        pickle.loads(pickle.dumps(elsewhere))(table)


def test_a_process_loads_a_model_once(golden: Callable[[str], Path], pictures: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from mplug_rs import batch_captioner

    loaded: list[Any] = []

    def load(**arguments: Any) -> Any:
        loaded.append(arguments)
        return captioner(**arguments)

    captioner = batch_captioner.Captioner
    monkeypatch.setattr(batch_captioner, "Captioner", load)
    monkeypatch.setattr(batch_captioner, "_models", {})
    table = pyarrow.table({"path": pictures[:1]})
    for _ in range(3):
        pickle.loads(pickle.dumps(BatchCaptioner(golden("tiny"))))(table)
    BatchCaptioner(golden("tiny"), captions=2)(table)
    assert len(loaded) == 1
    BatchCaptioner(golden("tiny"), precision="bf16")(table)
    assert len(loaded) == 2


def test_arguments_that_cannot_be_are_named(pictures: list[str]) -> None:
    for name in ("batch_size", "threads", "max_pixels", "max_file_bytes"):
        options: dict[str, Any] = {name: 0}
        with pytest.raises(OptionError, match=f"{name}: expected 1 or more, found 0"):
            BatchCaptioner(**options)
    with pytest.raises(TypeError, match="exif"):
        BatchCaptioner(exif=True)  # type: ignore[call-arg]
    table = pyarrow.table({"path": pictures[:1], "size": [3]})
    for options, message in [
        ({"image_column": "size"}, "image_column: column 'size' holds no pictures: it is int64; expected bytes"),
        ({"image_column": "nowhere"}, "image_column: expected a column 'nowhere', found 'path', 'size'"),
        ({"path_column": "size"}, "path_column: expected none, as column 'path' holds paths, found 'size'"),
        ({"captions": 99}, "captions: expected at most 5, the number of beams, found 99"),
    ]:
        with pytest.raises(OptionError) as raised:
            BatchCaptioner(**options)(table)
        assert message in str(raised.value)
    with pytest.raises(OptionError, match="with a usual name, or `image_column=...`, found 'size'"):
        BatchCaptioner()(table.select(["size"]))
    with pytest.raises(OptionError, match="path_column: expected 'where' to be a column of text or whole numbers, found 'bytes'"):
        BatchCaptioner(path_column="where")(pyarrow.table({"bytes": [b""]}))


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pyarrow.table({"path": ["a.png"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Unsupported, match=r"pip install 'mplug-rs\[arrow\]'"):
        BatchCaptioner()(table)
