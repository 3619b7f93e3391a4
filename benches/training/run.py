"""Times a captioning training step at base size: this project's trainer beside the original's class under PyTorch, in turn, on the
same machine: forward, backward and AdamW at f32, dropout 0.1 on the text side, batches of four pictures.

    python benches/training/run.py --mplug target/release/mplug --model BASE_FOLDER [--threads 2] [--rounds 2] [--checkpointing]

BASE_FOLDER is a captioning model folder of base size in the original's form (drawn weights do). The program must be built with
the feature `train`. Needs the pip packages modelscope 1.40.2, torch, transformers 4.57 for the original. Prints seconds per
step (median) and the most memory that each process held.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

BATCH = 4
RECIPE = """
output = "{output}"
[start]
model = "{model}"
max_text_tokens = 25
dropout = 0.1
[data]
kind = "annotations"
train = "{pictures}"
held_out = "{pictures}"
train_split = "train"
language = "en"
[run]
steps = {steps}
batch_size = {batch}
micro_batch_size = {micro}
threads = {threads}
data_threads = 1
log_every = 1
checkpoint_every = 1000000
gradient_checkpointing = {checkpointing}
[optimizer]
learning_rate = 1e-5
vision_learning_rate = 5e-6
weight_decay = 0.02
[schedule]
warmup_steps = 0
[evaluation]
every = 0
pictures = 1
"""


def ours(arguments, folder, checkpointing):
    """Seconds of each step but the first, and the peak in bytes."""
    output = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "run"
    recipe = RECIPE.format(
        output=output, model=arguments.model, pictures=folder / "train.jsonl", steps=arguments.steps + 1, batch=BATCH,
        micro=arguments.micro, threads=arguments.threads, checkpointing=str(checkpointing).lower(),
    )
    path = output.parent / "recipe.toml"
    path.write_text(recipe)
    process = subprocess.Popen([arguments.mplug, "train", path], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    log, steps = output / "log.jsonl", []
    # The last step is followed by a checkpoint, which is no part of a step: the run is ended before it.
    while process.poll() is None and len(steps) <= arguments.steps:
        time.sleep(0.2)
        if log.exists():
            lines = [line for line in log.read_text().splitlines() if line.endswith("}")]
            steps = [event for event in map(json.loads, lines) if event["event"] == "step"]
    process.kill()
    process.wait()
    if len(steps) <= 1:
        sys.exit(f"{arguments.mplug} train {path} took no steps")
    return [event["step_seconds"] for event in steps[1:]], max(event["peak_memory"] for event in steps)


def peak_memory():
    """The most memory that this process has held, in bytes."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def original_worker(model_folder, threads, steps):
    """Runs in a process of its own: the original's class."""
    import types

    import torch
    from modelscope.models.multi_modal.mplug.modeling_mplug import MPlugForImageCaption

    torch.set_num_threads(threads)
    model = MPlugForImageCaption.from_pretrained(model_folder)
    model.train()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-5, weight_decay=0.02)
    size = model.config.image_res
    texts = types.SimpleNamespace(
        input_ids=torch.randint(103, 1000, (BATCH, 25)), attention_mask=torch.ones(BATCH, 25, dtype=torch.long)
    )
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        loss = model(torch.randn(BATCH, 3, size, size), texts, texts, train=True)
        loss = loss[0] if isinstance(loss, tuple) else loss
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"seconds": seconds[1:], "peak": peak_memory()}))


def quiet():
    """The environment, without the packages' warnings."""
    return {**os.environ, "PYTHONWARNINGS": "ignore"}


def original(arguments):
    model = arguments.original_model or arguments.model
    command = [sys.executable, __file__, "--worker", "--model", model, "--threads", str(arguments.threads)]
    output = subprocess.run([*command, "--steps", str(arguments.steps)], check=True, stdout=subprocess.PIPE, text=True, env=quiet())
    found = json.loads(output.stdout.splitlines()[-1])
    return found["seconds"], found["peak"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mplug")
    parser.add_argument("--model", required=True)
    parser.add_argument("--original-model", help="the same model where the original needs more in its configuration")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--micro", type=int, default=1, help="pictures that go through our network at once")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--checkpointing", action="store_true", help="measure gradient checkpointing too")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        original_worker(arguments.model, arguments.threads, arguments.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([arguments.mplug, "synth", folder / "drawn", "--count", "16"], check=True, capture_output=True)
        lines = (folder / "drawn" / "annotations.jsonl").read_text().splitlines()
        rows = []
        for number, line in enumerate(lines):
            row = json.loads(line)
            row["split"] = "train" if number else "val"
            rows.append(json.dumps(row, ensure_ascii=False))
        (folder / "drawn" / "train.jsonl").write_text("\n".join(rows) + "\n")
        folder = folder / "drawn"
        contenders = {"mplug": lambda: ours(arguments, folder, False), "original": lambda: original(arguments)}
        if arguments.checkpointing:
            contenders["mplug, gradient checkpointing"] = lambda: ours(arguments, folder, True)
        found = {name: ([], 0) for name in contenders}
        for _ in range(arguments.rounds):
            for name, run in contenders.items():
                seconds, peak = run()
                found[name] = (found[name][0] + seconds, max(found[name][1], peak))
        reference = statistics.median(found["original"][0])
        for name, (seconds, peak) in found.items():
            median = statistics.median(seconds)
            print(f"{name:32} {median:7.2f} s a step ({median / reference:.2f}), at most {peak / 1e9:5.2f} GB")


if __name__ == "__main__":
    main()
