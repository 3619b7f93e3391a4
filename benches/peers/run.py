#!/usr/bin/env python3
"""Measures our program against its peers: same weights, picture, threads and search, in turn in one session.

    python run.py --mplug PATH --model DIR --picture FILE [--rounds 5] [--original-rounds 1] [--only NAME,...]

Every engine is a process of its own. One works at a time; the others are stopped by a signal, so that no idle thread
of theirs spins beside it. A round asks each engine once for everything it measures, and the next round begins with
another engine, so that a change of the machine's speed meets all of them alike. README.md says what is compared.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import report
from ours import Ours
from pictures import decoded

HERE = pathlib.Path(__file__).resolve().parent
ENGINES = [
    *(("ours", precision) for precision in ("f32", "bf16", "int8")),
    *(("torch-cached", precision) for precision in ("f32", "bf16", "int8")),
    *(("onnxruntime", precision) for precision in ("f32", "int8")),
    *(("openvino", precision) for precision in ("f32", "bf16")),
    ("original", "f32"),
]


class Worker:
    """A peer in a Python process, stopped whenever it is not asked for something."""

    def __init__(self, name, precision, options, environment):
        self.name, self.precision, self.options, self.environment = name, precision, options, environment
        self.facts, self.note, self.token_ids, self.process = {}, None, None, None

    def start(self):
        """Loads, and takes the time from the start of the process to the first caption, where it makes captions."""
        start = time.perf_counter()
        command = worker_command(self.name, self.options, "--precision", self.precision)
        with open(self.options.work / f"{self.name}_{self.precision}.log", "w") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            self.process = subprocess.Popen(command, env=self.environment, text=True, **pipes)
        ready = self.answer()
        self.facts = ready["values"]
        first = "end_to_end" if "end_to_end" in ready["measures"] else "encoder"
        peak = self.ask({"measures": [first]})["peak_memory_bytes"]
        if first == "end_to_end":
            self.facts["first_caption_s"] = time.perf_counter() - start
            self.facts["peak_memory_one_picture_bytes"] = peak
        self.pause()

    def round(self):
        self.process.send_signal(signal.SIGCONT)
        answer = self.ask({})
        self.pause()
        self.facts["peak_memory_all_bytes"] = answer["peak_memory_bytes"]
        return answer["values"]

    def save_embeds(self, file):
        self.process.send_signal(signal.SIGCONT)
        self.ask({"measures": [], "save_embeds": str(file)})
        self.pause()
        return True

    def ask(self, request):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended; see {self.name}_{self.precision}.log (--keep-work keeps it)")
        answer = json.loads(line)
        self.note, self.token_ids = answer["note"], answer["token_ids"]
        return answer

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


def main():
    options = arguments()
    environment = clean_environment(options.threads)
    wanted = selected(options)
    work = options.keep_work or pathlib.Path(tempfile.mkdtemp(prefix="mplug-peers-"))
    options.work, options.decoded_picture = work, work / "decoded.png"
    work.mkdir(parents=True, exist_ok=True)
    decoded(options.picture).save(options.decoded_picture)
    running = []
    try:
        export_encoder(options, wanted, environment)
        for name, precision in wanted:
            kind = Ours if name == "ours" else Worker
            running.append(kind(name, precision, options, environment))
        result = measure(running, options)
    finally:
        for engine in running:
            engine.stop()
        if not options.keep_work:
            shutil.rmtree(work)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(report.markdown(result))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mplug", type=pathlib.Path, required=True, help="our program")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="a captioning model with pytorch_model.bin")
    parser.add_argument("--picture", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--original-rounds", type=int, default=1, help="rounds in which the original takes part")
    parser.add_argument("--bf16-rounds", type=int, help="rounds of PyTorch's bf16 [default: --rounds]")
    parser.add_argument("--only", default="", help="names such as ours, torch-cached or openvino:f32, by commas")
    parser.add_argument("--json", type=pathlib.Path, help="write every sample, the hardware and the versions here")
    parser.add_argument("--keep-work", type=pathlib.Path, help="a folder for exported models and logs, to be kept")
    options = parser.parse_args()
    if options.bf16_rounds is None:
        options.bf16_rounds = options.rounds
    return options


def clean_environment(threads):
    """The caller's environment with the threads of every library set, and nothing that picks another kernel."""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(threads)
    return environment


def selected(options):
    names = [name for name in options.only.split(",") if name]
    known = {name for name, _ in ENGINES} | {f"{name}:{precision}" for name, precision in ENGINES}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"--only: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return [(name, precision) for name, precision in ENGINES if not names or {name, f"{name}:{precision}"} & {*names}]


def worker_command(name, options, *more):
    places = ["--model", options.model, "--picture", options.picture, "--work", options.work]
    command = [sys.executable, HERE / "worker.py", name, *places, "--threads", options.threads, *more]
    return [str(part) for part in command]


def export_encoder(options, wanted, environment):
    """The ONNX files, where an engine needs them and they are not there; in a process that nothing else measures."""
    needed = {"onnxruntime", "openvino"} & {name for name, _ in wanted}
    if needed and not (options.work / "encoder_int8.onnx").exists():
        subprocess.run(worker_command("export", options), check=True, env=environment, stdout=subprocess.DEVNULL)


def measure(engines, options):
    """Starts all, runs the rounds and checks the results; an engine that fails leaves the others running."""
    failures, samples = {}, {label(engine): [] for engine in engines}
    for engine in engines:
        attempt(engine, engine.start, failures)
    for index in range(max(options.rounds, options.original_rounds, options.bf16_rounds)):
        shift = index % len(engines)
        for engine in engines[shift:] + engines[:shift]:
            if index < rounds_of(engine, options) and label(engine) not in failures:
                values = attempt(engine, engine.round, failures)
                samples[label(engine)].append({"round": index} | (values or {}))
    return {
        "settings": {name: str(value) for name, value in vars(options).items()},
        "hardware": report.hardware(),
        "versions": report.versions(options.mplug),
        "samples": samples,
        "facts": {label(engine): engine.facts for engine in engines},
        "notes": {label(engine): engine.note for engine in engines if engine.note},
        "token_ids": {label(engine): engine.token_ids for engine in engines if engine.token_ids},
        "embeds_error": embeds_errors(engines, options, failures),
        "failures": failures,
    }


def rounds_of(engine, options):
    if engine.name == "original":
        return options.original_rounds
    return options.bf16_rounds if label(engine) == "torch-cached bf16" else options.rounds


def label(engine):
    return f"{engine.name} {engine.precision}"


def attempt(engine, action, failures):
    start = time.perf_counter()
    try:
        result = action()
    except Exception as error:
        failures[label(engine)] = str(error)
        print(f"{label(engine)}: {error}", file=sys.stderr)
        return None
    print(f"{label(engine)}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    return result


def embeds_errors(engines, options, failures):
    """Relative error of each peer's image embeddings against those of PyTorch at f32: are they the same network?"""
    import numpy as np

    embeds = {}
    for engine in engines:
        file = options.work / "embeds.npy"
        if engine.name in ("ours", "original") or label(engine) in failures:
            continue
        if attempt(engine, lambda engine=engine, file=file: engine.save_embeds(file), failures):
            embeds[label(engine)] = np.load(file).astype(np.float64)
    truth = embeds.get("torch-cached f32")
    if truth is None:
        return {}
    return {name: float(np.linalg.norm(found - truth) / np.linalg.norm(truth)) for name, found in embeds.items()}


if __name__ == "__main__":
    main()
