"""From settings to the parts of a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd_runner.config.build import build, build_partial
from kd_runner.config.settings import (
    DatasetSettings,
    DistillationSettings,
    ExtraTeacherSettings,
    Node,
    Settings,
    TeacherSettings,
)
from kd_runner.datasets import survey
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError, one_line
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.view import View
from kd_runner.networks import checkpoints
from kd_runner.networks.foreign_weights import weights_of
from kd_runner.networks.published_weights import renamed_entries
from kd_runner.notes import note
from kd_runner.outputs import needs_of
from kd_runner.randomness import derived_seed, seeded_generator
from kd_runner.runs.parts import (
    ROUNDING,
    Parts,
    _check_trainer,
    _note_other_settings,
    _prepared_device,
    _round_values,
    _unknown_origin,
    read_data,
)
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe

log = logging.getLogger(__name__)


def assemble(settings: Settings, splits: Splits | None = None) -> Parts:
    """Build every part.

    Args:
        splits: The data set, where it has been read before.

    Raises:
        SettingsError: a part that cannot be built.
    """
    _check_trainer(settings.trainer)
    _check_store(settings.store)
    if settings.trainer.threads:
        torch.set_num_threads(settings.trainer.threads)
    recipes = {
        **{name: _recipe(settings, name, own) for name, own in settings.all_teachers.items()},
        "student": _recipe(settings, "student", settings.student),
        "finetune": _recipe(settings, "finetune", settings.finetune),
    }
    temperature = build(settings.temperature, "temperature", settings.trust)
    modes = _modes(settings)

    splits = read_data(settings) if splits is None else splits
    name = settings.dataset.node.get("name", settings.dataset.target.rpartition(".")[2])
    log.info("data      %s: %s", name, survey.line(splits))
    survey.write_notes(splits, splits.copies)
    device = _prepared_device(settings.trainer)
    view = _view(settings.dataset, splits, settings.trainer.channels_last)
    teachers = {}
    for name, own in settings.all_teachers.items():
        teachers[name] = _network(settings, name, own.node, splits)
        if own.checkpoint is not None:
            _load_given(teachers[name], name, own, settings.dataset, splits, view)
    student = _network(settings, "student", settings.student.node, splits)
    return Parts(settings, splits, view, device, teachers, student, recipes, modes, temperature)


def _check_store(store: str) -> None:
    """Refuse a store that could not be written to; it is made when there is something to store."""
    place = Path(store).expanduser()
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"store: must be a folder that can be written, got {store} ({error})") from error
    finally:
        for folder in missing:
            with suppress(OSError):  # another job may use it already
                folder.rmdir()


def _recipe(settings: Settings, stage: str, own: Any) -> Recipe:
    # A message names the key that the person can change: the stage's where it has one, else the shared one.
    optimizer_key = f"{stage}.optimizer" if own.optimizer else "optimizer"
    make = build_partial(settings.for_stage(own.optimizer, "optimizer"), optimizer_key, "params", settings.trust)
    try:
        parameter = nn.Parameter(torch.zeros(1))
        parameter.grad = torch.zeros(1)
        made = make([parameter])
        if isinstance(made, torch.optim.Optimizer):
            made.step()
    except Exception as error:  # anyone's optimizer
        raise SettingsError(f"{optimizer_key}: {one_line(error)}") from error
    if not isinstance(made, torch.optim.Optimizer):
        raise SettingsError(f"{optimizer_key}: must be an optimizer, got {type(made).__name__}")
    if hasattr(made, "keep") and settings.trainer.precision == "16-mixed":
        raise SettingsError("trainer.precision: must be 32 or bf16-mixed with this optimizer, got 16-mixed")
    scheduler_key = f"{stage}.scheduler" if own.scheduler else "scheduler"
    schedule = build(settings.for_stage(own.scheduler, "scheduler"), scheduler_key, settings.trust)
    trainer = settings.trainer
    seed = derived_seed(settings.seed, stage)
    smoothing = settings.teacher.label_smoothing if stage.startswith("teacher") else 0.0
    return Recipe(make, schedule, own.epochs, seed, trainer.precision, trainer.compile, trainer.log_every, smoothing)


def _modes(settings: Settings) -> tuple[Mode, ...]:
    named = {"distillation": settings.distillation, **{f"plus.{name}": node for name, node in settings.plus.items()}}
    with seeded_generator(settings.seed, "distillation", "weights"):
        modes = tuple(_mode(key, part, settings.trust) for key, part in named.items())
    if settings.distillation.label_weight == 0 and not any(mode.weight for mode in modes):
        raise SettingsError("distillation.weight: must be above 0 where label_weight is 0, got 0: nothing would train")
    return modes


def _mode(key: str, own: DistillationSettings, trust: list[str]) -> Mode:
    loss = build(own.node, key, trust)
    if own.standardize and not needs_of(loss).teacher_logits:
        raise SettingsError(f"{key}.standardize: has no effect, {own.target} does not compare logits, got true")
    return Mode(
        key,
        loss,
        own.weight,
        tuple(own.student_layers),
        tuple(own.teacher_layers),
        own.warmup,
        own.init_share,
        own.standardize,
        own.adapter_weight_decay,
    )


def _network(settings: Settings, role: str, node: Node, splits: Splits) -> nn.Module:
    # Seeded by role: another student, mode or data order leaves the teacher's first weights as they are.
    with seeded_generator(settings.seed, role, "weights"):
        network = build(node, role, settings.trust, num_classes=splits.num_classes, image_shape=splits.image_shape)
    if isinstance(network, nn.Module) and settings.trainer.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if not isinstance(network, nn.Module):
        raise SettingsError(f"{role}: {node['_target_']} must return an nn.Module, got {type(network).__name__}")
    return network


def _load_given(
    teacher: nn.Module,
    key: str,
    own: TeacherSettings | ExtraTeacherSettings,
    data: DatasetSettings,
    splits: Splits,
    view: View,
) -> None:
    """Load the weights in a teacher's `checkpoint` into it, and note what the file leaves open."""
    path = Path(str(own.checkpoint)).expanduser()
    setting = f"{key}.checkpoint"
    try:
        entries, info = checkpoints.entries_of(path)
        if info is not None:
            _check_given(info, own, splits, view, path)
    except SettingsError as error:
        raise SettingsError(f"{setting}: {error}") from error
    if own.checkpoint_format is not None:  # both formats have the same names
        entries = renamed_entries(entries)
    weights = weights_of(teacher, entries, own.checkpoint_key, setting, str(path), bare=info is not None)
    try:
        teacher.load_state_dict(weights.state)
    except RuntimeError as error:  # what is no tensor in a network of someone's own
        raise SettingsError(f"{setting}: {path} cannot be loaded: {one_line(error)}") from error
    if info is None:
        note("teacher", _unknown_origin(path, data, splits, view))
        if hasattr(teacher, "fitted"):
            note("teacher", f"{path}: its weights are put into a network {teacher.fitted}, not into the published one")
    else:
        _note_other_settings(info, own, path)
    for text in weights.notes:
        note("teacher", text)


def _check_given(
    info: Mapping[str, Any], own: TeacherSettings | ExtraTeacherSettings, splits: Splits, view: View, path: Path
) -> None:
    """Refuse a teacher that kd-runner trained on images unlike these: it would answer, and be wrong.

    Smaller differences are noted.
    """
    for name in ("checkpoint_format", "checkpoint_key"):
        if getattr(own, name) is not None:
            raise SettingsError(f"{path} was saved by kd-runner: {name} must be null")
    checkpoints.check_info(info, path)
    here = {"image_shape": list(splits.image_shape), "classes": list(splits.classes)}
    for name, value in here.items():
        if info[name] != value:
            raise SettingsError(f"{path} was trained with {name} {info[name]}, this data set has {value}")
    for name, values in (("mean", view.mean.tolist()), ("std", view.std.tolist())):
        difference = max(abs(before - now) for before, now in zip(info[name], values, strict=True))
        if difference > 0.05:
            raise SettingsError(f"{path} was trained with dataset.{name}={info[name]}, this run has {values}")
        if difference > ROUNDING:
            note(
                "teacher",
                f"{path} was trained with dataset.{name}={_round_values(info[name])}, and is given images with "
                f"{_round_values(values)}, as this run has it",
            )


def _view(data: DatasetSettings, splits: Splits, channels_last: bool) -> View:
    channels, height, width = splits.image_shape
    for name, values in (("mean", data.mean), ("std", data.std)):
        if values is not None and len(values) not in (1, channels):
            raise SettingsError(f"dataset.{name}: must be one number or {channels}, one a channel, got {values}")
    if data.crop_padding > height:
        raise SettingsError(f"dataset.crop_padding: must be at most the height, {height}, got {data.crop_padding}")
    if data.cutout > max(height, width):
        raise SettingsError(
            f"dataset.cutout: must be at most the longer side, {max(height, width)}, got {data.cutout}: it would blank "
            "images"
        )
    mean, std = (torch.tensor(given or [0.0]).expand(channels) for given in (data.mean, data.std))
    if data.mean is None or data.std is None:
        # A thousand images tell a channel's mean to about a percent, more than normalisation needs.
        try:
            sample = splits.train.sample(1000).contiguous()  # in one order of memory, so that sums are always the same
        except ValueError as error:
            raise SettingsError(f"dataset: {error}") from error
        pixels = sample.float().div(255).transpose(0, 1).flatten(1)
        mean = pixels.mean(1) if data.mean is None else mean
        std = pixels.std(1).clamp_min(1e-3) if data.std is None else std
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    augmentation = Augmentation(**{each.name: getattr(data, each.name) for each in fields(Augmentation)})
    return View(mean.float(), std.float(), augmentation, memory_format)
