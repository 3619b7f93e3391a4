"""Reads a run's `tensorboard` folder with TensorBoard's own reader and checks it against the run's `log.jsonl`: every scalar, no step
twice after a resume, the samples' texts and pictures, the settings as text and as hyper-parameters.

    pip install tensorboard
    python reference/check_tensorboard.py runs/x
"""

import argparse
import html
import json
import re
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util


def logged(folder):
    """The scalars of the log by tag: `{tag: {step: value}}`. What a resumed run does again takes the place of what it did."""
    scalars, settings, samples = {}, {}, {}
    for line in (folder / "log.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        step = event.get("step")
        found = {}
        if event["event"] == "started":
            settings = event["settings"]
            for values in [*scalars.values(), samples]:
                for later in [at for at in values if at > step]:
                    del values[later]
        elif event["event"] == "step":
            found = {f"train/{name}": event[name] for name in ("loss", "learning_rate", "gradient_norm")}
            found |= {f"train/{name}": value for name, value in event.get("parts", {}).items()}
        elif event["event"] == "evaluated":
            found = {f"evaluation/{name}": value for name, value in event["metrics"].items()}
            if event["samples"]:
                samples[step] = event["samples"]
        for tag, value in found.items():
            scalars.setdefault(tag, {})[step] = value
    return scalars, settings, samples


def single(value):
    """As a float of 32 bits holds it."""
    return struct.unpack("f", struct.pack("f", value))[0]


def table_of(event):
    """The rows of a table below its head, as a person sees them: TensorBoard takes a text for Markdown."""
    text = tensor_util.make_ndarray(event.tensor_proto).item().decode()
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.split("\n")[2:]]
    return [[html.unescape(re.sub(r"\\(.)", r"\1", cell[1:-1])) for cell in row] for row in cells]


def check(folder):
    scalars, settings, samples = logged(folder)
    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
    board.Reload()
    tags = board.Tags()
    for tag, expected in scalars.items():
        found = [(event.step, event.value) for event in board.Scalars(tag)]
        assert found == [(step, single(value)) for step, value in sorted(expected.items())], (tag, found, expected)
    texts = board.Tensors("samples/texts") if samples else []
    assert [event.step for event in texts] == sorted(samples), "an evaluation's samples are missing or there twice"
    for event in texts:
        assert [row[1] for row in table_of(event)] == [sample["text"] for sample in samples[event.step]]
    pictures = [tag for tag in tags["images"] if tag.startswith("samples/")]
    for tag in pictures:
        for image in board.Images(tag):
            assert image.encoded_image_string.startswith(b"\xff\xd8") and image.width > 0 and image.height > 0, tag
    assert {row[0] for row in table_of(board.Tensors("settings")[-1])} == set(settings)
    data = plugin_data_pb2.HParamsPluginData.FromString(
        board.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    )
    hparams = data.session_start_info.hparams
    assert set(hparams) == set(settings), set(hparams) ^ set(settings)
    for name, value in settings.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            assert hparams[name].number_value == value, name
    print(
        f"{folder}: {sum(map(len, scalars.values()))} scalars of {len(scalars)} tags, {len(texts)} tables of samples, "
        f"{len(pictures)} pictures, {len(hparams)} settings: as TensorBoard reads them"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="+", help="run folder")
    for run in parser.parse_args().run:
        check(run)
    sys.exit()
