#!/usr/bin/env python3
"""Makes `fixtures/folders.json`: what the original answers where a model folder says less than it should, or says it elsewhere.

    cargo build --release -p mplug-cli && cargo build --release -p mplug --example seeded_model
    for name in tiny tiny_large tiny_vqa tiny_large_vqa; do
        target/release/examples/seeded_model SEEDED/$name --golden fixtures/golden/$name
        target/release/mplug convert SEEDED/$name MODELS/$name --format pytorch
    done
    python reference/make_folder_fixtures.py MODELS fixtures/folders.json

needs torch, modelscope, transformers and what they ask for at run time (torch 2.15, modelscope 1.40.2 and transformers 4.57.6
were used). Every case is a copy of a model folder with `edits`:

- `{"file", "drop": key}` takes a key out of config.yaml, configuration.json or the BERT json, `{"file", "set": key, "value"}`
  sets one;
- `{"move": file, "to": file}` moves a file;
- `{"vocabulary": "keep", "lines": n}` keeps the first lines of vocab.txt; `"insert"` and `"remove"` change the line `at`;
  `"append"` adds text at the end; `"line_ends"` replaces them.

The unmodified pipeline then answers: `answers` has ids (with the start token), text and score of each input in `inputs`, or
`fails` has the exception. `random` counts the tensors that the network has and the file does not, which stay random.
"""
import contextlib
import io
import json
import pathlib
import shutil
import sys
import tempfile

import torch
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
PICTURES = ("grad_rgb.png", "noise_rgb.png", "shapes_rgb.png", "wide.png")
QUESTIONS = ("这个女人在做什么？", "What is the man holding?", "狗")


def main():
    models, out = (pathlib.Path(path) for path in sys.argv[1:])
    sys.path.insert(0, str(ROOT / "benches/peers"))
    import engines

    engines.leave_out_unrelated_models()
    torch.set_num_threads(1)
    cases = [run(models, *case) for case in all_cases(models)]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def all_cases(models):
    """Model, edits, inputs."""
    captions = [[picture, None] for picture in PICTURES]
    answers = [[picture, question] for question in QUESTIONS for picture in PICTURES[:2]]
    stride = {"file": "config_bert.json", "drop": "stride_layer"}
    for model in ("tiny_vqa", "tiny_large_vqa"):
        yield model, [], answers
        yield model, [stride], answers
    for name in ("config_bert.json", "config.yaml"):
        for key in yaml.safe_load((models / "tiny_vqa" / name).read_text()):
            if key != "stride_layer":
                yield "tiny_vqa", [{"file": name, "drop": key}], answers[:2]
    for key in ("task", "max_length", "clip_name"):
        yield "tiny", [{"file": "config.yaml", "drop": key}], captions[:2]
    moved = {"move": "config_bert.json", "to": "configs/deep/bert.json"}
    named = {"file": "config.yaml", "set": "bert_config", "value": "configs/deep/bert.json"}
    roundabout = {"file": "config.yaml", "set": "bert_config", "value": "./configs//deep/./bert.json"}
    yield "tiny", [moved, named], captions
    yield "tiny_vqa", [moved, named], answers[:2]
    yield "tiny_vqa", [{"file": "config_bert.json", "drop": "stride_layer"}, moved, roundabout], answers[:2]
    yield "tiny_vqa", [named], answers[:1]
    yield "tiny", [{"file": "config.yaml", "set": "min_length", "value": 30}], captions
    yield "tiny_large", [{"file": "config_bert.json", "set": "layer_norm_eps", "value": 0.1}], captions
    yield "tiny_large_vqa", [{"file": "config_bert.json", "set": "layer_norm_eps", "value": 0.1}], answers
    for edits in vocabularies():
        yield "tiny", edits, captions[:3]
        yield "tiny_vqa", edits, answers[:3]
    more = {"vocabulary": "append", "text": "zebra\n"}
    yield "tiny_vqa", [more], [["grad_rgb.png", "狗 zebra"]]
    yield "tiny_vqa", [more], [["grad_rgb.png", "狗 " * 30 + "zebra"]]


def vocabularies():
    def vocabulary(change, **how):
        return [{"vocabulary": change, **how}]

    yield vocabulary("append", text="\n")
    yield vocabulary("append", text="\n\n\n")
    yield vocabulary("append", text="新词\n##新\nzebra\n")
    yield vocabulary("append", text="zebra")
    yield vocabulary("append", text="[SEP]\n")
    yield vocabulary("append", text="狗\n")
    for lines in (802, 700, 400, 104, 103):
        yield vocabulary("keep", lines=lines)
    yield vocabulary("insert", at=0, text="")
    yield vocabulary("insert", at=300, text="")
    yield vocabulary("insert", at=102, text="extra")
    yield vocabulary("remove", at=0)
    yield vocabulary("remove", at=300)
    yield vocabulary("line_ends", text="\r\n")
    yield vocabulary("line_ends", text="\r")
    # As many tokens as rows, two of them without characters: an id that is met says nothing, and leaves its spaces.
    yield vocabulary("keep", lines=780) + vocabulary("append", text="\n" * 23)


def run(models, model, edits, inputs):
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder) / "model"
        shutil.copytree(models.resolve() / model, folder, copy_function=copy_or_link)
        for edit in edits:
            apply(folder, edit)
        case = {"model": model, "edits": edits, "inputs": inputs}
        try:
            result = ask(folder, inputs, {"tiny": "image-captioning", "tiny_large": "image-captioning"}.get(model))
        except Exception as error:  # whatever it is, the original does not answer
            result = {"fails": f"{type(error).__name__}: {error}".replace(str(folder), "FOLDER").split("\n")[0][:160]}
    print(model, edits, result.get("fails") or result["answers"][0], flush=True)
    return case | result


def copy_or_link(source, dest):
    if source.endswith(".bin"):
        pathlib.Path(dest).symlink_to(source)
    else:
        shutil.copyfile(source, dest)


def apply(folder, edit):
    if "move" in edit:
        (folder / edit["to"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / edit["move"]).rename(folder / edit["to"])
    elif "vocabulary" in edit:
        path = folder / "vocab.txt"
        path.write_bytes(edited(path.read_bytes().decode().splitlines(keepends=False), edit).encode())
    else:
        path = folder / edit["file"]
        is_json = path.suffix == ".json"
        content = json.loads(path.read_text()) if is_json else yaml.safe_load(path.read_text())
        if "drop" in edit:
            del content[edit["drop"]]
        else:
            content[edit["set"]] = edit["value"]
        path.write_text(json.dumps(content) if is_json else yaml.safe_dump(content))


def edited(lines, edit):
    ends, after = "\n", ""
    match edit["vocabulary"]:
        case "keep":
            lines = lines[: edit["lines"]]
        case "insert":
            lines.insert(edit["at"], edit["text"])
        case "remove":
            del lines[edit["at"]]
        case "append":
            after = edit["text"]
        case "line_ends":
            ends = edit["text"]
    return "".join(line + ends for line in lines) + after


def ask(folder, inputs, task):
    from modelscope.pipelines import pipeline

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        pipe = pipeline(task or "visual-question-answering", model=str(folder), device="cpu")
    missing = said.getvalue().partition("missing_keys=[")[2].partition("]")[0]
    names = [name.strip(" '") for name in missing.split(",") if name.strip()]
    network, outputs, answers = pipe.model.model, [], []
    network.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    for picture, question in inputs:
        picture = str(ROOT / "fixtures/images" / picture)
        result = pipe({"image": picture, "question": question} if question else picture)
        text = result.get("caption") or result.get("text") or ""
        ids, scores = outputs.pop()
        answers.append({"ids": [int(token) for token in ids[0][0]], "text": text, "score": round(float(scores[0][0]), 6)})
    return {"network": type(network).__name__, "random": sum("_m." not in name for name in names), "answers": answers}


if __name__ == "__main__":
    main()
