"""Captions 10,000 drawn pictures in bulk as a user would, and checks what bulk runs promise.

    python benches/bulk/run.py --mplug target/release/mplug [--pictures 10000] [--broken 50] [--kills 5] [--folder DIR]

Python's standard library only. Draws the pictures (`mplug synth`), puts them into a tree with Chinese names, adds broken files, and
- captions all in one unbroken run, whose memory is looked at once a second: the slope is that of a straight line through what
  was found in the second half of the run, over the pictures that were done by then;
- does the same in runs that are killed (SIGKILL) at random moments and resumed, and compares the bytes;
- packs the tree into tar shards, captions these in three parts (`--shard 0/3` ...), and compares their union with the tree's answers;
- prints a table.
"""

import argparse
import io
import json
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

FOLDERS = ["", "海滩 照片", "小猫🐱/二〇二六年", "街道/夜景", "sub folder/深"]


def draw(mplug, folder, pictures, broken):
    """The tree, and the paths of the broken files in it."""
    subprocess.run([mplug, "synth", folder / "drawn", "--count", str(pictures), "--seed", "77"], check=True, capture_output=True)
    for number, path in enumerate(sorted((folder / "drawn" / "images").iterdir())):
        to = folder / "tree" / FOLDERS[number % len(FOLDERS)] / f"图 {number:05}{path.suffix}"
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
    whole = next((folder / "tree").glob("图 *")).read_bytes()
    kinds = [b"", b"no picture at all", whole[: len(whole) // 2], b"\x89PNG\r\n\x1a\n" + b"\0" * 64, b"\xff\xd8\xff\xe0 half a jpeg"]
    for number in range(broken):
        (folder / "tree" / FOLDERS[number % len(FOLDERS)] / f"坏 {number:03}.png").write_bytes(kinds[number % len(kinds)])


def memory(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) if found else None


def unbroken(command, output):
    """Runs to the end; returns seconds, samples of (pictures done, KiB), and what was said."""
    journal = Path(f"{output}.part")
    started, samples = time.time(), []
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen([*command, "--output", output], stderr=errors)
        while child.poll() is None:
            time.sleep(1)
            try:
                samples.append((sum(1 for _ in open(journal, "rb")) - 1, memory(child.pid)))
            except (FileNotFoundError, ProcessLookupError):
                pass
        took = time.time() - started
        errors.seek(0)
        said = errors.read().decode()
    assert child.returncode in (0, 1), said
    return took, [(done, kib) for done, kib in samples if kib and done > 0], said


def slope(samples):
    """Bytes a picture, by least squares over the second half."""
    samples = samples[len(samples) // 2 :]
    n = len(samples)
    mean_x, mean_y = sum(x for x, _ in samples) / n, sum(y for _, y in samples) / n
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return 1024 * sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else float("nan")


def killed(command, output, kills, seconds):
    """Runs that are killed at random moments, then one that ends."""
    for _ in range(kills):
        child = subprocess.Popen([*command, "--output", output, "--resume"], stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.3, 1.7) * seconds / (kills + 1))
        if child.poll() is not None:
            raise SystemExit("a run was over before it was killed: take more pictures")
        child.kill()
        child.wait()
        assert not Path(output).exists()
    subprocess.run([*command, "--output", output, "--resume"], stderr=subprocess.DEVNULL, check=False)


def pack(folder, shards):
    """Tar shards of the tree, keys without full stops."""
    paths = sorted(path for path in (folder / "tree").rglob("*") if path.is_file())
    for shard in range(shards):
        with tarfile.open(folder / f"shard-{shard:02}.tar", "w") as tar:
            for path in paths[len(paths) * shard // shards : len(paths) * (shard + 1) // shards]:
                info = tarfile.TarInfo(str(path.relative_to(folder / "tree")))
                info.size = path.stat().st_size
                tar.addfile(info, io.BytesIO(path.read_bytes()))
    return sorted(folder.glob("shard-*.tar"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mplug", required=True, type=Path)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--broken", type=int, default=50)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="an empty folder to work in [default: a temporary one]")
    args = parser.parse_args()
    random.seed(1)
    mplug = args.mplug.resolve()
    folder = args.folder.resolve() if args.folder else Path(tempfile.mkdtemp(prefix="bulk-"))
    folder.mkdir(parents=True, exist_ok=True)
    draw(mplug, folder, args.pictures, args.broken)
    tree = [mplug, "caption", folder / "tree", "--recursive", "--format", "jsonl"]

    took, samples, said = unbroken(tree, folder / "whole.jsonl")
    lines = (folder / "whole.jsonl").read_text().splitlines()
    failed = sum("error" in json.loads(line) for line in lines)
    print(f"{len(lines)} inputs, {failed} failed, {took:.0f} s, {len(lines) / took:.1f}/s (the whole process)")
    print(next((line for line in said.splitlines() if "the model had" in line), "(too short a run for its rate)"))
    print(f"memory at the end {samples[-1][1] / 1024:.0f} MiB, slope {slope(samples):.0f} bytes a picture")
    sys.stdout.flush()

    killed(tree, folder / "killed.jsonl", args.kills, took)
    same = (folder / "killed.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
    print(f"killed {args.kills} times and resumed: {'the same bytes' if same else 'OTHER BYTES'}")
    sys.stdout.flush()

    shards = pack(folder, 7)
    tars = [mplug, "caption", *shards, "--format", "jsonl"]
    for part in range(3):
        subprocess.run([*tars, "--shard", f"{part}/3", "--output", folder / f"{part}.jsonl"], stderr=subprocess.DEVNULL, check=False)
    # `shard-00.tar/海滩 照片/图 00001.png` and `.../tree/海滩 照片/图 00001.png` are the same picture.
    union = [json.loads(line) for part in range(3) for line in open(folder / f"{part}.jsonl", encoding="utf-8")]
    order = [record["path"] for record in union]
    by_name = lambda records, above: {record.pop("path").split(above, 1)[1]: record for record in records}
    same = by_name(union, ".tar/") == by_name(map(json.loads, lines), "/tree/")
    in_order = [path.split(".tar/")[0] for path in order] == sorted(path.split(".tar/")[0] for path in order)
    print(f"three parts of {len(shards)} tar shards: {'the whole' if same and in_order else 'NOT the whole'}")
    if not args.folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
