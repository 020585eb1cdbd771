"""The student's stage: distilled, and saved."""

from __future__ import annotations

import logging
from pathlib import Path

from kd_runner.networks import checkpoints
from kd_runner.networks.records import validation_record
from kd_runner.runs.labels_only import fit_to_best
from kd_runner.runs.parts import Parts
from kd_runner.runs.running import RunState
from kd_runner.runs.teacher_student import Pairing
from kd_runner.training.classifier import Best
from kd_runner.training.distiller import Distiller
from kd_runner.training.mode import strong_view

log = logging.getLogger(__name__)


def distil(parts: Parts, pairing: Pairing, running: RunState) -> Best:
    """Train the student on labels and on its teacher; returns its best epoch on the validation split."""
    if pairing.node != parts.settings.student.node:
        log.info(
            "note      the student that is saved has %s parameters: it keeps what its mode needs to predict",
            f"{sum(parameter.numel() for parameter in pairing.student.network.parameters()):,}",
        )
    best = fit_to_best(parts, running, distiller(parts, pairing), running.progress("student"))
    pairing.student.release()
    return best


def distiller(parts: Parts, pairing: Pairing) -> Distiller:
    """The module that trains the student on labels and on its teacher."""
    recipe = parts.recipes["student"]
    strong = strong_view(pairing.modes)
    return Distiller(
        pairing.student,
        pairing.teacher,
        pairing.modes,
        parts.settings.distillation.label_weight,
        parts.temperature,
        parts.training_batches(recipe, strong),
        recipe,
    )


def save_student(parts: Parts, pairing: Pairing, running: RunState, best: Best) -> dict[str, Path]:
    """The files of the student after its last epoch and after its best."""
    folder, info, images = running.folder, parts.describe(pairing.node), len(parts.splits.val)
    files = {"student": folder / "student_last.safetensors", "best": folder / "student_best.safetensors"}
    epochs = running.epochs.get("finetune") or running.epochs["student"]
    checkpoints.save(files["student"], pairing.student.network.state_dict(), info | validation_record(epochs, images))
    record = validation_record([{"val_accuracy": best.accuracy}], images)
    checkpoints.save(files["best"], best.state, info | record)
    return files
