"""What a run leaves behind for people and programs: what result.json says of its surroundings, and a table."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_runner import __version__
from kd_runner.terminal import TextColumn, folded, table_lines

if TYPE_CHECKING:
    import torch

WORTH_SHARING = 0.5  # points: a share of a smaller gap than this would be noise


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and the device, for the record."""
    import torch

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


STAGES = ("teacher", "baseline", "student")
METRICS: tuple[tuple[str, int, Callable[[Mapping[str, Any]], str]], ...] = (  # a heading, how long to keep it, a text
    ("accuracy", 100, lambda numbers: f"{100 * numbers['accuracy']:.2f} %"),
    ("top-5", 1, lambda numbers: f"{100 * numbers['top5_accuracy']:.2f} %"),
    ("F1", 4, lambda numbers: f"{numbers['f1']:.4f}"),
    ("NLL", 5, lambda numbers: f"{numbers['nll']:.4f}"),
    ("ECE", 3, lambda numbers: f"{numbers['ece']:.4f}"),
    ("parameters", 7, lambda numbers: f"{numbers['parameters']:,}"),
    ("MACs", 2, lambda numbers: "–" if numbers["macs"] is None else f"{numbers['macs']:,}"),
    ("agreement", 6, lambda numbers: f"{100 * numbers['agreement']:.2f} %" if "agreement" in numbers else ""),
)


def table(result: Mapping[str, Any], finetuned: int = 0, width: int | None = None) -> str:
    """The result as a person reads it.

    Args:
        finetuned: Epochs that the student trained beyond the baseline's.
        width: Columns that there are for it; None for as many as it takes.
    """
    stages = [(stage, result[stage]) for stage in STAGES if result[stage]]
    columns = [TextColumn("", [stage for stage, _ in stages], folds=True)]
    columns += [TextColumn(name, [text(numbers) for _, numbers in stages], keep) for name, keep, text in METRICS]
    lines, _ = table_lines(columns, width)
    return "\n".join([*lines, "", *(folded(sentence, width) for sentence in sentences(result, finetuned))])


def sentences(result: Mapping[str, Any], finetuned: int) -> list[str]:
    """What a result comes to, in words; `finetuned` as in `table`."""
    teacher, baseline, student = result["teacher"], result["baseline"], result["student"]
    best = student["best_val"]
    epoch = f"{best['epoch']} of finetuning" if best["stage"] == "finetune" else best["epoch"]
    said = [
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
        said.insert(0, f"{what} gave {gain:+.2f} points over the baseline{of_gap}.")
    return said
