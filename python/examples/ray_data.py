"""Captions by Ray Data: a Parquet file with `id` and `path` (or `bytes`) in, Parquet files with a row for each picture out.

    pip install 'mplug-rs[arrow]' 'ray[data]'
    python ray_data.py pictures.parquet captions/ --model /models/base-zh-int8 --actors 4 --threads 8 --memory 3

With `--checkpoint DIR`, a driver that was killed goes on where it was when it is started again (Ray's own checkpoints, which are beta).
"""

import argparse

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.data.checkpoint import CheckpointConfig

import mplug_rs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", help="Parquet files with `id` and `path`, or `bytes`")
    parser.add_argument("captions", help="folder of the captions")
    parser.add_argument("--model", help="folder of the model on every machine [default: the demo model]")
    parser.add_argument("--actors", type=int, default=1, help="processes, each with the model once")
    parser.add_argument("--threads", type=int, default=1, help="threads of each of them")
    parser.add_argument("--processors", type=int, help="processors that Ray counts here, if it begins a cluster [default: those there are]")
    parser.add_argument("--memory", type=float, default=0.5, help="GB that each of them takes")
    parser.add_argument("--rows", type=int, default=64, help="pictures in a table")
    parser.add_argument("--block", type=int, default=1024, help="pictures in a block, which is done or not as a whole")
    parser.add_argument("--checkpoint", help="folder of the rows that are done; every machine must reach it")
    args = parser.parse_args()

    ray.init(num_cpus=args.processors)
    processors = int(ray.cluster_resources()["CPU"])
    # Ray would wait for ever where what reads the table, and what leaves out the rows that are done, find no processor.
    most = processors - (2 if args.checkpoint else 1)
    if args.actors * args.threads > most:
        parser.error(f"expected at most {most} for --actors times --threads, found {args.actors * args.threads}: Ray counts {processors} processors")
    if args.checkpoint:
        DataContext.get_current().checkpoint_config = CheckpointConfig(id_column="id", checkpoint_path=args.checkpoint)
    # Of small files Ray makes one block, which would be lost as a whole.
    pictures = ray.data.read_parquet(args.pictures).repartition(target_num_rows_per_block=args.block)
    captions = pictures.map_batches(
        mplug_rs.BatchCaptioner,
        fn_constructor_args=(args.model,),
        batch_format="pyarrow",
        batch_size=args.rows,
        compute=ActorPoolStrategy(size=args.actors),
        num_cpus=args.threads,  # becomes OMP_NUM_THREADS in the actor, which the engine heeds
        memory=int(args.memory * 2**30),  # Ray does not see what a model takes
    )
    captions.write_parquet(args.captions)


if __name__ == "__main__":
    main()
