"""One run, top to bottom: teacher, baseline, student, finetune, evaluation, report."""

from __future__ import annotations

import copy
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner import checkpoints
from kd_runner.build import source_digest
from kd_runner.config import Settings
from kd_runner.evaluate import classification_metrics, cost, gap_closed, pair_metrics, predict
from kd_runner.modules import Best, Classifier, Distiller, Recipe
from kd_runner.outputs import Observed
from kd_runner.pairing import Pairing
from kd_runner.parts import Parts, assemble, rehearse
from kd_runner.report import environment, table, write_json
from kd_runner.store import trained_once
from kd_runner.training import RunLogger, fit

log = logging.getLogger(__name__)


def run(settings: Settings, folder: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that one command does, in `folder`; returns what it also writes to result.json there.

    Raises:
        SettingsError: the settings cannot work together; nothing was trained.
        RunFailed: a stage that could not be finished.
    """
    (folder / "result.json").unlink(missing_ok=True)  # an earlier run's, in a folder that was named twice
    parts = assemble(settings)
    rehearse(parts)
    (folder / "settings.json").write_text(json.dumps(settings.model_dump(mode="json", by_alias=True), indent=2) + "\n")
    logger = RunLogger(folder)
    seconds: dict[str, float | None] = dict.fromkeys(("teacher", "baseline", "student", "evaluate"))

    with timed(seconds, "teacher"):
        files = {"teacher": teacher_file(parts, folder, logger)}
    if settings.baseline:
        with timed(seconds, "baseline"):
            files["baseline"] = labels_only(parts, folder, logger, "baseline")
    with timed(seconds, "student"):
        pairing = parts.paired()
        best = distil(parts, pairing, logger)
        if settings.finetune.epochs:
            tuned = train(parts, logger, "finetune", pairing.student.network, parts.recipes["finetune"])
            best = max(best, tuned, key=lambda stage: stage.accuracy)
        files |= save_student(parts, pairing, folder, best)
    with timed(seconds, "evaluate"):
        stages = evaluate(parts, files, best)

    result = {
        "status": "completed",
        "fingerprint": parts.fingerprint(),
        "overrides": list(overrides),
        **stages,
        "seconds": seconds,
        "environment": environment(parts.device),
    }
    log_final(parts, logger, stages)
    write_json(folder / "result.json", result)
    log.info("\n%s\n\n%s", table(result, settings.finetune.epochs), folder)
    return result


@contextmanager
def timed(seconds: dict[str, float | None], stage: str) -> Iterator[None]:
    """Notes in `seconds` how long the block took."""
    started = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - started, 3)


def teacher_file(parts: Parts, folder: Path, logger: RunLogger) -> Path:
    """Bring the teachers to their final weights, given, stored or trained; returns the file of all in `folder`."""
    settings = parts.settings
    for name, own in settings.all_teachers.items():
        if own.checkpoint is not None:
            log.info("%-9s taken from %s", name, own.checkpoint)
            continue
        path = labels_only(parts, folder, logger, name)
        if len(parts.teachers) == 1:
            return path
    path = folder / "teacher.safetensors"
    path.unlink(missing_ok=True)
    checkpoints.save(path, parts.teacher.state_dict(), parts.describe(parts.teacher_node()))
    return path


def labels_only(parts: Parts, folder: Path, logger: RunLogger, stage: str) -> Path:
    """The file in `folder` of a network trained on labels, trained now if the store does not have it.

    Args:
        stage: A teacher's name, or 'baseline'.
    """
    settings = parts.settings
    role = "student" if stage == "baseline" else stage
    recipe = parts.recipes[role]
    network = copy.deepcopy(parts.student) if stage == "baseline" else parts.teachers[stage]
    own = settings.student if stage == "baseline" else settings.all_teachers[stage]
    info = parts.describe(own.node)
    made_of = info | {
        "network": own.node,
        "source": source_digest(own.node, role, settings.trust),
        "role": role,  # it decides the seeds
        "optimizer": settings.for_stage(own.optimizer, "optimizer"),
        "scheduler": settings.for_stage(own.scheduler, "scheduler"),
        "label_smoothing": recipe.label_smoothing,
        "epochs": recipe.epochs,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "precision": settings.trainer.precision,
        "channels_last": settings.trainer.channels_last,
        "compile": settings.trainer.compile,
        "device": parts.device.type,
        "deterministic": settings.trainer.deterministic,
        "data": parts.splits.training_fingerprint,
        "augmentation": asdict(parts.view.augmentation),
    }

    def trained() -> nn.Module:
        train(parts, logger, stage, network, recipe)
        return network

    stored = trained_once(Path(settings.store).expanduser(), stage, made_of, info, trained)
    network.load_state_dict(stored.state)
    return kept(folder / f"{stage}.safetensors", stored.path)


def train(parts: Parts, logger: RunLogger, stage: str, network: nn.Module, recipe: Recipe) -> Best:
    """Train `network` on labels alone; returns its best epoch on the validation split."""
    return fitted(parts, logger, Classifier(stage, Observed(network), parts.training_batches(recipe), recipe))


def distil(parts: Parts, pairing: Pairing, logger: RunLogger) -> Best:
    """Train the student on labels and on its teacher; returns its best epoch on the validation split."""
    if pairing.node != parts.settings.student.node:
        log.info(
            "note      the student that is saved has %s parameters: it keeps what its mode needs to predict",
            f"{sum(parameter.numel() for parameter in pairing.student.network.parameters()):,}",
        )
    best = fitted(parts, logger, distiller(parts, pairing))
    pairing.student.release()
    return best


def distiller(parts: Parts, pairing: Pairing) -> Distiller:
    """The module that trains the student on labels and on its teacher."""
    recipe = parts.recipes["student"]
    strong = any(mode.needs.strong_view for mode in pairing.modes if mode.weight > 0)
    return Distiller(
        pairing.student,
        pairing.teacher,
        pairing.modes,
        parts.settings.distillation.label_weight,
        parts.temperature,
        parts.training_batches(recipe, strong),
        recipe,
    )


def fitted(parts: Parts, logger: RunLogger, module: Classifier) -> Best:
    """Fit `module` and return its best epoch."""
    fit(module, parts.plain_batches("val"), parts.settings.trainer, logger)
    assert module.best is not None
    return module.best


def save_student(parts: Parts, pairing: Pairing, folder: Path, best: Best) -> dict[str, Path]:
    """The files of the student after its last epoch and after its best."""
    info = parts.describe(pairing.node)
    files = {"student": folder / "student_last.safetensors", "best": folder / "student_best.safetensors"}
    checkpoints.save(files["student"], pairing.student.network.state_dict(), info)
    checkpoints.save(files["best"], best.state, info)
    return files


def evaluate(parts: Parts, files: dict[str, Path], best: Best) -> dict[str, Any]:
    """The test split, read once and with every network as it was saved: the stages' part of the result."""
    networks = {}
    for name, path in files.items():
        networks[name] = checkpoints.load(path, parts.settings.trust)[0].to(memory_format=parts.view.memory_format)
    predictions = predict(networks, parts.plain_batches("test"), parts.device)
    image = torch.zeros(1, *parts.splits.image_shape, device=parts.device)

    stages: dict[str, Any] = {"teacher": None, "baseline": None, "student": None}
    for stage in [stage for stage in stages if stage in files]:
        stages[stage] = {
            **classification_metrics(predictions.logits[stage], predictions.labels),
            **cost(networks[stage], image),
            "checkpoint": str(files[stage]),
        }
    at_best = classification_metrics(predictions.logits["best"], predictions.labels)
    stages["student"] |= {
        **pair_metrics(predictions.logits["student"], predictions.logits["teacher"]),
        "best_val": {
            "stage": best.stage,
            "epoch": best.epoch,
            "accuracy": at_best["accuracy"],
            "val_accuracy": best.accuracy,
        },
    }
    teacher, baseline, student = stages.values()
    closed = gap_closed(student["accuracy"], baseline["accuracy"], teacher["accuracy"]) if baseline else None
    return {**stages, "gap_closed": closed}


def kept(path: Path, source: Path) -> Path:
    """`source` under the name `path`, without a second copy where the file system can do that."""
    path.unlink(missing_ok=True)
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
    return path


def log_final(parts: Parts, logger: RunLogger, stages: dict[str, Any]) -> None:
    """The test metrics as TensorBoard scalars, at the last epoch of their stage."""
    tags = {"accuracy": "test_accuracy", "nll": "test_loss", "agreement": "test_agreement"}
    for stage in ("teacher", "baseline", "student"):
        numbers = stages[stage] or {}
        metrics = {f"{stage}/{tag}": numbers[name] for name, tag in tags.items() if name in numbers}
        logger.log_metrics(metrics, parts.recipes["teacher" if stage == "teacher" else "student"].epochs)
    logger.experiment.close()
