"""The tour (`python/examples/tour.py`) prints what its page shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_the_page_of_the_tour_is_what_it_prints(tmp_path: Path) -> None:
    render = [sys.executable, "-W", "error", "python/examples/render.py", "python/examples/tour.py"]
    run = subprocess.run([*render, str(tmp_path / "page.md")], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    made, kept = (tmp_path / "page.md").read_text("utf-8"), (ROOT / "docs" / "python-tour.md").read_text("utf-8")
    assert made == kept, "run python/examples/render.py (the tour's first cell has the command)"
    assert made.count("```text") >= 6
