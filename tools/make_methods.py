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
from evidence_trials import default_weights, weight_of

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "methods.md"
COSTS = ROOT / "benchmarks" / "results" / "mode_costs.json"
INTRO = """# Distillation modes

Made by `python tools/make_methods.py` from the code, the YAML files and the measured numbers; the tests check that it
is up to date. The loss is `label_weight` · cross-entropy with the labels + `weight` · what the mode measures. Several
modes add up: `'distillation=[dkd,at]' plus.at.weight=500`. Needs: L logits, F features (by hooks on layers that are
found by themselves or named by `student.layers`, `teacher.layers`), M modules of its own that train along, B memory or
indices of images, V a strongly augmented second view, Y labels, P peers in a teacher's place, – no teacher.

Weights are those of the papers or of their code, for networks of the size of a ResNet. On the digits, a mode whose
weight is free has another where another was better on validation images ([results.md](results.md), `digits_weights`); a
`distillation.weight` that is typed counts in any case. A data set of your own may have such weights, too:
`default_weights: {at: 30}` in its file.

At its defaults, `hybrid` is the loss of `soft` at its own: 0.9 of the soft targets and 0.1 of the labels, which are its
`soft_share` and the rest, and `weight` and `label_weight` of `soft`. Both give the same student; another `soft_share`,
`hard_source` or `form` makes `hybrid` a mode of its own.

"""


DIFFERENCES = """
## Where a mode is not what its authors' code does

- **Layers.** A mode is given the last layer of each size of the maps. For ResNets these are the stages of
  RepDistiller and of the code of SimKD. For MobileNetV2 they are `conv1`, `stages.2`, `stages.4`, `conv2`, where
  those have `stages.1`, `stages.2`, `stages.4`, `stages.6`; for ShuffleNetV2 `conv1`, `layer1`, `layer2`, `conv2`,
  where those have `layer1`, `layer2`, `layer3`; for wide ResNets the last is `relu`, behind the last batch norm, and
  not `layer3`. So `sp`, `ft`, `simkd` and the other modes of the last maps (`ickd`, `mgd`, `cwd`) see the two light
  networks behind their last 1x1 convolution, with 1,280 or 1,024 channels, and not in front of it. Theirs:
  `distillation.student_layers=[stages.6]`, or `[layer3]`, and `teacher_layers` for such a teacher. `catkd` and `sdd`
  need the maps behind it, as classes are read from these.
- `srrl`: the connector sees maps, which are averaged behind it, as in its authors' code; the code of SimKD averages
  first. On MobileNetV2 and ShuffleNetV2 these are the maps behind the last convolution, whose average is the
  student's embedding.
- `fsp`: the first flow is that of the first stage, from what the first convolution gives to the stage's end, as in
  RepDistiller; a network whose first stage is one convolution has none. Larger maps are max-pooled, as in the paper;
  RepDistiller averages them, and takes equal widths alone.
- `reviewkd`: as in its authors' code, a fusion is resized to the teacher's layer, and passed on like this to the
  shallower layers.
- `ofa`: each exit is one depthwise separable convolution that halves the maps, an average and a dense layer. The
  authors have a chain of pairs of such convolutions, one pair for each stage that follows, which widens to the larger
  of the two networks' widths, a 1x1 convolution behind the last stage, and transformer blocks in the exits of
  transformers.
- `kdsvd`: where widths differ, a 1x1 convolution brings the student's layer to the teacher's, as for `fsp`. Signs of
  the teacher's singular vectors are fixed by their sums. The authors have no weight: the gradient of this loss is
  kept no longer than that of the labels. On a GPU, each step waits for the decomposition, which is slow:
  a step took 61 times as long as one of `soft` on an H100.
- `pad`: the paper's text was not at hand; the loss is that of two public implementations, which agree. Its weight is
  our choice, and so are those of `cwd`, `kdsvd`, `normkd` and `sdd`.
- `deit`: the mean of both heads is what is evaluated, as there. In the soft variant, the divergence is a mean over
  the images, as in the paper; the authors' code also divides by the number of classes.
- `dml`, `kdcl`: of students without a teacher ([training.md](training.md#peers)). `dml` has the paper's temperature and
  weights, and updates the students in turn, as its algorithm does. The text of `kdcl`'s paper was not at hand: its
  temperature of 2 and its weight are our choice, `naive` and `linear` choose for each image, and `general`, whose
  weights come from errors on validation images, is not here.
- DIST+ (Huang et al. 2025, "DIST+: Knowledge Distillation From a Stronger Adaptive Teacher", TPAMI 47(7)) is not
  here. Its summary speaks of a teacher that is adapted to its student, and of correlations of features; the formulas
  could not be read. `dist` is what it builds on.
"""


def modes() -> dict[str, dict[str, Any]]:
    """The YAML of every mode, by its name, with the published weight in place of the expression for it."""
    files = sorted((ROOT / "conf" / "distillation").glob("*.yaml"))
    return {path.stem: {**yaml.safe_load(path.read_text()), "weight": weight_of(path.stem)} for path in files}


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
        "M": (hasattr(target, "adapt") and hasattr(target, "parameters") and getattr(target, "has_adapters", True))
        or hasattr(target, "deployed"),
        "B": needs.indices,
        "V": needs.strong_view,
        "Y": needs.labels,
        "P": needs.peers,
        "–": not needs.uses_teacher and needs.student is None,
    }
    return " ".join(letter for letter, wanted in letters.items() if wanted)


def page() -> str:
    """The text of docs/methods.md."""
    costs = json.loads(COSTS.read_text())["ratios"] if COSTS.is_file() else {}
    gained, of_digits = gains(), default_weights("digits")
    lines = [
        "| mode | what it is | paper | needs | weight | label_weight | step, of soft | gain on few digits (p) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, node in modes().items():
        target, docstring = target_of(node)
        first = docstring.split("\n\n")[0].rstrip(".")
        cost = f"{costs[name]:.2f}" if name in costs else "not measured"
        cells = [f"`{name}`", first, paper_of(docstring), needs_of(target)]
        weight = f"{node['weight']:g}" + (f", digits {of_digits[name]:g}" if name in of_digits else "")
        lines.append(
            "| " + " | ".join([*cells, weight, f"{node['label_weight']:g}", cost, gained.get(name, "")]) + " |"
        )
    notes = (
        "\nStep, of soft: median seconds of a training step over that of `soft`, side by side "
        "(`python benchmarks/mode_costs.py`, CNN to CNN on Fashion-MNIST, two CPU cores). Two runs of it differed by "
        "up to a quarter, `none` and `reviewkd` by half. `ab` and `fsp` are measured while they initialise, "
        "`catkd` and `sdd` with `teacher.hidden=[]` and `deit` with `student=vit`, which their `soft` has, too. Modes "
        "that the JSON file names under `later` are measured in seconds of the CPU, on one thread, beside other work.\n"
        "\nGain on few digits: points over the same student without a teacher, with the weights of this table, over "
        "ten seeds, and p with Holm's correction, from the first table of [results.md](results.md), which says how it "
        "was measured and has other pairs, with weights, temperatures and learning rates that were searched.\n"
    )
    return INTRO + "\n".join(lines) + "\n" + notes + DIFFERENCES


def gains() -> dict[str, str]:
    """The gain of every mode in the first table of docs/results.md, with its corrected p, as a cell."""
    lines, alike = make_results.distinct([line for line in make_results.read() if line["pair"] == "digits_default"])
    cells = {row.mode: (row.gain, row.corrected) for row in make_results.rows(lines) if row.mode != "none"}
    gained = {mode: f"{gain:+.2f}" + ("" if p is None else f" ({p:.2g})") for mode, (gain, p) in cells.items()}
    return gained | {mode: f"as `{first}`" for first, others in alike.items() for mode in others}


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
