"""Times `mplug eval` against pycocoevalcap on the same files, in one run, and compares the figures.

    python benches/metrics/run.py --mplug target/release/mplug [--images 40504] [--references 5] [--rounds 3] [--meteor]

Needs `pip install pycocoevalcap` and Java. Draws captions as long and as varied as COCO's (real ones may not be
redistributed), writes them as a COCO annotation file and a results file, and runs, one after the other in each round:
- the reference: loading, the PTB tokeniser, BLEU, ROUGE-L, CIDEr; with --meteor also loading, tokeniser and METEOR alone;
- ours: the whole process `mplug eval`, loading included.
Prints the median of each, the ratio, the peak memory of both, and the largest difference between figures.
"""

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def draw(folder, images, references, seed):
    """Captions by swapping words of the fixtures' captions; rare words by Zipf's law."""
    random.seed(seed)
    fixture = json.loads((ROOT / "fixtures/metrics/en_synthetic_200.json").read_text())
    sentences = [r.rstrip(".").split() for i in fixture["images"] for r in i["refs"] if len(r.split()) > 6]
    words = sorted({w for s in sentences for w in s if w.isalpha()})
    syllables = ["ba", "cor", "di", "el", "fan", "gu", "hos", "im", "jan", "kel", "lo", "mur", "na", "os", "pri", "qua"]
    words += ["".join(random.choices(syllables, k=random.randint(2, 4))) for _ in range(20_000)]
    weights = [1 / (rank + 20) for rank in range(len(words))]
    spare = iter(random.choices(words, weights, k=images * (references + 1) * 4))

    def caption(base):
        changed = [next(spare) if random.random() < 0.25 else w for w in base]
        text = " ".join(changed[: random.randint(max(5, len(changed) - 3), len(changed))])
        return text[0].upper() + text[1:] + random.choice([".", ".", "", " .", "!"])

    annotations, results = [], []
    for image in range(images):
        base = random.choice(sentences)
        annotations += [{"image_id": image, "id": len(annotations) + k, "caption": caption(base)} for k in range(references)]
        results.append({"image_id": image, "caption": caption(base)})
    listed = [{"id": image, "file_name": f"{image:012}.jpg"} for image in range(images)]
    (folder / "references.json").write_text(json.dumps({"images": listed, "annotations": annotations}))
    (folder / "results.json").write_text(json.dumps(results))


def reference(folder, with_meteor):
    """Runs in a process of its own: prints seconds by stage and the figures as JSON."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    clock, seconds, figures = time.perf_counter(), {}, {}

    def lap(name):
        nonlocal clock
        now = time.perf_counter()
        seconds[name], clock = now - clock, now

    annotations = json.loads((folder / "references.json").read_text())["annotations"]
    gts, res = {}, {}
    for a in annotations:
        gts.setdefault(a["image_id"], []).append(a)
    for r in json.loads((folder / "results.json").read_text()):
        res[r["image_id"]] = [r]
    lap("load")
    gts, res = PTBTokenizer().tokenize(gts), PTBTokenizer().tokenize(res)
    lap("tokenise")
    if with_meteor:
        figures["meteor"] = float(Meteor().compute_score(gts, res)[0])
        lap("meteor")
        return tell(seconds, figures)
    figures["bleu_1"], figures["bleu_2"], figures["bleu_3"], figures["bleu_4"] = Bleu(4).compute_score(gts, res, verbose=0)[0]
    lap("bleu")
    figures["rouge_l"] = float(Rouge().compute_score(gts, res)[0])
    lap("rouge_l")
    figures["cider"] = float(Cider().compute_score(gts, res)[0])
    lap("cider")
    return tell(seconds, figures)


def tell(seconds, figures):
    """The last line of a worker."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print("\n" + json.dumps({"seconds": seconds, "figures": figures, "memory_mib": memory}))


def timed(command, environment=None):
    """Seconds, peak MiB and standard output of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} ended with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss // 1024, output.decode()


def compare(arguments, folder, metrics, with_meteor, jar):
    """Medians of both sides over the rounds, interleaved."""
    ours_command = [
        arguments.mplug, "eval", "--references", folder / "references.json", "--candidates", folder / "results.json",
        "--metrics", metrics, "--format", "json", "--threads", str(arguments.threads),
    ]
    if with_meteor:
        ours_command += ["--meteor-jar", jar]
        timed(ours_command)  # compiles the paraphrase table once
    theirs_command = [sys.executable, __file__, "--worker", str(folder)] + (["--meteor"] if with_meteor else [])
    ours, theirs = [], []
    for _ in range(arguments.rounds):
        theirs.append(timed(theirs_command))
        ours.append(timed(ours_command))
    report = json.loads(theirs[-1][2].strip().splitlines()[-1])
    figures = json.loads(ours[-1][2])["scores"]
    worst = max(abs(figures[name] - value) for name, value in report["figures"].items() if name in figures)
    name = "tokenise, METEOR" if with_meteor else "tokenise, BLEU, ROUGE-L, CIDEr"
    their_seconds = statistics.median(sum(json.loads(t[2].strip().splitlines()[-1])["seconds"].values()) for t in theirs)
    our_seconds = statistics.median(o[0] for o in ours)
    print(f"| {name} | {their_seconds:.2f} | {our_seconds:.2f} | {their_seconds / our_seconds:.1f} | "
          f"{report['memory_mib']} | {max(o[1] for o in ours)} | {worst:.1e} |", flush=True)
    print("   reference by stage: " + ", ".join(f"{k} {v:.2f}" for k, v in report["seconds"].items()), file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mplug", default=str(ROOT / "target/release/mplug"))
    parser.add_argument("--images", type=int, default=40504)
    parser.add_argument("--references", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--meteor", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return reference(arguments.worker, arguments.meteor)
    import pycocoevalcap.meteor.meteor as meteor

    jar = Path(meteor.__file__).with_name(meteor.METEOR_JAR)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        draw(folder, arguments.images, arguments.references, arguments.seed)
        print(f"{arguments.images} images x {arguments.references} references, {arguments.threads} threads, "
              f"medians of {arguments.rounds} rounds\n")
        print("| | reference s | ours s | ratio | reference MiB (Python alone) | ours MiB | largest difference |")
        print("|---|---|---|---|---|---|---|")
        compare(arguments, folder, "bleu,rouge-l,cider", False, jar)
        if arguments.meteor:
            compare(arguments, folder, "meteor", True, jar)


if __name__ == "__main__":
    main()
