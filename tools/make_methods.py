"""Writes docs/methods.md from the modes' code and YAML and from what was measured: python tools/make_methods.py."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import make_results
import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "methods.md"
COSTS = ROOT / "benchmarks" / "results" / "mode_costs.json"
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
    gained = gains()
    lines = [
        "| mode | what it is | paper | needs | weight | label_weight | step, of soft | gain on few digits (p) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, node in modes().items():
        target, docstring = target_of(node)
        first = docstring.split("\n\n")[0].rstrip(".")
        cost = f"{costs[name]:.2f}" if name in costs else "not measured"
        cells = [f"`{name}`", first, paper_of(docstring), needs_of(target)]
        lines.append(
            "| "
            + " | ".join([*cells, f"{node['weight']:g}", f"{node['label_weight']:g}", cost, gained.get(name, "")])
            + " |"
        )
    notes = (
        "\nStep, of soft: median seconds of a training step over that of `soft`, side by side "
        "(`python benchmarks/mode_costs.py`, CNN to CNN on Fashion-MNIST, two CPU cores). Two runs of it differed by "
        "up to a quarter, `none` and `reviewkd` by half. `ab` and `fsp` are measured while they initialise.\n"
        "\nGain on few digits: points over the same student without a teacher, with the weights of this table, over "
        "ten seeds, and p with Holm's correction, from the first table of [results.md](results.md), which says how it "
        "was measured and has other pairs, with weights, temperatures and learning rates that were searched.\n"
    )
    return INTRO + "\n".join(lines) + "\n" + notes


def gains() -> dict[str, str]:
    """The gain of every mode in the first table of docs/results.md, with its corrected p, as a cell."""
    table = make_results.rows([line for line in make_results.read() if line["pair"] == "digits_default"])
    cells = {row.mode: (row.gain, row.corrected) for row in table if row.mode != "none"}
    return {mode: f"{gain:+.2f}" + ("" if p is None else f" ({p:.2g})") for mode, (gain, p) in cells.items()}


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
