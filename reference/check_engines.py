"""Holds `mplug_rs.BatchCaptioner` in Ray Data, Daft and Spark against `mplug caption`, over drawn pictures of which some are broken.

Usage, from the root of the repository, with the package and the engines in one environment (Spark needs Java 17 or later):

    pip install './python[arrow]' 'ray[data]==2.60.*' daft==0.7.26 'pyspark==4.3.*'
    python reference/check_engines.py target/release/mplug

The pictures are in folders with Chinese names; every 40th is cut short, empty, no picture or not there. Each engine runs its example of
`python/examples` on two processors. Its rows must be the lines of `mplug caption --format jsonl`, all of them, once. Then an actor of Ray is
killed while it works, and after that the driver, which is started again. Exits with 1 where something differs.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pyarrow
import pyarrow.parquet

EXAMPLES = Path(__file__).resolve().parents[1] / "python" / "examples"
FOLDERS = ["夏天 的照片", "第二批/二〇二六年", "图库（一）"]


def draw(program, folder, count):
    """Draws the pictures, moves them to folders with Chinese names and breaks some. Returns their paths."""
    drawn = folder / "drawn"
    subprocess.run([program, "synth", str(drawn), "--count", str(count), "--seed", "23"], check=True, capture_output=True)
    paths = []
    for index, source in enumerate(sorted((drawn / "images").iterdir())):
        path = folder / FOLDERS[index % len(FOLDERS)] / f"图{index:05}{source.suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = source.read_bytes()
        kind = (index // 40) % 4 if index % 40 == 7 else None
        broken = {0: content[: len(content) // 2], 1: b"", 2: "不是图片".encode()}
        if kind != 3:
            path.write_bytes(broken.get(kind, content))
        paths.append(str(path))
    shutil.rmtree(drawn)
    return paths


def single(value):
    """As a float of 32 bits holds it."""
    return pyarrow.scalar(value, pyarrow.float32()).as_py()


def of_command(program, paths):
    """What the command says of each path: its record."""
    run = subprocess.run(
        [program, "caption", "-", "--format", "jsonl"], input="\n".join(paths), capture_output=True, text=True, check=False
    )
    assert run.returncode == 1, run.stderr
    records = [json.loads(line) for line in run.stdout.splitlines()]
    for record in records:
        if "score" in record:
            record["score"] = single(record["score"])
    return {record["path"]: record for record in records}


def rows_of(folder):
    """The rows that an engine wrote, by id, each without what is null."""
    rows = {}
    for file in sorted(folder.rglob("*.parquet")):
        for row in pyarrow.parquet.read_table(file).to_pylist():
            number = row.pop("id")
            assert number not in rows, f"row {number} is there twice"
            rows[number] = {name: value for name, value in row.items() if value is not None}
    return rows


def compare(what, folder, paths, expected, seconds):
    rows = rows_of(folder)
    assert sorted(rows) == list(range(len(paths))), f"{what}: {len(rows)} of {len(paths)} rows"
    for number, path in enumerate(paths):
        assert rows[number] == expected[path], (what, rows[number], expected[path])
    failed = sum("error" in row for row in rows.values())
    print(f"{what}: {len(rows)} rows, {failed} with errors, each the command's; {seconds:.0f} s", flush=True)


def start(example, listed, output, *arguments):
    command = [sys.executable, str(EXAMPLES / example), str(listed), str(output), *arguments]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "RAY_DEDUP_LOGS": "0"}
    log = output.with_suffix(".log").open("ab")
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True)


def finished(process, output):
    try:
        code = process.wait(timeout=900)
    except subprocess.TimeoutExpired:
        end(process)
        code = "no end"
    assert code == 0, output.with_suffix(".log").read_text("utf-8")[-4000:]


def end(process):
    """Kills it, and the cluster of this machine that it has begun."""
    others = below(process)
    process.kill()
    process.wait()
    for other in others:
        try:
            other.kill()
        except psutil.Error:
            pass


def whole(what, example, listed, folder, paths, expected, *arguments):
    output, began = folder / what, time.monotonic()
    finished(start(example, listed, output, *arguments), output)
    compare(what, output, paths, expected, time.monotonic() - began)


def below(process):
    """The processes that it started, and those that they did."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for(process, output, happened):
    while not (found := happened()):
        assert process.poll() is None, output.with_suffix(".log").read_text("utf-8")[-4000:]
        time.sleep(0.1)
    return found


def named(process, text):
    """Those below it whose command line has that text."""
    found = []
    for child in below(process):
        try:
            if any(text in part for part in child.cmdline()):
                found.append(child)
        except psutil.Error:
            pass
    return found


def files(folder):
    return [file for file in folder.rglob("*.parquet") if file.stat().st_size > 0] if folder.exists() else []


def kill_an_actor(listed, folder, paths, expected):
    """Kills the process that captions, once it has begun."""
    output, began = folder / "ray-actor-killed", time.monotonic()
    process = start("ray_data.py", listed, output, "--rows", "16", "--block", "100")
    # The first file is there: the actor is at work on what follows.
    wait_for(process, output, lambda: files(output))
    actors = named(process, "ray::MapWorker")
    actors[0].send_signal(signal.SIGKILL)
    done = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files(output))
    assert done < len(paths), "the actor had done everything"
    print(f"killed the actor after {done} rows", flush=True)
    finished(process, output)
    compare("ray, an actor killed", output, paths, expected, time.monotonic() - began)


def kill_the_driver(listed, folder, paths, expected):
    """Kills the driver once two blocks are committed, and starts it again."""
    output, marks = folder / "ray-driver-killed", folder / "marks"
    arguments = ("--rows", "16", "--block", "100", "--processors", "3", "--checkpoint", str(marks))
    process = start("ray_data.py", listed, output, *arguments)
    committed = lambda: [file for file in files(marks) if "pending" not in file.name]
    wait_for(process, output, lambda: len(committed()) >= 2)
    end(process)
    done = sum(pyarrow.parquet.read_metadata(file).num_rows for file in committed())
    before = set(files(output))
    assert 0 < done < len(paths), f"{done} rows were committed"
    began = time.monotonic()
    finished(start("ray_data.py", listed, output, *arguments), output)
    new = sum(pyarrow.parquet.read_metadata(file).num_rows for file in set(files(output)) - before)
    print(f"killed the driver after {done} rows in {len(before)} files; the second one wrote {new}", flush=True)
    assert new == len(paths) - done, "rows were captioned again, or not at all"
    compare("ray, the driver killed", output, paths, expected, time.monotonic() - began)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="the command `mplug`")
    parser.add_argument("--count", type=int, default=2000, help="pictures")
    parser.add_argument("--only", nargs="+", default=["ray", "actor", "driver", "daft", "spark"], help="some of: ray actor driver daft spark")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = draw(args.program, folder / "pictures", args.count)
        began = time.monotonic()
        expected = of_command(args.program, paths)
        print(f"mplug caption: {len(expected)} records; {time.monotonic() - began:.0f} s", flush=True)
        listed = folder / "pictures.parquet"
        # A file of several row groups, and several files: engines divide their work by these.
        table = pyarrow.table({"id": range(len(paths)), "path": paths})
        listed.mkdir()
        step = len(paths) // 10
        for part in range(10):
            piece = table.slice(part * step, step if part < 9 else None)
            pyarrow.parquet.write_table(piece, listed / f"{part}.parquet")
        if "ray" in args.only:
            whole("ray", "ray_data.py", listed, folder, paths, expected)
        if "actor" in args.only:
            kill_an_actor(listed, folder, paths, expected)
        if "driver" in args.only:
            kill_the_driver(listed, folder, paths, expected)
        if "daft" in args.only:
            whole("daft", "daft_udf.py", listed, folder, paths, expected, "--threads", "2")
        if "spark" in args.only:
            whole("spark", "spark.py", listed, folder, paths, expected, "--threads", "2", "--master", "local[2]")


if __name__ == "__main__":
    main()
