"""What a run leaves behind for people and programs: what result.json says of its surroundings, and a table."""

from __future__ import annotations

import functools
import io
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kd_runner import __version__

WORTH_SHARING = 0.5  # points: a share of a smaller gap than this would be noise


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and the device, for the record."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": name,
        "kd_runner": __version__,
        "git": _commit(),
    }


@functools.cache
def _commit() -> str | None:
    """The commit of the checkout that this package runs from; None for an installed one."""
    package = Path(__file__).parent
    try:
        top, commit = subprocess.run(
            ["git", "rev-parse", "--show-toplevel", "HEAD"],
            cwd=package,
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        ).stdout.split("\n")[:2]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return commit if Path(top) == package.parent else None


def table(result: Mapping[str, Any], finetuned: int = 0) -> str:
    """The result as a person reads it; `finetuned` is the epochs that the student trained beyond the baseline's."""
    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    grid.add_column("")
    for heading in ("accuracy", "top-5", "F1", "NLL", "ECE", "parameters", "MACs", "agreement"):
        grid.add_column(heading, justify="right")
    rows = [(stage, stage, result[stage]) for stage in ("teacher", "baseline", "student") if result[stage]]
    for stage, name, numbers in rows:
        agreement = f"{100 * numbers['agreement']:.2f} %" if stage == "student" else ""
        grid.add_row(
            name,
            f"{100 * numbers['accuracy']:.2f} %",
            f"{100 * numbers['top5_accuracy']:.2f} %",
            f"{numbers['f1']:.4f}",
            f"{numbers['nll']:.4f}",
            f"{numbers['ece']:.4f}",
            f"{numbers['parameters']:,}",
            f"{numbers['macs']:,}",
            agreement,
        )
    text = io.StringIO()
    Console(file=text, width=100, color_system=None).print(grid)
    lines = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    return "\n".join([*lines, "", *_sentences(result, finetuned)])


def _sentences(result: Mapping[str, Any], finetuned: int) -> list[str]:
    teacher, baseline, student = result["teacher"], result["baseline"], result["student"]
    best = student["best_val"]
    epoch = f"{best['epoch']} of finetuning" if best["stage"] == "finetune" else best["epoch"]
    sentences = [
        f"The student has {teacher['parameters'] / student['parameters']:.1f} times fewer parameters than the teacher "
        f"and predicts the teacher's class on {100 * student['agreement']:.2f} % of the test images.",
        f"Its best validation epoch was {epoch}, with {100 * best['accuracy']:.2f} % on the test images.",
    ]
    if baseline is not None:
        gain = 100 * (student["accuracy"] - baseline["accuracy"])
        gap = 100 * (teacher["accuracy"] - baseline["accuracy"])
        if gap >= WORTH_SHARING:
            of_gap = f": {100 * result['gap_closed']:.0f} % of the gap to the teacher"
        else:
            of_gap = f"; the teacher is {gap:+.2f} points from the baseline, too little to speak of a gap"
        what = f"Distillation and {finetuned} more epochs of finetuning" if finetuned else "Distillation"
        sentences.insert(0, f"{what} gave {gain:+.2f} points over the baseline{of_gap}.")
    return sentences
