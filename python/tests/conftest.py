"""What the tests share: golden models in folders, example pictures, a captioner of the demo model."""

from __future__ import annotations

import json
import os
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mplug_rs

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "assets" / "examples").glob("*.*"))


def _write_golden(model: str, folder: Path) -> None:
    """Draws a golden model's weights, by an example of the engine. ``MPLUG_SEEDED_MODEL`` names it where it is built already."""
    built = os.environ.get("MPLUG_SEEDED_MODEL")
    program = [built] if built else "cargo run --release --quiet -p mplug --example seeded_model --".split()
    golden = ROOT / "fixtures" / "golden" / model
    subprocess.run([*program, str(folder), "--golden", str(golden), "--format", "pytorch"], check=True, cwd=ROOT)


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the folder of a golden model, as the original would find it."""
    made: dict[str, Path] = {}

    def folder(model: str) -> Path:
        if model not in made:
            made[model] = tmp_path_factory.mktemp("golden") / model
            _write_golden(model, made[model])
        return made[model]

    return folder


@pytest.fixture(scope="session")
def program() -> str:
    """The command ``mplug``, with Parquet. ``MPLUG_PROGRAM`` names it where it is built already."""
    built = os.environ.get("MPLUG_PROGRAM")
    if built is None:
        subprocess.run("cargo build --release --quiet -p mplug-cli --features train,parquet".split(), check=True, cwd=ROOT)
    return built or str(ROOT / "target" / "release" / "mplug")


def records(model: str) -> Any:
    """What the original computed with a golden model."""
    return json.loads((ROOT / "fixtures" / "golden" / model / "golden.json").read_text())


def golden_tensor(model: str, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A tensor of float32 that the original computed with a golden model."""
    content = (ROOT / "fixtures" / "golden" / model / "golden.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    entry = json.loads(content[8:start])[name]
    begin, end = entry["data_offsets"]
    return np.frombuffer(content[start + begin : start + end], np.float32).reshape(entry["shape"])


def fixture_picture(name: str) -> Path:
    """A picture of the golden records."""
    return ROOT / "fixtures" / "images" / name


@pytest.fixture(scope="session")
def captioner() -> mplug_rs.Captioner:
    """A captioner of the demo model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mplug_rs.Captioner()


@pytest.fixture(scope="session")
def answerer() -> mplug_rs.Answerer:
    """An answerer of the demo model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mplug_rs.Answerer()


@pytest.fixture(scope="session")
def matcher() -> mplug_rs.Matcher:
    """A matcher of the demo model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mplug_rs.Matcher()
