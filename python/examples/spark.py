"""Captions by Spark: a Parquet file with `id` and `path` (or `bytes`) in, Parquet files with a row for each picture out.

    pip install 'mplug-rs[arrow]' pyspark    # needs Java 17 or later
    PYSPARK_PYTHON=$(which python) python spark.py pictures.parquet captions/ --model /models/base-zh-int8 --threads 8
"""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

import mplug_rs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", help="Parquet files with `id` and `path`, or `bytes`")
    parser.add_argument("captions", help="folder of the captions")
    parser.add_argument("--master", help="the cluster, such as `local[2]` [default: what spark-submit says]")
    parser.add_argument("--model", help="folder of the model on every machine [default: the demo model]")
    parser.add_argument("--threads", type=int, default=2, help="threads of each task's process")
    args = parser.parse_args()

    builder = SparkSession.builder.appName("captions")
    if args.master:
        builder = builder.master(args.master)
    # A task has as many processors as its process has threads, and its tables few rows.
    builder = builder.config("spark.task.cpus", args.threads).config("spark.sql.execution.arrow.maxRecordsPerBatch", 64)
    spark = builder.getOrCreate()

    pictures = spark.read.parquet(args.pictures)
    captioner = mplug_rs.BatchCaptioner(args.model, threads=args.threads)
    schema = from_arrow_schema(captioner.spark_schema(to_arrow_schema(pictures.schema)))
    pictures.mapInArrow(captioner.map_in_arrow, schema).write.mode("overwrite").parquet(args.captions)
    spark.stop()


if __name__ == "__main__":
    main()
