"""A search whose drivers are killed at random, by the script of benchmarks/ that anyone can run longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason="a search needs optuna")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "search_under_kills.py"


@pytest.mark.long
@pytest.mark.slow
def test_no_trial_is_lost_or_runs_twice() -> None:
    words = ["--trials", "6", "--every", "8", "--most-kills", "5"]
    ended = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=1200)
    assert ended.returncode == 0, ended.stdout + ended.stderr
