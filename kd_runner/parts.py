"""Everything a run is made of, built and tried on two blank images before anything trains."""

from __future__ import annotations

import copy
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from kd_runner import checkpoints
from kd_runner.batches import Augmentation, PlainBatches, Source, TrainingBatches, View, source_of
from kd_runner.build import build, build_partial, one_line
from kd_runner.config import (
    DatasetSettings,
    DistillationSettings,
    ExtraTeacherSettings,
    Node,
    Settings,
    SettingsError,
    TeacherSettings,
    TrainerSettings,
    digest,
    dotted,
)
from kd_runner.datasets import survey
from kd_runner.datasets.splits import Split, Splits
from kd_runner.foreign_weights import weights_of
from kd_runner.gradients import Attempt, effects
from kd_runner.memory import keep_memory
from kd_runner.models.ensemble import Ensemble
from kd_runner.modules import Mode, Recipe, Schedule
from kd_runner.notes import note
from kd_runner.outputs import needs_of
from kd_runner.pairing import Pairing, noise, observed_outputs, paired
from kd_runner.published import renamed_entries
from kd_runner.randomness import derived_seed, seeded
from kd_runner.speed import slow_bfloat16
from kd_runner.temperature_probe import depends_on_temperature
from kd_runner.training import device_of

log = logging.getLogger(__name__)

ROUNDING = 1e-3  # of a mean or std between 0 and 1: a quarter of a level of 8 bits
REHEARSED = 4  # images, or as many as a batch has


@dataclass(frozen=True)
class Parts:
    """One run's data, networks (with their first weights, or the given teacher's) and ways to train them.

    Args:
        teachers: The teacher by the name 'teacher', and more of them as 'teachers.NAME'.
        recipes: Of the teachers by their names, of 'student' (the baseline's too) and of 'finetune'.
        modes: Without adapters, which `paired` makes.
        layers: The layers of student and teacher that each active mode is handed, by the modes' keys: `rehearse`
            fills it.
    """

    settings: Settings
    splits: Splits
    view: View
    device: torch.device
    teachers: Mapping[str, nn.Module]
    student: nn.Module
    recipes: Mapping[str, Recipe]
    modes: tuple[Mode, ...]
    temperature: Schedule
    layers: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _sources: dict[str, Source] = field(default_factory=dict, repr=False)

    @property
    def teacher(self) -> nn.Module:
        """The network that the student learns from: the teacher, or the mean of several."""
        if len(self.teachers) == 1:
            return self.teachers["teacher"]
        return Ensemble(self.teachers, self.teacher_weights)

    @property
    def teacher_weights(self) -> dict[str, float]:
        """By the teachers' names."""
        return {name: own.weight for name, own in self.settings.all_teachers.items()}

    def teacher_node(self) -> Node:
        """What builds `teacher`."""
        members = {name: own.node for name, own in self.settings.all_teachers.items()}
        if len(members) == 1:
            return members["teacher"]
        target = f"{Ensemble.__module__}.{Ensemble.__name__}"
        return {"_target_": target, "members": members, "weights": self.teacher_weights}

    def paired(self, copies: bool = False) -> Pairing:
        """Student and teacher with hooks and adapters; of copies, for a rehearsal."""
        teacher, student, modes = self.teacher, self.student, self.modes
        if copies:
            teacher, student = copy.deepcopy(teacher), copy.deepcopy(student)
            modes = tuple(replace(mode, loss=copy.deepcopy(mode.loss)) for mode in modes)
        return paired(self.settings, self.splits, teacher, student, modes)

    def training_batches(self, recipe: Recipe, strong: bool = False) -> TrainingBatches:
        """Batches of the training split in the order and with the augmentation of `recipe`'s seed."""
        return TrainingBatches(self.source("train"), self.view, self.settings.batch_size, recipe.seed, strong=strong)

    def plain_batches(self, split: Literal["val", "test"]) -> PlainBatches:
        """The images of a split as they are, in large batches."""
        return PlainBatches(self.source(split), self.view, self.evaluation_batch)

    def source(self, split: Literal["train", "val", "test"]) -> Source:
        """Where the images of a split are read from."""
        if split not in self._sources:
            own = self.settings.dataset
            workers = own.workers if own.workers is not None else min(8, os.cpu_count() or 1)
            self._sources[split] = source_of(getattr(self.splits, split), self.device, own.residency, workers)
        return self._sources[split]

    @property
    def evaluation_batch(self) -> int:
        """Images in a batch of evaluation: a thousand small ones, fewer large ones, which need more memory."""
        _, height, width = self.splits.image_shape
        return max(self.settings.batch_size, min(1000, 2**20 // (height * width)))

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with whatever can change the result."""
        given = [own.checkpoint for own in self.settings.all_teachers.values()]
        weights = [path and hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest() for path in given]
        return digest([self.settings.decisive(), self.splits.fingerprint, weights])[:16]

    def describe(self, node: Node) -> dict[str, Any]:
        """What `checkpoints.save` keeps beside the weights of the network that `node` builds."""
        return {
            "network": _unfetched(node),
            "num_classes": self.splits.num_classes,
            "image_shape": list(self.splits.image_shape),
            "classes": list(self.splits.classes),
            "mean": self.view.mean.tolist(),
            "std": self.view.std.tolist(),
        }


def _unfetched(node: Any) -> Any:
    # The weights are in the file: building the network again must not fetch published ones.
    if not isinstance(node, dict):
        return node
    return {name: False if name == "pretrained" else _unfetched(value) for name, value in node.items()}


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
    survey.say(splits, splits.copies)
    device = _prepared_device(settings.trainer)
    view = _view(settings.dataset, splits, settings.trainer.channels_last)
    teachers = {}
    for name, own in settings.all_teachers.items():
        teachers[name] = _network(settings, name, own.node, splits)
        if own.checkpoint is not None:
            _load_given(teachers[name], name, own, settings.dataset, splits, view)
    student = _network(settings, "student", settings.student.node, splits)
    return Parts(settings, splits, view, device, teachers, student, recipes, modes, temperature)


def _check_trainer(trainer: TrainerSettings) -> None:
    """Refuse what this machine's devices cannot do."""
    if trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise SettingsError("trainer.accelerator: must be auto or cpu on a machine without a CUDA GPU, got gpu")
    if trainer.precision == "16-mixed" and device_of(trainer).type == "cpu":
        raise SettingsError("trainer.precision: must be 32 or bf16-mixed on a CPU, got 16-mixed")


def _prepared_device(trainer: TrainerSettings) -> torch.device:
    """The device, with its memory kept between steps where the settings want that."""
    device = device_of(trainer)
    if trainer.keep_memory and device.type == "cpu" and keep_memory():
        log.info("memory    kept by the allocator between steps (trainer.keep_memory)")
    if trainer.precision == "bf16-mixed" and slow_bfloat16(device):
        log.info(
            "note      this CPU has no bfloat16 instructions: trainer.precision=bf16-mixed is slower on it than 32"
        )
    return device


def read_data(settings: Settings) -> Splits:
    """The data set that the settings name.

    Raises:
        SettingsError: it cannot be read, or not as the settings ask.
    """
    data = settings.dataset
    splits = build(data.node, "dataset", settings.trust, seed=settings.data_seed, residency=data.residency)
    if not isinstance(splits, Splits):
        raise SettingsError(f"dataset: {data.target} must return Splits, got {type(splits).__name__}")
    if data.residency == "stream" and isinstance(splits.train, Split):
        raise SettingsError("dataset.residency: must be auto, device or host for a data set in memory, got stream")
    return splits


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


def rehearse(parts: Parts) -> frozenset[str]:
    """Push a few images of noise through networks and losses. Nothing is trained or changed.

    It fills `parts.layers`, and returns the keys of the modes whose loss depends on the temperature.

    Raises:
        SettingsError: an unknown layer, a network that cannot take the images or gives other than logits
            [N, num_classes], a loss that cannot take what the networks give.
        Answer: what was asked for in place of a run.
    """
    pairing = parts.paired(copies=True)
    count = min(REHEARSED, len(parts.splits.train), parts.settings.batch_size)
    labels, images = torch.arange(count) % parts.splits.num_classes, noise(parts.splits.image_shape, count)
    with torch.no_grad():
        outputs = {role: observed_outputs(getattr(pairing, role), images) for role in ("student", "teacher")}
    if any(mode.needs.strong_view for mode in pairing.modes):
        outputs = {role: replace(given, strong=given) for role, given in outputs.items()}
    attempts = []
    for progress in (0.0, 1.0):
        student, teacher = (replace(given, progress=progress) for given in outputs.values())
        attempts.append(Attempt(student, teacher, labels, parts.temperature(progress)))
    tempered = set()
    for mode in (mode for mode in pairing.modes if mode.weight > 0):  # the others are not heard, and get no features
        _check_loss(mode, attempts[0])
        _check_effects(mode, attempts, _circumstances(parts, count))
        parts.layers[mode.key] = {"student": list(mode.student_layers), "teacher": list(mode.teacher_layers)}
        if depends_on_temperature(mode, attempts[0].student, attempts[0].teacher, labels):
            tempered.add(mode.key)
    trained = any(teacher.checkpoint is None for teacher in parts.settings.all_teachers.values())
    if parts.settings.teacher.label_smoothing and trained:
        log.info("note      a teacher trained with label smoothing usually distils worse (arXiv:1906.02629)")
    return frozenset(tempered)


def _circumstances(parts: Parts, images: int) -> str:
    """What decides beside the mode whether a loss depends on the student."""
    classes = f"with {parts.splits.num_classes} classes"
    return f"{classes} and batches of {images}" if images == parts.settings.batch_size else classes


def _check_loss(mode: Mode, attempt: Attempt) -> None:
    """Raise SettingsError where a mode gives other than one number."""
    try:
        loss = mode(attempt.student, attempt.teacher, attempt.labels, attempt.temperature)
    except Exception as error:  # anyone's loss
        raise SettingsError(f"{mode.key}: {one_line(error)}") from error
    if not isinstance(loss, torch.Tensor) or loss.dim() != 0:
        given = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise SettingsError(f"{mode.key}: must give one number for a batch, gave {given}")


def _check_effects(mode: Mode, attempts: Sequence[Attempt], circumstances: str) -> None:
    """Refuse a mode that nothing of the student's changes, and note what of a mode has no effect."""
    having = effects(mode, attempts)
    if not having.inputs:
        raise SettingsError(
            f"{mode.key}: must depend on the student's logits or features, and does not ({circumstances})"
        )
    for name in having.idle:
        note(
            "student",
            f"{mode.key}.{name}: the part of the loss that it weighs has no gradient {circumstances}; only the other "
            "parts teach the student",
        )
    for layer in mode.student_layers:
        if layer not in having.inputs:
            shape = "x".join(map(str, attempts[0].student.features[layer].shape[1:]))
            note(
                "student",
                f"{mode.key}: the student's layer {layer} ({shape}) does not change the loss {circumstances}; "
                "student.layers names others",
            )


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
    with seeded(settings.seed, "distillation", "weights"):
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
    with seeded(settings.seed, role, "weights"):
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


def _unknown_origin(path: Path, data: DatasetSettings, splits: Splits, view: View) -> str:
    """What a teacher is given whose file does not say what it was trained on."""
    measured = "measured on the training images"
    mean, std = (measured if values is None else "as set" for values in (data.mean, data.std))
    origin = mean if mean == std else f"mean {mean}, std {std}"
    classes = ", ".join(repr(name) for name in splits.classes[:3]) + (", …" if len(splits.classes) > 3 else "")
    return (
        f"{path} does not say how its images were normalised: it is given mean {_rounded(view.mean)} and std "
        f"{_rounded(view.std)}, {origin} (dataset.mean, dataset.std); its outputs are taken as {classes}"
    )


def _rounded(values: Sequence[float] | torch.Tensor) -> list[float]:
    return [round(float(value), 4) for value in values]


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
                f"{path} was trained with dataset.{name}={_rounded(info[name])}, and is given images with "
                f"{_rounded(values)}, as this run has it",
            )


def _note_other_settings(info: Mapping[str, Any], own: TeacherSettings | ExtraTeacherSettings, path: Path) -> None:
    """Say where a network was saved with settings that its weights do not show, such as the number of its poolings."""
    before, now = dict(dotted(info["network"])), dict(dotted(_unfetched(own.node)))
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        text = ", ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in changed)
        note("teacher", f"{path} was saved of a network with other settings, whose weights fit all the same: {text}")


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
