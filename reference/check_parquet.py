"""Holds `mplug caption` from and to Parquet files against pyarrow, which most of them are written with.

Usage, from the root of the repository, after `pip install pyarrow`:

    python reference/check_parquet.py target/release/mplug

The program is one built with the feature `parquet`. The pictures of `assets/examples` are written in every layout that
matters (three kinds of columns, three codecs, both page versions, dictionaries or not, small row groups), captioned, and the
table of captions compared with the JSON lines of the same run. Exits with 1 where they differ.
"""

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.parquet

PICTURES = sorted(Path("assets/examples").glob("*.png"))
SCHEMA = {
    "path": "string not null",
    "path_bytes": "binary",
    "caption": "string",
    "score": "float",
    "token_ids": "list<element: uint32 not null>",
    "captions": "list<element: struct<caption: string not null, score: float not null, "
    "token_ids: list<element: uint32 not null> not null> not null>",
    "tags": "list<element: struct<tag: string not null, weight: float not null> not null>",
    "error": "string",
}


def column(kind, folder):
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in PICTURES] * 3
    if kind == "bytes":
        return pyarrow.array([row["bytes"] for row in rows] + [None], pyarrow.binary())
    for path in PICTURES:
        (folder / path.name).write_bytes(path.read_bytes())
    if kind == "path":
        return pyarrow.array([row["path"] for row in rows] + [None], pyarrow.string())
    for row in rows[::2]:
        row["bytes"] = None
    return pyarrow.array([*rows, None], pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))


def run(program, *arguments):
    command = [program, "caption", *arguments, "--captions", "2", "--beams", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def shown(field):
    return f"{field.type}{'' if field.nullable else ' not null'}"


def check(program, folder, layout):
    kind, compression, version, dictionary = layout
    table = pyarrow.table({"text": ["x"] * (3 * len(PICTURES) + 1), "image": column(kind, folder)})
    source, output = folder / "in.parquet", folder / "out.parquet"
    pyarrow.parquet.write_table(
        table, source, row_group_size=5, compression=compression, data_page_version=version, use_dictionary=dictionary
    )
    lines = run(program, str(source), "--format", "jsonl").splitlines()
    run(program, str(source), "--format", "parquet", "--output", str(output))
    found = pyarrow.parquet.read_table(output)
    assert {field.name: shown(field) for field in found.schema} == SCHEMA, found.schema
    records = [json.loads(line) for line in lines]
    assert len(records) == table.num_rows and [("error" in record) for record in records].count(True) == 1
    for row, record in zip(found.to_pylist(), records, strict=True):
        float32 = lambda caption: caption | {"score": round(caption["score"], 5)}
        row = {name: value for name, value in row.items() if value is not None}
        for one in (row, record):
            if "captions" in one:
                one |= {"score": round(one["score"], 5), "captions": [float32(each) for each in one["captions"]]}
        assert row == record, (row, record)


def main():
    program = sys.argv[1]
    layouts = itertools.product(("bytes", "path", "struct"), ("none", "snappy", "zstd"), ("1.0", "2.0"), (False, True))
    for layout in layouts:
        with tempfile.TemporaryDirectory() as folder:
            check(program, Path(folder), layout)
        print("ok", *layout)


if __name__ == "__main__":
    main()
