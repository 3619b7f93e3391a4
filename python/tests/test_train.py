"""Training from Python: events, an end by the caller, and a run that goes on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from conftest import EXAMPLES

import mplug_rs
from mplug_rs import Captioner, train

RECIPE = """
seed = 4

[model]
image_size = 24
patch_size = 8
vision_width = 64
vision_layers = 1
text_width = 32
text_heads = 2
text_intermediate = 64
decoder_layers = 1
max_position_embeddings = 32

[data]
kind = "synth"
language = "zh"
seed = 1
held_out_seed = 2

[run]
steps = 6
batch_size = 2
micro_batch_size = 2
threads = 1
data_threads = 1
log_every = 2
checkpoint_every = 100

[optimizer]
learning_rate = 1e-3
weight_decay = 0.02
clip_norm = 1.0

[schedule]
warmup_steps = 2

[evaluation]
every = 3
pictures = 2
"""


class Enough(Exception):
    """What a callback raises that has seen enough."""


def test_a_run_that_is_ended_goes_on_to_the_same_model(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    events: list[dict[str, Any]] = []
    summary = train(recipe, {"output": str(whole)}, callbacks=[events.append])
    assert (summary.steps, summary.stopped_early, summary.skipped) == (6, False, 0)
    assert [event["step"] for event in events if event["event"] == "step_done"] == [1, 2, 3, 4, 5, 6]
    assert any(event["event"] == "evaluated" and "cider" in str(event) for event in events)

    def stop(event: dict[str, Any]) -> None:
        if event["event"] == "step_done" and event["step"] == 3:
            raise Enough

    with pytest.raises(Enough):
        train(recipe, {"output": str(parts)}, callbacks=[stop])
    with pytest.raises(mplug_rs.OptionError, match="resume"):
        train(recipe, {"output": str(parts)})
    assert train(recipe, {"output": str(parts)}, resume=True).steps == 6
    for name in ["last/state.safetensors", "last/model.safetensors"]:
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    assert str(Captioner(parts / "last")(b"", on_error="return")).startswith("picture: is empty")


def test_recipes_may_be_tables_and_go_on_from_any_step(tmp_path: Path) -> None:
    recipe = tomllib.loads(RECIPE)
    recipe["output"] = str(tmp_path / "run")
    recipe["run"] |= {"checkpoint_every": 2, "keep_last": 3}
    heard: list[list[Any]] = [[], []]
    train(recipe, callbacks=[lambda event: heard[0].append(event), heard[1].append])
    assert heard[0] == heard[1] and heard[0]
    saved = [event["step"] for event in heard[0] if event["event"] == "saved"]
    assert {2, 4, 6} <= set(saved)
    whole = (tmp_path / "run" / "last" / "model.safetensors").read_bytes()
    assert train(recipe, from_step=4).steps == 6
    assert (tmp_path / "run" / "last" / "model.safetensors").read_bytes() == whole
    assert (tmp_path / "run" / "superseded" / "step-000006").is_dir()
    with pytest.raises(mplug_rs.OptionError, match="5"):
        train(recipe, from_step=5)
    with pytest.raises(mplug_rs.OptionError, match=r"run\.steps: expected"):
        train({**recipe, "run": {**recipe["run"], "steps": "ten"}})
    with pytest.raises(mplug_rs.OptionError, match="callbacks: expected functions"):
        train(recipe, callbacks=[1])  # type: ignore[list-item]


def test_a_callback_may_use_a_model(tmp_path: Path) -> None:
    recipe = tomllib.loads(RECIPE)
    recipe["output"] = str(tmp_path / "run")
    captions: list[str] = []

    def look(event: dict[str, Any]) -> None:
        if event["event"] == "saved":
            captions.append(Captioner(tmp_path / "run" / f"step-{event['step']:06}")(EXAMPLES[0]).raw_text)

    # With one thread, the callback's is the only one.
    mplug_rs.set_threads(1)
    try:
        train(recipe, callbacks=[look])
    finally:
        mplug_rs.set_threads(None)
    assert captions


def test_a_recipe_that_cannot_be_is_an_option_error(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE.replace("batch_size = 2", "batchsize = 2", 1))
    with pytest.raises(mplug_rs.OptionError, match="batch_size"):
        train(recipe, {"output": str(tmp_path / "run")})
    with pytest.raises(mplug_rs.OptionError, match="nowhere.toml"):
        train(tmp_path / "nowhere.toml")
