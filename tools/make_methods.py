"""Writes docs/methods.md from the modes' code and YAML and from what was measured: python tools/make_methods.py."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "methods.md"
COSTS = ROOT / "benchmarks" / "results" / "mode_costs.json"
SWEEP = ROOT / "tools" / "modes_fashion_mnist.json"
COMMAND = (
    "kd-runner -m dataset=fashion_mnist dataset.val_fraction=0.85 batch_size=64 teacher.epochs=3 student.epochs=2 "
    "baseline=false seed=0,1,2 distillation=NAME,NAME,…"
)
# Modes that compute something else with their defaults than when they were measured, and what.
CHANGED = {"reviewkd": "it now meets the teacher's layers in front of their activations"}
INTRO = """# Distillation modes

Made by `python tools/make_methods.py` from the code, the YAML files and the measured numbers; the tests check that it
is up to date. The loss is `label_weight` · cross-entropy with the labels + `weight` · what the mode measures. Several
modes add up: `'distillation=[dkd,at]' plus.at.weight=500`. Needs: L logits, F features (by hooks on layers that are
found by themselves or named by `student.layers`, `teacher.layers`), M modules of its own that train along, B memory or
indices of images, V a strongly augmented second view, Y labels, – no teacher.

"""


def modes() -> dict[str, dict[str, Any]]:
    """The YAML of every mode, by its name."""
    files = sorted((ROOT / "conf" / "distillation").glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text()) for path in files}


def target_of(node: dict[str, Any]) -> tuple[Any, str]:
    """The callable and its module's docstring."""
    module_name, _, name = node["_target_"].rpartition(".")
    module = importlib.import_module(module_name)
    return getattr(module, name), inspect.getdoc(module) or ""


def paper_of(docstring: str) -> str:
    """The sentence of a module's docstring that names the paper; empty where there is none."""
    for paragraph in docstring.split("\n\n"):
        text = " ".join(paragraph.split())
        if re.search(r"arXiv:|CVPR|ICLR", text):
            return re.split(r"; |, equation", text)[0].rstrip(".")
    return ""


def needs_of(target: Any) -> str:
    """Letters for what a mode asks for."""
    needs = target.needs
    letters = {
        "L": needs.teacher_logits,
        "F": needs.student is not None,
        "M": (hasattr(target, "adapt") and hasattr(target, "parameters")) or hasattr(target, "deployed"),
        "B": needs.indices,
        "V": needs.strong_view,
        "Y": needs.labels,
        "–": not needs.uses_teacher and needs.student is None,
    }
    return " ".join(letter for letter, wanted in letters.items() if wanted)


def page() -> str:
    """The text of docs/methods.md."""
    costs = json.loads(COSTS.read_text())["ratios"] if COSTS.is_file() else {}
    lines = [
        "| mode | what it is | paper | needs | weight | label_weight | step, of soft |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, node in modes().items():
        target, docstring = target_of(node)
        first = docstring.split("\n\n")[0].rstrip(".")
        cost = f"{costs[name]:.2f}" if name in costs else "not measured"
        cells = [f"`{name}`", first, paper_of(docstring), needs_of(target)]
        lines.append("| " + " | ".join([*cells, f"{node['weight']:g}", f"{node['label_weight']:g}", cost]) + " |")
    notes = (
        "\nStep, of soft: median seconds of a training step over that of `soft`, side by side "
        "(`python benchmarks/mode_costs.py`, CNN to CNN on Fashion-MNIST, two CPU cores). Two runs of it differed by "
        "up to a quarter, `none` and `reviewkd` by half. `ab` and `fsp` are measured while they initialise.\n"
    )
    return INTRO + "\n".join(lines) + "\n" + notes + sweep()


def sweep() -> str:
    """The table of the Fashion-MNIST sweep; empty before there is one."""
    if not SWEEP.is_file():
        return ""
    accuracies: dict[str, list[float]] = json.loads(SWEEP.read_text())["student_accuracy"]
    ranked = sorted(accuracies, key=lambda name: -statistics.mean(accuracies[name]))
    rows = []
    for name in ranked:
        values = [100 * accuracy for accuracy in accuracies[name]]
        mark = " (before)" if name in CHANGED else ""
        rows.append(
            f"| `{name}`{mark} | {statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} | {len(values)} |"
        )
    text = f"""
## All modes once, on Fashion-MNIST

A small pair for a short time: 9,000 training images, a CNN of 421,738 parameters to one of 9,122, two epochs, every
mode with its default weights. It shows that everything runs and what the default weights do in so short a time, not
which method is best: weights and schedules come from papers that train for 240 epochs. `none` is the student without a
teacher.

```bash
{COMMAND}
```

| mode | test accuracy, %, mean ± standard deviation | seeds |
| --- | --- | --- |
"""
    changed = "".join(
        f"\n`{name}` has not been measured again since it changed: {what}.\n" for name, what in CHANGED.items()
    )
    return text + "\n".join(rows) + "\n" + changed


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
