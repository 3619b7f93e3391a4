#!/usr/bin/env python3
"""Holds `mplug convert --format pytorch` to PyTorch and to the original: both load what we write.

    cargo build --release -p mplug-cli && cargo build --release -p mplug --example seeded_model
    python reference/check_pytorch_export.py target/release/mplug target/release/examples/seeded_model

needs torch, modelscope, transformers, safetensors and what they ask for at run time (torch 2.15, modelscope 1.40.2,
transformers 4.57.6 and safetensors 0.8 were used), and 6 GB of memory. Three things are compared:

- files: `torch.load(weights_only=True)`, mapped or not, gives the tensors of the safetensors file that was converted, at
  f32, f16 and bf16, plain and under `model.`; tied tensors share memory; zip checksums and alignment are right;
- golden models: the unmodified ModelScope pipeline loads the converted folder, its model then holds the file's tensors, and
  its captions, answers and scores are those of `fixtures/golden` (also where only the task's tensors were written);
- models of the size and with the configuration files that we write ourselves: the pipeline's result is that of `mplug`.

Exits with 1 if anything differs.
"""
import contextlib
import gc
import io
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
FORMS = (
    ("f32", "pytorch"),
    ("f32", "pytorch", "--task-only"),
    ("f32", "pytorch-trainer"),
    ("f16", "pytorch"),
    ("bf16", "pytorch-trainer", "--task-only"),
)
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def main():
    mplug, seeded_model = (pathlib.Path(path).resolve() for path in sys.argv[1:])
    leave_out_unrelated_models()
    torch.set_num_threads(2)
    checks, root = Checks(), pathlib.Path(tempfile.mkdtemp())
    for name in ("tiny", "tiny_large", "tiny_vqa", "tiny_large_vqa", "tiny_large_itr"):
        source = root / "source"
        run(seeded_model, source, "--golden", ROOT / "fixtures/golden" / name)
        check_golden(checks, name, mplug, source, root)
        shutil.rmtree(source)
    for task in ("caption", "ask"):
        folder = root / "described"
        run(seeded_model, folder, "--size", "base", "--task", task, "--keep", "task", "--format", "pytorch")
        check_described(checks, mplug, folder, task)
        shutil.rmtree(folder)
    shutil.rmtree(root)
    print(f"{checks.passed} checks passed, {checks.failed} failed")
    sys.exit(checks.failed > 0)


class Checks:
    passed, failed = 0, 0

    def equal(self, what, found, expected):
        same = found == expected
        self.passed, self.failed = self.passed + same, self.failed + (not same)
        print(f"same {what}" if same else f"DIFFERENT {what}: {found} instead of {expected}", flush=True)


def check_golden(checks, name, mplug, source, root):
    stored = load_file(source / "model.safetensors")
    golden = json.loads((ROOT / "fixtures/golden" / name / "golden.json").read_text())
    for dtype, form, *options in FORMS:
        what, folder = " ".join((name, dtype, form, *options)), root / "converted"
        run(mplug, "convert", source, folder, "--format", form, "--dtype", dtype, *options)
        state = check_file(checks, what, folder / "pytorch_model.bin", form, stored, dtype, is_whole=not options)
        # The results of halves are not the golden ones; there the check is that the original takes their values.
        check_loading(checks, what, folder, state, golden if dtype == "f32" else {**golden, "pipeline": []}, not options)
        shutil.rmtree(folder)


def check_file(checks, what, file, form, stored, dtype, is_whole):
    """Loads a converted file and compares it with the safetensors it was made of; gives its tensors by plain name."""
    with zipfile.ZipFile(file) as archive:
        checks.equal(f"{what}: checksums", archive.testzip(), None)
        checks.equal(f"{what}: alignment", {data_begin(archive, entry) % 64 for entry in archive.infolist()}, {0})
    state = torch.load(file, weights_only=True)
    mapped = torch.load(file, weights_only=True, mmap=True)
    checks.equal(f"{what}: mapped", all(torch.equal(state[key], mapped[key]) for key in state), True)
    prefix = "model." if form == "pytorch-trainer" else ""
    checks.equal(f"{what}: prefix", all(key.startswith(prefix) for key in state), True)
    state = {key[len(prefix) :]: tensor for key, tensor in state.items()}
    expected = {key: t.to(DTYPES[dtype]) if t.is_floating_point() else t for key, t in stored.items()}
    if is_whole:
        expected |= {key: expected[first] for key, first in tied_names(expected).items()}
        checks.equal(f"{what}: names", sorted(state), sorted(expected))
    checks.equal(f"{what}: tensors", [key for key, tensor in state.items() if not same(tensor, expected.get(key), state, expected)], [])
    shared = [state[key].data_ptr() == state[first].data_ptr() for key, first in tied_names(state).items()]
    checks.equal(f"{what}: tied tensors share memory", all(shared), True)
    return state


def same(tensor, expected, state, expected_state):
    if expected is None:  # the second name of a tied tensor, which safetensors does not have
        key = next(key for key, value in state.items() if value is tensor)
        expected = expected_state[tied_names(state)[key]]
    return tensor.dtype == expected.dtype and tensor.shape == expected.shape and torch.equal(tensor, expected)


def tied_names(state):
    """Second names of tied tensors, by the first ones that are in `state`."""
    decoders = ("text_decoder", "text_decoder_m")
    pairs = ((f"{decoder}.{later}", f"{decoder}.{first}") for decoder in decoders for later, first in TIED.items())
    return {later: first for later, first in pairs if first in state}


def data_begin(archive, entry):
    archive.fp.seek(entry.header_offset + 26)
    return entry.header_offset + 30 + sum(struct.unpack("<HH", archive.fp.read(4)))


def check_loading(checks, what, folder, state, golden, is_whole):
    pipe = original(golden["task"], folder)
    held = pipe.model.model.state_dict()
    checks.equal(f"{what}: unknown to the original", sorted(set(state) - set(held)), [])
    if is_whole:
        checks.equal(f"{what}: missing to the original", sorted(set(held) - set(state)), [])
    different = [key for key, tensor in state.items() if not torch.equal(held[key], tensor.to(held[key].dtype))]
    checks.equal(f"{what}: taken by the original", different, [])
    for case in golden["pipeline"]:
        picture = str(ROOT / "fixtures/images" / case["image"])
        result = pipe({"image": picture, "question": case["text"]} if case["text"] else picture)
        result, expected = plain(result), case["result"]
        checks.equal(f"{what}: {case['image']}", expected if agree(result, expected) else result, expected)


def plain(result):
    """What a pipeline gives, without what golden.json does not record."""
    return {key: result[key] for key in ("caption", "text", "scores") if result.get(key) is not None}


def agree(result, expected):
    scores, expected_scores = result.get("scores", []), expected.get("scores", [])
    are_near = all(abs(a - b) < 1e-5 for a, b in zip(scores, expected_scores, strict=True))
    return are_near and result | {"scores": None} == expected | {"scores": None}


def check_described(checks, mplug, folder, task):
    picture, question = ROOT / "fixtures/images/shapes_rgb.png", "图里有什么?"
    asked = [question] if task == "ask" else []
    ours = json.loads(run(mplug, task, "--model", folder, "--format", "jsonl", "--raw", picture, *asked))
    gc.collect()
    pipe = original({"caption": "image-captioning", "ask": "visual-question-answering"}[task], folder)
    state = torch.load(folder / "pytorch_model.bin", weights_only=True, mmap=True)
    missing = [key for key in pipe.model.model.state_dict() if key not in state and not is_never_run(key, task)]
    checks.equal(f"base model with our configuration files: {task}, missing to the original", missing, [])
    result = plain(pipe({"image": str(picture), "question": question} if asked else str(picture)))
    key = {"caption": "caption", "ask": "text"}[task]
    checks.equal(f"base model with our configuration files: {task}", result[key], ours.get("caption", ours.get("answer")))


def is_never_run(key, task):
    """CLIP's text tower and its projection, the dead weights of the fusion encoder; in captioning all but picture and decoder."""
    if key.startswith("visual_encoder."):
        return not key.startswith("visual_encoder.visual.") or key == "visual_encoder.visual.proj"
    return key.startswith("fusion_encoder." if task == "ask" else ("fusion_encoder.", "text_encoder."))


def original(task, folder):
    from modelscope.pipelines import pipeline

    with contextlib.redirect_stdout(io.StringIO()):
        return pipeline(task, model=str(folder), device="cpu")


def leave_out_unrelated_models():
    sys.path.insert(0, str(ROOT / "benches/peers"))
    import engines

    engines.leave_out_unrelated_models()


def run(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
