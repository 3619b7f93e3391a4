"""The time of a picture from Python and by the command, in turn: the same model, the same pictures, one at a time.

    cargo build --release -p mplug-cli && pip install ./python
    python benches/python/run.py --mplug target/release/mplug --rounds 9

Both are whole processes, from start to end. The ratio that is printed is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import mplug_rs
captioner = mplug_rs.Captioner()
for path in sys.argv[1:]:
    print(captioner(path))
"""


def seconds(command: list[str]) -> tuple[float, str]:
    begun = time.perf_counter()
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return time.perf_counter() - begun, output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mplug", default="mplug", help="the program")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "drawn"
        subprocess.run([args.mplug, "synth", str(drawn), "--count", str(args.pictures)], check=True, capture_output=True)
        pictures = sorted(str(path) for path in drawn.rglob("*.png"))
        ours = [args.mplug, "caption", "--batch-size", "1", *pictures]
        python = [sys.executable, "-c", PROGRAM, *pictures]
        ratios, times = [], []
        for _ in range(args.rounds):
            (by_command, lines), (by_python, texts) = seconds(ours), seconds(python)
            assert [line.split("\t")[-1] for line in lines.splitlines()] == texts.splitlines(), "other captions"
            ratios.append(by_python / by_command)
            times.append((by_command, by_python))
    print(f"{len(pictures)} pictures, {args.rounds} rounds: command {statistics.median(a for a, _ in times):.2f} s, ", end="")
    print(f"Python {statistics.median(b for _, b in times):.2f} s, ratio {statistics.median(ratios):.3f}")
    print("ratios:", " ".join(f"{ratio:.3f}" for ratio in sorted(ratios)))


if __name__ == "__main__":
    main()
