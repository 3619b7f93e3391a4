"""Counts the captions that int8 keeps, of seeded models without and with outlier channels.

    cargo build --release -p mplug-cli && cargo build --release -p mplug --example seeded_model
    python benches/int8/run.py --mplug target/release/mplug --seeded-model target/release/examples/seeded_model

For each model: the captions of fixtures/images and of drawn pictures at f32, and how many of them are the same
- from the f32 folder with `--precision int8` (plain int8: no layer is smoothed);
- from the folder of `mplug convert --precision int8`, calibrated on drawn pictures (others than those counted);
- from the same with `--calibrate` and pictures of the kind that is counted: every third of them, which are then not counted in
  any column.
Then the same for the model with outliers, whose captions at f32 must be those of the model without (`--outliers` of
crates/mplug/examples/seeded_model.rs). `tiny` and `tiny_large` are the golden models of fixtures/golden, with other seeds;
`base` is the published size, which takes minutes. Prints a Markdown table. Needs Python 3.10 and nothing else.
"""

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command}: {done.stderr}")
    return done


def write_model(seeded_model, dest, size, seed, has_outliers):
    golden = ROOT / "fixtures/golden" / size
    kind = ["--golden", golden] if golden.is_dir() else ["--size", size]
    run(seeded_model, dest, *kind, "--seed", seed, *(["--outliers"] if has_outliers else []))


def captions(mplug, pictures, model, precision):
    out = run(mplug, "caption", pictures, "--recursive", "--model", model, "--precision", precision, "--format", "jsonl")
    records = [json.loads(line) for line in out.stdout.splitlines()]
    return {record["path"]: record["caption"] for record in records}


def convert(mplug, model, dest, calibrate):
    """Returns the number of smoothed layers of all, as the command tells it."""
    told = run(mplug, "convert", model, dest, "--precision", "int8", *calibrate).stderr
    return re.search(r"smoothed in (\d+) of (\d+)", told).groups()


def collect_pictures(mplug, folder, drawn):
    """Pictures to count in `counted`, others of the same kinds in `own`."""
    run(mplug, "synth", folder / "drawn", "--count", drawn, "--seed", "5")
    paths = sorted((ROOT / "fixtures/images").iterdir()) + sorted((folder / "drawn").rglob("*.png"))
    for i, path in enumerate(paths):
        target = folder / ("own" if i % 3 == 2 else "counted")
        target.mkdir(exist_ok=True)
        shutil.copy(path, target / path.name)
    return folder / "counted", folder / "own"


def row(options, folder, counted, own, size, seed, has_outliers):
    model = folder / "model"
    write_model(options.seeded_model, model, size, seed, has_outliers)
    exact = captions(options.mplug, counted, model, "f32")
    layers = [
        convert(options.mplug, model, folder / "default", []),
        convert(options.mplug, model, folder / "calibrated", ["--calibrate", own]),
    ]
    found = [captions(options.mplug, counted, model, "int8")]
    found += [captions(options.mplug, counted, folder / name, "int8") for name in ("default", "calibrated")]
    same = [sum(caption == exact[path] for path, caption in f.items()) for f in found]
    for name in ("model", "default", "calibrated"):
        shutil.rmtree(folder / name)
    smoothed = " / ".join(f"{some} of {all}" for some, all in layers)
    kind = "with outliers" if has_outliers else ""
    print(f"| {size}, seed {seed} | {kind} | {len(exact)} | {' | '.join(map(str, same))} | {smoothed} |", flush=True)
    return exact


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mplug", type=Path, required=True)
    parser.add_argument("--seeded-model", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", default=["tiny", "tiny_large"], choices=["tiny", "tiny_large", "base"])
    parser.add_argument("--seeds", nargs="+", default=["20221122", "1", "2", "3", "4"])
    parser.add_argument("--drawn", type=int, default=31, help="drawn pictures beside the 29 of fixtures/images")
    options = parser.parse_args()
    options.mplug, options.seeded_model = options.mplug.resolve(), options.seeded_model.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        counted, own = collect_pictures(options.mplug, folder, options.drawn)
        print("| model | | captions | plain int8 | convert | convert --calibrate | layers smoothed |")
        print("|---|---|---|---|---|---|---|")
        for size in options.sizes:
            for seed in options.seeds:
                exact = [row(options, folder, counted, own, size, seed, outliers) for outliers in (False, True)]
                differ = sum(exact[0][path] != exact[1][path] for path in exact[0])
                if differ:
                    print(f"{size}, seed {seed}: {differ} captions at f32 differ from those without outliers")


if __name__ == "__main__":
    main()
