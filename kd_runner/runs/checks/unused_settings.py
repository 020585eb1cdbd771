"""Settings that a person typed and that have no effect on the run, each with the reason.

What can never have an effect is refused where the settings are checked. What has none beside the other settings of
this run is noted: in a sweep it may matter for the other jobs. Values of YAML files and of recipes were not typed, and
null asks for nothing, so neither is named. `RULES` has a line for each kind of key, `ALWAYS`
the keys that count in every run; a test holds that every setting is in one of them.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_runner.command_line.typed_words import typed_settings
from kd_runner.config.build import names_of, takes
from kd_runner.config.field_types import ASKED, ONLINE
from kd_runner.config.sections import DistillationSettings, ExtraTeacherSettings, TeacherSettings
from kd_runner.config.settings import Settings
from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.folders.archives import is_archive
from kd_runner.datasets.packed.packed_images import PackedImages
from kd_runner.distillation.crd import CRD
from kd_runner.distillation.hybrid import Hybrid
from kd_runner.files.home import with_home
from kd_runner.optimizer import DOT
from kd_runner.outputs import UNDECLARED
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.cached_outputs import is_augmented
from kd_runner.temperature import Constant
from kd_runner.training.mode import Mode, has_adapters, learns_from_teacher, without_label_loss

OF_TWO_LOSSES = f"{DOT.__module__}.{DOT.__name__}"
OF_THE_DEVICE = (
    "trainer.keep_memory",
    "trainer.graph",
    "dataset.residency",
)  # these may have an effect on another machine


@dataclass(frozen=True)
class Case:
    """A run that rules look at.

    Args:
        parts: The parts of the run.
        temperature_modes: The keys of the modes whose loss depends on the temperature.
        typed: The values of the settings that were typed, by key.
    """

    parts: Parts
    temperature_modes: frozenset[str]
    typed: Mapping[str, Any]

    @property
    def settings(self) -> Settings:
        return self.parts.settings

    @property
    def active_modes(self) -> list[Mode]:
        return [mode for mode in self.parts.modes if mode.weight > 0]

    def mode(self, key: str) -> Mode | None:
        """The mode that a key with dots belongs to."""
        return next((mode for mode in self.parts.modes if f"{key}.".startswith(f"{mode.key}.")), None)

    def has_checkpoint(self, role: str) -> bool | None:
        """True where a teacher's weights come from a file; None where '~teachers.NAME' has removed the teacher."""
        teacher = self.settings.all_teachers.get(role)
        return None if teacher is None else not teacher.is_trained

    def options(self) -> str:
        """The modes in words."""
        modes = {"distillation": self.settings.distillation, **_plus(self.settings)}
        classes = {key: mode.target.rpartition(".")[2] for key, mode in modes.items()}
        return ", ".join(
            f"{key}={self.typed[key]}" if key in self.typed else f"{key}: {name}" for key, name in classes.items()
        )


def _plus(settings: Settings) -> dict[str, DistillationSettings]:
    return {f"plus.{name}": mode for name, mode in settings.plus.items()}


def no_teacher(case: Case, key: str) -> str | None:
    return "there is no teacher, peers learn from one another" if case.settings.peers else None


def no_peers(case: Case, key: str) -> str | None:
    return None if case.settings.peers else "there are no peers"


def same_views(case: Case, key: str) -> str | None:
    is_changed = is_augmented(case.parts.data.view.augmentation) or case.typed[key] == "shared"
    return None if is_changed else "training images are not augmented, so that all peers see the same"


def replaced_peer(case: Case, key: str) -> str | None:
    return None if key.split(".")[1] in case.settings.peers else f"peers={case.typed.get('peers')} is all of them"


def other_peers(case: Case, key: str) -> str | None:
    """Defaults of a mode for the peers, which count where nothing else is said."""
    name = key.rpartition(".default_")[2]
    if key.startswith("plus."):
        return f"it is distillation.default_{name} that counts"
    value: Any = getattr(case.settings, name)
    value = len(value) + 1 if name == "peers" else value
    return None if value == case.typed[key] else f"{name} has another value"


def given_teacher(case: Case, key: str) -> str | None:
    """Weights from a file are not trained. More teachers take from the first what their own settings lack."""
    role, name = re.match(r"(teacher|teachers\.[^.]+)\.(\w+)", key).groups()  # type: ignore[union-attr]
    trained = {role for role, teacher in case.settings.all_teachers.items() if teacher.is_trained}
    if role == "teacher":
        heirs = {
            f"teachers.{n}" for n, teacher in case.settings.teachers.items() if getattr(teacher, name, None) is None
        }
        return None if trained & {role, *heirs} else f"{_giver(case, role)}, no teacher is trained"
    return _giver(case, role) if case.has_checkpoint(role) else None


def _giver(case: Case, role: str) -> str:
    teacher = case.settings.all_teachers[role]
    return f"{role}.checkpoint gives the weights" if teacher.head == "trained" else f"{role}.head is {teacher.head}"


def replaced_weights(case: Case, key: str) -> str | None:
    role = key.rpartition(".")[0]
    teacher = case.settings.all_teachers.get(role)
    replaced = teacher is not None and teacher.checkpoint is not None and case.typed[key] is not False
    return f"{role}.checkpoint gives the weights" if replaced else None


def single_teacher(case: Case, key: str) -> str | None:
    return None if case.settings.teachers else "there is one teacher"


def no_finetuning(case: Case, key: str) -> str | None:
    return None if case.settings.finetune.epochs else "finetune.epochs is 0"


def nothing_stops(case: Case, key: str) -> str | None:
    """Settings of a rule that no stage has."""
    return None if any(recipe.stopping for recipe in case.parts.recipes.values()) else "early_stopping.metric is null"


def nothing_is_pruned(case: Case, key: str) -> str | None:
    return None if case.settings.student.pruning.amount else "student.pruning.amount is 0"


def nothing_is_attacked(case: Case, key: str) -> str | None:
    """Settings of attacks that no stage makes; the seed of the starts is no setting of theirs."""
    is_attacked = any(recipe.attack for recipe in case.parts.recipes.values())
    return None if is_attacked else "adversarial.eps is 0, no stage attacks its images"


def other_attack(case: Case, key: str) -> str | None:
    """Defaults of a mode for the attack, which counts where nothing else is said."""
    if key.startswith("plus."):
        return "the modes share one attack: adversarial.eps, adversarial.objective"
    name = key.rpartition(".default_")[2]
    is_default = getattr(case.settings.adversarial, name) == getattr(case.settings.distillation, f"default_{name}")
    return None if is_default else f"adversarial.{name} has another value"


def shared_by_none(case: Case, key: str) -> str | None:
    """A stage with a `_target_` of its own shares nothing, and its own keys lie over the shared ones."""
    kind, _, argument = key.partition(".")
    settings = case.settings
    teachers = settings.all_teachers.values()
    stages: list[Any] = [settings.student, *(teacher for teacher in teachers if teacher.is_trained)]
    stages += [settings.finetune] if settings.finetune.epochs else []
    for node in (getattr(stage, kind) for stage in stages):
        if node is None or ("_target_" not in node and argument.partition(".")[0] not in node):
            return None
    return f"each stage that trains has its own, such as student.{kind}"


def single_loss(case: Case, key: str) -> str | None:
    """DOT treats two losses differently, where there are two."""
    stage = key.removesuffix("optimizer.delta").rstrip(".") or "student"
    sections = {**case.settings.all_teachers, "student": case.settings.student, "finetune": case.settings.finetune}
    section = sections.get(stage)
    if section is None or case.settings.for_stage(section.optimizer, "optimizer")["_target_"] != OF_TWO_LOSSES:
        return None
    if stage != "student":
        return "this stage has one loss"
    both = case.active_modes and case.settings.distillation.label_weight
    return None if both else "the student has one loss"


def temperature_is_unused(case: Case, key: str) -> str | None:
    active = {mode.key for mode in case.active_modes}
    if not active:
        return f"no mode takes part, distillation.weight is 0 ({case.options()})"
    return (
        None if active & case.temperature_modes else f"the loss does not depend on the temperature ({case.options()})"
    )


def other_default(case: Case, key: str) -> str | None:
    settings = case.settings
    values: dict[str, Any] = {
        "student.fraction": settings.student.fraction,
        "optimizer.lr": settings.optimizer.get("lr"),
    }
    if key == "dataset.default_weights":
        return None
    if key.startswith("dataset.default_weights."):
        mode = key.rpartition(".")[2]
        modes = [settings.distillation, *settings.plus.values()]
        weights = [node.weight for node in modes if node.target.rpartition(".")[0].endswith(f".{mode}")]
        return None if case.typed[key] in weights else f"no mode {mode} with this weight is there"
    reader = "optimizer.lr" if key.endswith("_lr") else "student.fraction"
    value = values[reader]
    return None if value == case.typed[key] else f"{reader} has another value"


def other_temperature(case: Case, key: str) -> str | None:
    if key.startswith("plus."):
        return "the modes share one temperature: temperature.value"
    temperature = case.parts.temperature
    if not isinstance(temperature, Constant) or temperature.value != case.typed[key]:
        return "temperature has another value"
    return temperature_is_unused(case, key)


def weightless(case: Case, key: str) -> str | None:
    mode = case.mode(key)
    if key.endswith((".weight", ".default_temperature", ".default_eps", ".default_objective")):
        return None
    return f"{mode.key}.weight is 0" if mode is not None and mode.weight == 0 else None


def no_adapters(case: Case, key: str) -> str | None:
    mode = case.mode(key)
    return "the mode has no adapters" if mode is not None and not has_adapters(mode.loss) else None


def resting_labels(case: Case, key: str) -> str | None:
    alone = [mode.key for mode in case.active_modes if mode.init_share >= 1]
    return f"{alone[0]}.init_share leaves the labels no part of the stage" if alone else None


def labels_of_no_stage(case: Case, key: str) -> str | None:
    """The reason against a setting of the label loss, where no stage has one; `foresight` notes where some have."""
    settings = case.settings
    teachers = settings.all_teachers.values() if key.startswith("dataset.") else ()
    learns = settings.baseline or settings.finetune.epochs or any(map(learns_labels, teachers))
    reason = without_label_loss(case.parts.modes, settings.distillation.label_weight)
    return f"no stage learns from labels by their loss ({reason}, baseline is false)" if reason and not learns else None


def learns_labels(teacher: TeacherSettings | ExtraTeacherSettings) -> bool:
    """True where a teacher, or its last layer, learns from labels here."""
    return teacher.is_trained or teacher.head == "probe"


def unheard_layers(case: Case, key: str) -> str | None:
    role = key.partition(".")[0]
    if getattr(case.settings, role).layers == ASKED:
        return None
    listening = [mode for mode in case.active_modes if getattr(mode.needs, role) or mode.needs is UNDECLARED]
    if not listening:
        return f"no mode listens to any ({case.options()})"
    named = all(getattr(mode, f"{role}_layers") for mode in listening)
    return f"the modes name their own, such as {listening[0].key}.{role}_layers" if named else None


def in_batch_contrast(case: Case, key: str) -> str | None:
    mode = case.mode(key)
    loss = mode.loss if mode is not None else None
    return "form is in_batch" if isinstance(loss, CRD) and loss.form == "in_batch" else None


def soft_alone(case: Case, key: str) -> str | None:
    mode = case.mode(key)
    loss = mode.loss if mode is not None else None
    return "soft_share is 1" if isinstance(loss, Hybrid) and loss.soft_share == 1 else None


def temperature_of_one(case: Case, key: str) -> str | None:
    temperature = case.parts.temperature
    return "the temperature is 1" if isinstance(temperature, Constant) and temperature.value == 1 else None


def no_rand_augment(case: Case, key: str) -> str | None:
    views = [case.settings.dataset, *map(case.settings.augmentation_of, case.settings.all_teachers)]
    return None if any(view.rand_augment for view in views) else "dataset.rand_augment is 0"


def no_own_rand_augment(case: Case, key: str) -> str | None:
    role = key.partition(".dataset.")[0]
    if role not in case.settings.all_teachers or case.settings.augmentation_of(role).rand_augment:
        return None
    return f"rand_augment is 0 in {role}.dataset and in dataset"


def as_shared(case: Case, key: str) -> str | None:
    """A value that is the shared one, too, changes nothing."""
    name = key.rpartition(".")[2]
    if not key.startswith("teacher.") and case.settings.teacher.dataset is not None:
        return None  # it replaces the first teacher's
    shared = getattr(case.settings.dataset, name, None)
    return f"dataset.{name} has this value, too" if shared == case.typed[key] else None


def images_in_memory(case: Case, key: str) -> str | None:
    return None if _is_streamed(case) else "the images are decoded once and stay in memory"


def one_memory(case: Case, key: str) -> str | None:
    data = case.settings.dataset
    fixed = case.parts.data.device.type == "cpu" and not takes(data.node, "dataset", "residency", case.settings.trust)
    return "on a CPU these images are always in its memory" if fixed and case.typed[key] != "auto" else None


def cache_of_streams(case: Case, key: str) -> str | None:
    node = case.settings.dataset.node
    used = (
        not _is_streamed(case)
        or node.get("on_bad_image") == "skip"
        or is_archive(with_home(str(node.get("root"))))
        or isinstance(case.parts.data.splits.train, PackedImages)  # whose names and labels are kept there
    )
    return None if used else "the images are read from their files while training"


def _is_streamed(case: Case) -> bool:
    splits = case.parts.data.splits
    return any(isinstance(split, ImageFiles) for split in (splits.train, splits.val, splits.test))


def unused_by_data(case: Case, key: str) -> str | None:
    return case.parts.data.splits.unused.get(key.removeprefix("dataset."))


def uncut_data(case: Case, key: str) -> str | None:
    if case.parts.data.chosen is not None or case.settings.folds is not None:
        return None  # it chooses the student's images, too, or the folds
    if not takes(case.settings.dataset.node, "dataset", "seed", case.settings.trust):
        return "the data set takes no seed"
    return case.parts.data.splits.unused.get("seed")


def leaves_no_image_out(case: Case, key: str) -> str | None:
    asked = case.settings.student.fraction < 1
    if asked and case.settings.student.shots_per_class is not None:
        return "student.shots_per_class chooses the images"
    return "rounded for each class, it is all images" if asked and case.parts.data.chosen is None else None


def no_convolutions(case: Case, key: str) -> str | None:
    maps = any(parameter.dim() == 4 for network in case.parts.networks for parameter in network.parameters())
    return None if maps else "no network here has convolutions"


def other_allocator(case: Case, key: str) -> str | None:
    if case.parts.data.device.type != "cpu":
        return "it is for CPUs, and this run is on a GPU"
    return None if platform.libc_ver()[0] == "glibc" else "this machine has not the GNU C library"


def no_graphs(case: Case, key: str) -> str | None:
    return "CUDA graphs need a GPU, and this run is on a CPU" if case.parts.data.device.type == "cpu" else None


def nothing_stored(case: Case, key: str) -> str | None:
    settings = case.settings
    trained = any(teacher.is_trained for teacher in settings.all_teachers.values())
    probed = any(teacher.head == "probe" for teacher in settings.all_teachers.values())
    used = trained or probed or settings.baseline or settings.teacher_outputs != ONLINE
    return None if used else "nothing is trained on labels alone, so nothing is stored"


def teacher_not_asked(case: Case, key: str) -> str | None:
    if not learns_from_teacher(case.active_modes):
        return f"no mode looks at the teacher ({case.options()})"
    is_online = key == "teacher_outputs_dtype" and case.settings.teacher_outputs == ONLINE
    return "teacher_outputs is online" if is_online else None


def needless_trust(case: Case, key: str) -> str | None:
    trust = case.settings.trust
    used = {name for node in _nodes(case.settings.model_dump(by_alias=True)) for name in names_of(node, key, trust)}
    idle = [package for package in trust if not any(f"{name}.".startswith(f"{package}.") for name in used)]
    return f"no _target_ is in {' or '.join(idle)}" if idle else None


def _nodes(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, dict):
        if "_target_" in content:
            yield content
        for value in content.values():
            yield from _nodes(value)


TEACHER, MODE = r"(teacher|teachers\.[^.]+)", r"(distillation|plus\.[^.]+)"

# Patterns of keys, which stand for the keys below them, too, and functions that return why a key has no effect.
# All rules that fit a key are asked.
RULES: tuple[tuple[str, Callable[[Case, str], str | None]], ...] = (
    (rf"({TEACHER}|teacher_outputs(_dtype)?)", no_teacher),
    (r"peer_(views|updates)", no_peers),
    (r"peer_views", same_views),
    (r"peers\.[^.]+", replaced_peer),
    (rf"{MODE}\.default_(peers|peer_views|peer_updates)", other_peers),
    (
        rf"{TEACHER}\.(epochs|optimizer|scheduler|early_stopping|adversarial|dataset|label_smoothing|seed|freeze)",
        given_teacher,
    ),
    (rf"{TEACHER}\.dataset\.rand_augment_magnitude", no_own_rand_augment),
    (rf"{TEACHER}\.dataset\.\w+", as_shared),
    (rf"{TEACHER}\.pretrained", replaced_weights),
    (r"teacher\.weight", single_teacher),
    (r"finetune\.(optimizer|scheduler|early_stopping|adversarial)", no_finetuning),
    (r"adversarial\.(steps|step_size|random_start|objective)", nothing_is_attacked),
    (rf"{MODE}\.default_(eps|objective)", other_attack),
    (r"early_stopping\.(patience|min_delta|target)", nothing_stops),
    (r"student\.pruning\.(scope|structured|start|end|times)", nothing_is_pruned),
    (r"(optimizer|scheduler)", shared_by_none),
    (rf"(({TEACHER}|student|finetune)\.)?optimizer\.delta", single_loss),
    (r"temperature", temperature_is_unused),
    (rf"{MODE}\.default_temperature", other_temperature),
    (r"distillation\.(?!weight|label_weight|default_)\w+", weightless),
    (r"plus\.[^.]+", weightless),
    (rf"{MODE}\.adapter_weight_decay", no_adapters),
    (r"distillation\.label_weight", resting_labels),
    (r"(student\.label_smoothing|dataset\.class_weights)", labels_of_no_stage),
    (r"(student|teacher)\.layers", unheard_layers),
    (rf"{MODE}\.(negatives|momentum)", in_batch_contrast),
    (rf"{MODE}\.hard_source", soft_alone),
    (rf"{MODE}\.temperature_squared", temperature_of_one),
    (r"dataset\.rand_augment_magnitude", no_rand_augment),
    (r"dataset\.workers", images_in_memory),
    (r"dataset\.residency", one_memory),
    (r"dataset\.cache", cache_of_streams),
    (r"dataset\.\w+", unused_by_data),
    (r"dataset\.default_(fraction|lr|weights)", other_default),
    (r"student\.fraction", leaves_no_image_out),
    (r"data_seed", uncut_data),
    (r"trainer\.channels_last", no_convolutions),
    (r"trainer\.keep_memory", other_allocator),
    (r"teacher_outputs(_dtype)?", teacher_not_asked),
    (r"trainer\.graph", no_graphs),
    (r"store", nothing_stored),
    (r"trust", needless_trust),
)

# Keys that count in every run, whatever else is set.
ALWAYS: tuple[str, ...] = (
    r"(dataset|teacher|student|distillation|trainer|experiment)",  # the choice of an option
    r"dataset\.(mean|std|crop_padding|flip|resized_crop|rand_augment|cutout|random_erasing|mixup|cutmix|label_noise)",
    r"dataset\.(balanced_sampling|random_resized_crop)",
    rf"{TEACHER}\.(head|checkpoint(_key|_format)?)",  # without a checkpoint, these are refused
    r"teachers\.[^.]+(\.weight)?",
    rf"({TEACHER}|student)\.input\.(mean|std|size|channels)",
    r"student\.(epochs|optimizer|scheduler|early_stopping|adversarial|init|without_classes|ema|freeze)",
    r"(student\.pruning\.amount|early_stopping\.metric|adversarial\.(eps|test_eps))",
    r"student\.(shots_per_class|steps|unlabelled_fraction)",
    r"(dataset\.unlabelled|data_free)",
    r"finetune\.epochs",
    r"baseline",
    r"(assistants|generations|peers)",
    r"batch_size",  # kd_runner.runs.checks.foresight notes one of more than all images
    rf"{MODE}\.weight",
    r"trainer\.(accelerator|devices|nodes|precision|compile|quantize|deterministic|log_every|profile|threads)",
    r"trainer\.(gradient_clip_val|accumulate_grad_batches)",
    r"(order_)?seed",
    r"(folds|fold)",
    r"evaluate\.(corruptions|also)",
    r"tracking\.(loggers|images|graph|embedding)",
    r"(resume|name|notes|tags)",
)


def unused_settings(overrides: Sequence[str], parts: Parts, temperature_modes: frozenset[str]) -> dict[str, str]:
    """The keys that were typed and have no effect on the run of these parts, with the reasons.

    Args:
        temperature_modes: The keys of the modes whose loss depends on the temperature, as `rehearsal.rehearse` finds
            them.
    """
    case = Case(parts, temperature_modes, typed_settings(overrides))
    reasons = {}
    for key, value in case.typed.items():
        answers = (rule(case, key) for pattern, rule in RULES if covers(pattern, key))
        reason = next(filter(None, answers), None) if value is not None else None
        if reason is not None:
            reasons[key] = reason
    return reasons


def covers(pattern: str, key: str) -> bool:
    """True where a pattern stands for a key or for one above it."""
    return re.fullmatch(rf"{pattern}(\..+)?", key) is not None
