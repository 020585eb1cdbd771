"""The other commands of the package, which `kd-runner` runs, too, where their name is its first word."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

MODULES = {
    "predict": "kd_runner.deploy.predict_command",
    "evaluate": "kd_runner.deploy.evaluate_command",
    "export": "kd_runner.deploy.export_command",
    "report": "kd_runner.proof.report_command",
    "stop": "kd_runner.sweeps.stop_command",
}


def names_another_command(words: Sequence[str]) -> bool:
    """True where the first word is the name of another command, as in `kd-runner predict MODEL cat.jpg`."""
    return bool(words) and words[0] in MODULES


def run_other_command(words: Sequence[str]) -> int:
    """Run `kd-NAME` with the words behind its name; returns the exit code."""
    name = words[0]
    sys.argv = [f"kd-{name}", *words[1:]]
    return int(importlib.import_module(MODULES[name]).main())
