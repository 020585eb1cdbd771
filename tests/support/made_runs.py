"""Folders of runs whose predictions are made up here and measured by the real functions, with any number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.datasets.splits import Split
from kd_runner.evaluation import analysis
from kd_runner.evaluation.metrics import classification_metrics, gap_closed, pack_bits, pair_metrics
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files import atomic, run_folder

# How much the label stands out in a network's logits: the more, the more images it is right on.
STRENGTH = {"teacher": 4.0, "baseline": 2.5, "student": 3.0}
HARD_NAMES = (
    "<script>alert('x')</script>",
    'a "quoted" name',
    "it's & that",
    "🦊 fox 👨‍👩‍👧",
    "חתול בית",
    "a" * 200,
    "a name of many words that goes on and on until nobody reads it any more",
    "{{ 7 * 7 }}",
    "ant,bee|cat",
    "",
    " ",
    "猫の名前はとても長い",
)


def class_names(count: int, hard: bool = False) -> list[str]:
    """The names of that many classes; `hard`: the first are those that break pages."""
    names = list(HARD_NAMES[:count]) if hard else []
    return names + [f"class{number:03d}" for number in range(len(names), count)]


def logits_of(labels: Tensor, classes: int, strength: float, seed: int) -> Tensor:
    """float32 [N, K] in which the label stands out by `strength`."""
    noise = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(seed))
    return noise + strength * F.one_hot(labels, classes)


def made_analysis(
    names: Sequence[str], per_class: int = 3, untested: Sequence[int] = (), always: int | None = None
) -> tuple[dict[str, Any], Predictions]:
    """What a run would write to analysis.json, and the predictions that it is made from.

    Args:
        per_class: Test images of a class.
        untested: Classes that have none.
        always: The class that the student always predicts.
    """
    count = len(names)
    tested = torch.tensor([number for number in range(count) if number not in untested])
    labels = tested.repeat(per_class)
    logits = {
        role: logits_of(labels, count, strength, seed) for seed, (role, strength) in enumerate(STRENGTH.items(), 1)
    }
    if always is not None:
        logits["student"][:, always] += 50
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(labels), 3, 16, 16), generator=generator).to(torch.uint8)
    images = Split(pixels, labels)
    indices = analysis.spread(len(labels), analysis.EXAMPLES)
    taught = analysis.soft_targets(logits["teacher"][indices], labels[indices], indices, images, 4.0)
    test = Predictions(logits, labels)
    seen = analysis.analysis(test, test, images, names, taught)
    epochs = [{"val_accuracy": 0.1 * epoch, "val_agreement": 0.5, "val_kl_to_teacher": 1.0} for epoch in (1, 2, 3)]
    return seen | {"epochs": {"teacher": epochs, "baseline": epochs, "student": epochs}}, test


def made_result(test: Predictions, **changes: Any) -> dict[str, Any]:
    """The result.json of a run with those predictions."""
    stages: dict[str, Any] = {}
    for role, logits in test.logits.items():
        stages[role] = {
            **classification_metrics(logits, test.labels),
            "parameters": 53098 if role == "teacher" else 1922,
            "macs": 347392 if role == "teacher" else 23680,
            "images_seen": 1132,
            "correct": pack_bits(logits.argmax(1) == test.labels) | {"of": "edd42e521f6a3638"},
        }
    accuracies = {role: stage["accuracy"] for role, stage in stages.items()}
    stages["student"] |= pair_metrics(test.logits["student"], test.logits["teacher"])
    best = {"stage": "student", "epoch": 2, "accuracy": accuracies["student"], "val_accuracy": 0.4}
    stages["student"] |= {"best_val": best, "val_accuracies": [0.2, 0.4, 0.3]}
    return {
        "status": "completed",
        "fingerprint": "21be5d5254053585",
        "overrides": ["student.epochs=3"],
        "seed": 0,
        "data_seed": 0,
        **stages,
        "gap_closed": gap_closed(**accuracies),
        "notes": [],
        "seconds": {"teacher": 1.0, "baseline": 2.0, "student": 3.0, "evaluate": 0.1},
        "environment": {"python": "3.11.7", "torch": "2.14.1", "device": "cpu", "kd_runner": "0.1.0", "git": None},
        **changes,
    }


def made_run(folder: Path, names: Sequence[str], changes: dict[str, Any] | None = None, **kinds: Any) -> Path:
    """A folder with the files of a completed run; `kinds` as in `made_analysis`."""
    seen, test = made_analysis(names, **kinds)
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_json(folder / run_folder.ANALYSIS, seen, indent=None)
    atomic.write_json(folder / "result.json", made_result(test, **(changes or {})))
    atomic.write_json(folder / "settings.json", {"seed": 0, "finetune": {"epochs": 0}, "student": {"epochs": 3}})
    return folder
