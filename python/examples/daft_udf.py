"""Captions by Daft: a Parquet file with `id` and `path` in, Parquet files with a row for each picture out.

    pip install 'mplug-rs[arrow]' daft
    python daft_udf.py pictures.parquet captions/ --model /models/base-zh-int8 --instances 4 --threads 8
"""

import argparse

import daft
import pyarrow

import mplug_rs

SCHEMA = mplug_rs.BatchCaptioner().output_schema(pyarrow.schema([("path", pyarrow.string())]))


class Captions:
    """What a process of Daft has: the model, once."""

    def __init__(self, model: str | None, threads: int) -> None:
        self.captioner = mplug_rs.BatchCaptioner(model, threads=threads)

    @daft.method.batch(return_dtype=daft.DataType.from_arrow_type(pyarrow.struct(list(SCHEMA))), unnest=True, batch_size=64)
    def of(self, path: daft.Series) -> pyarrow.Array:
        table = self.captioner(pyarrow.table({"path": path.to_arrow()}))
        return table.to_struct_array().combine_chunks()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", help="Parquet files with `id` and `path`")
    parser.add_argument("captions", help="folder of the captions")
    parser.add_argument("--model", help="folder of the model on every machine [default: the demo model]")
    parser.add_argument("--instances", type=int, default=1, help="processes, each with the model once")
    parser.add_argument("--threads", type=int, default=2, help="threads of each of them")
    args = parser.parse_args()

    frame = daft.read_parquet(args.pictures)
    # `max_concurrency` processes at most: in threads of one, they would share the engine's threads.
    captions = daft.cls(Captions, use_process=True, max_concurrency=args.instances)(args.model, args.threads)
    frame.select(frame["id"], captions.of(frame["path"])).write_parquet(args.captions)


if __name__ == "__main__":
    main()
