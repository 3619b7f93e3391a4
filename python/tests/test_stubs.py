"""The types of the native module are those of its source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PYTHON = Path(__file__).resolve().parents[1]


def test_stubs_are_made_from_the_source(tmp_path: Path) -> None:
    maturin = [sys.executable, "-m", "maturin", "generate-stubs", "--profile", "release"]
    subprocess.run([*maturin, "-m", "Cargo.toml", "-o", str(tmp_path)], check=True, cwd=PYTHON, capture_output=True)
    made = (tmp_path / "mplug_rs" / "_native.pyi").read_text()
    assert made == (PYTHON / "mplug_rs" / "_native.pyi").read_text(), "run maturin generate-stubs (CONTRIBUTING.md)"
