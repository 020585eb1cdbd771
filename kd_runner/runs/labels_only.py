"""Teachers and baselines: networks trained on labels alone, once."""

from __future__ import annotations

import copy
import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from kd_runner.config.build import source_digest
from kd_runner.networks import checkpoints
from kd_runner.networks.observed import Observed
from kd_runner.networks.records import validation_record
from kd_runner.runs.judgement import ENSEMBLE, judge_ensemble, judge_given, judge_trained, note_flat_loss
from kd_runner.runs.parts import Parts
from kd_runner.runs.running import RunState
from kd_runner.store.entries import trained_once
from kd_runner.training.classifier import Best, Classifier
from kd_runner.training.fit import fit
from kd_runner.training.recipe import Recipe
from kd_runner.training.resume_state import ResumeState

log = logging.getLogger(__name__)


def teacher_file(parts: Parts, running: RunState) -> Path:
    """Bring the teachers to their final weights, given, stored or trained; returns the file of all in the folder.

    Every teacher is judged as soon as it has them, given ones before others train, and so is their mean.
    """
    settings, judgements = parts.settings, running.judgements
    for name, own in sorted(settings.all_teachers.items(), key=lambda teacher: teacher[1].checkpoint is None):
        network = parts.teachers[name]
        if own.checkpoint is not None:
            log.info("%-9s taken from %s", name, own.checkpoint)
            judgements[name] = judge_given(parts, name, network, Path(own.checkpoint).expanduser())
            continue
        path = train_or_load(parts, running, name)
        judgements[name] = judge_trained(parts, name, network, running.epochs[name])
        if len(parts.teachers) == 1:
            return path
    if len(parts.teachers) > 1:
        judgements[ENSEMBLE] = judge_ensemble(parts)
    accuracy = judgements[ENSEMBLE if len(parts.teachers) > 1 else "teacher"].accuracy
    path = running.folder / "teacher.safetensors"
    path.unlink(missing_ok=True)
    record = validation_record([{"val_accuracy": accuracy}], len(parts.splits.val))
    checkpoints.save(path, parts.teacher.state_dict(), parts.describe(parts.teacher_node()) | record)
    return path


def train_or_load(parts: Parts, running: RunState, stage: str) -> Path:
    """The file in the run's folder of a network trained on labels, trained now if the store does not have it.

    Args:
        stage: A teacher's name, or 'baseline'.
    """
    role = "student" if stage == "baseline" else stage
    recipe = parts.recipes[role]
    network = copy.deepcopy(parts.student) if stage == "baseline" else parts.teachers[stage]
    node = (parts.settings.student if stage == "baseline" else parts.settings.all_teachers[stage]).node

    def is_trained(progress: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
        train(parts, running, stage, network, recipe, progress)
        return network, running.epochs[stage]

    root = Path(parts.settings.store).expanduser()
    info = parts.describe(node) | {"val_images": len(parts.splits.val)}
    stored = trained_once(root, stage, ingredients(parts, stage), info, is_trained)
    network.load_state_dict(stored.state)
    if stored.reused:
        running.logger.retell(stage, stored.epochs)
        running.epochs[stage] = stored.epochs
    note_flat_loss(stage, stored.epochs, "train_loss", f"{parts.settings.rate_key(role)}, {role}.epochs")
    return link_or_copy(running.folder / f"{stage}.safetensors", stored.path)


def ingredients(parts: Parts, stage: str) -> dict[str, Any]:
    """Plain data: everything that the weights of a network trained on labels depend on; `stage` as in `labels_only`."""
    settings = parts.settings
    role = "student" if stage == "baseline" else stage
    recipe = parts.recipes[role]
    own = settings.student if stage == "baseline" else settings.all_teachers[stage]
    how = settings.for_stage(own.optimizer, "optimizer"), settings.for_stage(own.scheduler, "scheduler")
    return parts.describe(own.node) | {
        "network": own.node,
        # Where they are measured, the data say them. Their last bits depend on the number of threads.
        "mean": settings.dataset.mean,
        "std": settings.dataset.std,
        "source": [source_digest(each, role, settings.trust) for each in (own.node, *how)],
        "role": role,  # it decides the seeds
        "optimizer": how[0],
        "scheduler": how[1],
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


def train(
    parts: Parts, running: RunState, stage: str, network: nn.Module, recipe: Recipe, progress: ResumeState
) -> Best:
    """Train `network` on labels alone; returns its best epoch on the validation split."""
    module = Classifier(stage, Observed(network), parts.training_batches(recipe), recipe)
    return fit_to_best(parts, running, module, progress)


def fit_to_best(parts: Parts, running: RunState, module: Classifier, progress: ResumeState) -> Best:
    """Fit `module`, from where an interrupted run left it, and return its best epoch."""
    fit(module, parts.plain_batches("val"), parts.settings.trainer, running.logger, progress)
    running.earlier += module.seconds_before
    running.epochs[module.stage] = module.history
    assert module.best is not None
    return module.best


def link_or_copy(path: Path, source: Path) -> Path:
    """`source` under the name `path`, without a second copy where the file system can do that."""
    path.unlink(missing_ok=True)
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
    return path
