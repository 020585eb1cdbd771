"""The sections of the settings, such as those of the data set, the teacher and the student, with their ranges.

What a `_target_` takes beside them is checked against its own signature by `kd_runner.config.build`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from kd_runner.config.field_types import (
    BuiltSection,
    ClassWeightsSetting,
    Count,
    Decay,
    FilePath,
    Flag,
    FlagOrAuto,
    FolderPath,
    Keys,
    LayerName,
    Layers,
    Loggers,
    Magnitude,
    Mean,
    Metric,
    Node,
    NonNegative,
    Number,
    Positive,
    Precision,
    Residency,
    Section,
    Seed,
    Share,
    Smoothing,
    Std,
    Weight,
    check_path,
)


class DatasetSettings(BuiltSection):
    mean: list[Mean] | None = None
    std: list[Std] | None = None
    crop_padding: NonNegative = 0
    flip: Flag = False
    resized_crop: Share
    random_resized_crop: Share = 0.0
    rand_augment: NonNegative
    rand_augment_magnitude: Magnitude
    cutout: NonNegative
    random_erasing: Share
    mixup: Weight
    cutmix: Weight
    label_noise: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0
    unlabelled: FolderPath = None
    class_weights: ClassWeightsSetting = None
    balanced_sampling: Flag = False
    residency: Residency
    workers: Annotated[int, Field(strict=True, ge=0)] | None
    default_fraction: Annotated[float, Field(strict=True, gt=0, le=1)] | None = None  # read by student.fraction
    default_lr: Weight | None = None  # read by conf/optimizer/adam.yaml
    default_weights: dict[str, Weight] | None = None  # of modes, by their names; read by the files of these

    @field_validator("resized_crop")
    @classmethod
    def _is_the_only_crop(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("crop_padding"):
            raise ValueError(f"must be 0 where dataset.crop_padding is above 0 ({info.data['crop_padding']})")
        return value


class TeacherView(Section):
    """The augmentation of a teacher's own training images; the shared one where a setting is left out."""

    crop_padding: NonNegative | None = None
    flip: Flag | None = None
    resized_crop: Share | None = None
    random_resized_crop: Share | None = None
    rand_augment: NonNegative | None = None
    rand_augment_magnitude: Magnitude | None = None
    cutout: NonNegative | None = None
    random_erasing: Share | None = None
    mixup: Weight | None = None
    cutmix: Weight | None = None

    @model_serializer
    def changes(self) -> dict[str, Any]:
        """The settings that are not left out."""
        return {name: value for name, value in self if value is not None}


def _needs_a_checkpoint(value: Any, info: ValidationInfo) -> Any:
    if value is not None and info.data.get("checkpoint") is None:
        raise ValueError("has no effect without teacher.checkpoint")
    return value


OWN_INPUT = "kd_runner.models.own_input.OwnInput"


def _check_size(size: Any) -> Any:
    """The size, after a check that it is a number of pixels, or a height and a width; one rule, in one line."""
    sides = size if isinstance(size, list) and len(size) == 2 else [size]
    if size is not None and not all(type(side) is int and side > 0 for side in sides):
        raise ValueError("must be a whole number of pixels above 0, or a list of two such as [224,192]")
    return size


class InputSettings(Section):
    """A network's own view of the images, where it differs from the run's normalisation and size."""

    mean: list[Mean] | None = None
    std: list[Std] | None = None
    size: Annotated[int | list[int] | None, BeforeValidator(_check_size)] = None
    channels: Count | None = None

    def changes(self) -> dict[str, Any]:
        """The settings that are not left out."""
        return {name: value for name, value in self if value is not None}


class NetworkSettings(BuiltSection):
    """A network, which may have its own input."""

    input: InputSettings = InputSettings()

    @property
    def bare_node(self) -> Node:
        """The network's callable and its arguments, without its own input."""
        return super().node

    @property
    def node(self) -> Node:
        changes = self.input.changes()
        return {"_target_": OWN_INPUT, "network": self.bare_node, **changes} if changes else self.bare_node


class EarlyStoppingSettings(Section):
    """The rule by which a stage stops before its last epoch; the weights of the best epoch by `metric` are kept."""

    metric: Metric = None
    patience: Count = 5
    min_delta: Weight = 0.0
    target: Number | None = None


class PruningSettings(Section):
    """Weights of the student, and of its baseline, that are set to zero while it trains."""

    amount: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0
    scope: Literal["global", "layer"] = "layer"
    structured: Flag = False
    start: Share = 0.0
    end: Share = 0.75
    times: Count = 100

    @field_validator("end")
    @classmethod
    def _is_not_before_start(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("start", 0):
            raise ValueError(f"must be student.pruning.start ({info.data['start']}) or later")
        return value


def _fraction(value: Any) -> Any:
    """The number that a fraction in digits is, such as 8/255, in which the literature gives changes of pixels."""
    digits = str(value).split("/")
    is_fraction = (
        isinstance(value, str) and len(digits) == 2 and all(text.isascii() and text.isdigit() for text in digits)
    )
    return int(digits[0]) / int(digits[1]) if is_fraction and int(digits[1]) else value


PixelChange = Annotated[float, Field(strict=True, ge=0, le=1), BeforeValidator(_fraction)]
StepSize = Annotated[float, Field(strict=True, gt=0, le=1), BeforeValidator(_fraction)]
Objective = Literal["labels", "teacher", "teacher_entropy"]
PeerViews = Literal["shared", "own"]
PeerUpdates = Literal["in_turn", "together"]


class AttackSettings(Section):
    """The attack on the images that a stage learns from, in pixels of [0, 1]."""

    eps: PixelChange = 0.0
    steps: Count = 10
    step_size: StepSize | None = None
    random_start: Flag = True
    objective: Objective = "labels"


class AdversarialSettings(AttackSettings):
    """The attack on the stages' images, and the strength of that on the test images at the end."""

    test_eps: PixelChange | None = None

    @property
    def strength_of_test(self) -> float:
        """The largest change of a pixel of the test images; 0 where they are not attacked."""
        return self.eps if self.test_eps is None else self.test_eps


def _class_name(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value  # YAML reads 3 as a number


ClassNames = list[Annotated[str, BeforeValidator(_class_name)]] | None


class _Teacher(NetworkSettings):
    """The settings that all teachers have."""

    checkpoint: FilePath = None
    head: Literal["trained", "probe", "none"] = "trained"

    @property
    def is_trained(self) -> bool:
        """True where the network is trained here, as a whole: its weights come from no file, and all of them learn."""
        return self.checkpoint is None and self.head == "trained"


class TeacherSettings(_Teacher):
    epochs: Count
    checkpoint: FilePath
    checkpoint_format: Literal["repdistiller", "mdistiller"] | None
    checkpoint_key: Keys
    classes: ClassNames = None
    layers: Layers
    label_smoothing: Annotated[float, Field(strict=True, ge=0, lt=1)]
    weight: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = 1.0
    optimizer: Node | None
    scheduler: Node | None
    early_stopping: Node | None = None
    adversarial: Node | None = None
    dataset: TeacherView | None = None
    seed: Seed | None = None
    freeze: list[LayerName] = []

    _has_a_checkpoint = field_validator("checkpoint_format", "checkpoint_key", "classes")(_needs_a_checkpoint)


def _by_name(value: Any) -> Any:
    """The things of a section by their names, in which a whole number, as YAML reads it, is text."""
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("_target_"), str):
        raise PydanticCustomError("no_name", "must have a name for each")
    named = {str(name) if type(name) is int else name: item for name, item in value.items()}
    for name in named:  # which are parts of keys and of the names of files
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
            rule = "must have names of letters, digits, _ and -, got {name}"
            raise PydanticCustomError("name", rule, {"name": repr(name)})
    return named


OF_STUDENTS = ("fraction", "without_classes", "label_smoothing")  # what assistants have as the student has it
STAGE_KEYS = ("epochs", "steps", "optimizer", "scheduler", "early_stopping", "adversarial")
SHARED_BY_TEACHERS = ("epochs", "optimizer", "scheduler", "early_stopping", "adversarial", "dataset", "seed")


class ExtraTeacherSettings(_Teacher):
    """The settings of one of several teachers; the first teacher's settings stand for those that are left out."""

    epochs: Count | None = None
    checkpoint: FilePath = None
    checkpoint_format: Literal["repdistiller", "mdistiller"] | None = None
    checkpoint_key: Keys = None
    classes: ClassNames = None
    optimizer: Node | None = None
    scheduler: Node | None = None
    early_stopping: Node | None = None
    adversarial: Node | None = None
    dataset: TeacherView | None = None
    seed: Seed | None = None
    freeze: list[LayerName] = []
    weight: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] = 1.0

    _has_a_checkpoint = field_validator("checkpoint_format", "checkpoint_key", "classes")(_needs_a_checkpoint)


class AssistantSettings(Section):
    """A network between teacher and student; it takes from the student what its own settings lack.

    With a `_target_` it is another network, whose arguments are its own; without one, it is the student's network
    with some other arguments. Its own `epochs` are passes over the images: the student's steps are not its own then.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    target: str | None = Field(None, alias="_target_")
    epochs: Count | None = None
    layers: Layers = []
    optimizer: Node | None = None
    scheduler: Node | None = None
    early_stopping: Node | None = None
    input: InputSettings | None = None

    @property
    def is_of_another_length(self) -> bool:
        """True where the number of steps of the student has another meaning than in earlier versions."""
        has_steps = (self.model_extra or {}).get("steps") is not None
        return not has_steps and (self.target is None) == (self.epochs is not None)


class PeerSettings(Section):
    """A student beside the student, which learns with it; it takes from it what its own settings lack.

    With a `_target_` it is another network, as an assistant is.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    target: str | None = Field(None, alias="_target_")
    optimizer: Node | None = None
    scheduler: Node | None = None
    input: InputSettings | None = None


def _peers(value: Any) -> Any:
    """The peers beside the student by name: a number counts the student among them, a list has their numbers."""
    if type(value) is int and value > 0:
        return {str(number): {} for number in range(1, value)}
    if value is not None and not isinstance(value, (list, dict)):
        raise ValueError("must be the number of students, or a list of what the others are, such as [{}]")
    peers: dict[str, Any] = _by_number(value)
    for name, peer in peers.items():
        if not isinstance(peer, (dict, PeerSettings)):
            raise ValueError(f"must have settings for each peer; another network is +student@peers.{name}={peer}")
    return peers


def _by_number(value: Any) -> Any:
    """A list of networks has their numbers as names; null is none."""
    value = {} if value is None else value
    return {str(number): item for number, item in enumerate(value, 1)} if isinstance(value, list) else value


class StudentSettings(NetworkSettings):
    epochs: Count
    fraction: Annotated[float, Field(strict=True, gt=0, le=1)] = 1.0
    shots_per_class: Count | None = None
    without_classes: list[Annotated[str, BeforeValidator(_class_name)]] = []
    steps: Count | None = None
    unlabelled_fraction: Share = 0.0
    layers: Layers
    optimizer: Node | None
    scheduler: Node | None
    early_stopping: Node | None = None
    adversarial: Node | None = None
    init: Literal["random", "inject"] = "random"
    label_smoothing: Smoothing = 0.0
    ema: Decay | None = None
    freeze: list[LayerName] = []
    pruning: PruningSettings = PruningSettings()


class FinetuneSettings(Section):
    epochs: Annotated[int, Field(strict=True, ge=0)]
    optimizer: Node | None
    scheduler: Node | None
    early_stopping: Node | None = None
    adversarial: Node | None = None


class DistillationSettings(BuiltSection):
    weight: Weight = 1.0
    label_weight: Weight = 1.0
    warmup: Share = 0.0
    init_share: Share = 0.0
    standardize: Flag = False
    adapter_weight_decay: Weight | None = None
    student_layers: list[LayerName] = []
    teacher_layers: list[LayerName] = []
    default_temperature: Number | None = None  # read by conf/temperature/constant.yaml
    default_eps: PixelChange | None = None  # read by adversarial.eps
    default_objective: Objective | None = None  # read by adversarial.objective
    default_peers: Count | None = None  # read by peers
    default_peer_views: PeerViews | None = None  # read by peer_views
    default_peer_updates: PeerUpdates | None = None  # read by peer_updates


def _on_or_off(value: Any) -> Any:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value  # YAML reads on and off as these


class TrainerSettings(Section):
    accelerator: Literal["auto", "cpu", "gpu"]
    devices: Count
    nodes: Count = 1
    precision: Annotated[Precision, BeforeValidator(str)]
    channels_last: Flag
    compile: Flag
    graph: Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_or_off)] = "off"
    quantize: Literal["int8"] | None = None
    gradient_clip_val: Positive | None = None
    accumulate_grad_batches: Count = 1
    keep_memory: Flag
    deterministic: Flag
    log_every: Annotated[int, Field(strict=True, ge=0)]
    profile: Literal["torch", "nvtx"] | None = None
    threads: Count | None

    @property
    def process_count(self) -> int:
        """The number of processes that share a run, one for each device."""
        return self.devices * self.nodes


Folder = Annotated[str, BeforeValidator(check_path)]


class EvaluateSettings(Section):
    """The evaluations at the end beside the one on the plain test images."""

    corruptions: Flag = False
    also: list[Folder] = []

    @field_validator("also")
    @classmethod
    def _are_different(cls, value: list[str]) -> list[str]:
        twice = sorted({path for path in value if value.count(path) > 1})
        if twice:
            raise ValueError(f"must name each folder or archive once, and names {twice[0]} twice")
        return value


MOST_JOBS_WITH_IMAGES = 50  # nobody looks at more, and they cost each job 0.2 s


class TrackingSettings(Section):
    images: FlagOrAuto
    graph: Flag
    embedding: Flag
    loggers: Loggers = ["tensorboard"]

    def has_images(self, jobs: int) -> bool:
        """True where TensorBoard shows charts of the predictions for a run of a sweep of so many jobs."""
        return jobs <= MOST_JOBS_WITH_IMAGES if isinstance(self.images, str) else self.images


Teachers = Annotated[dict[str, ExtraTeacherSettings], BeforeValidator(_by_name)]
Assistants = Annotated[dict[str, AssistantSettings], BeforeValidator(_by_number), BeforeValidator(_by_name)]
Peers = Annotated[dict[str, PeerSettings], BeforeValidator(_peers), BeforeValidator(_by_name)]
Modes = Annotated[dict[str, DistillationSettings], BeforeValidator(_by_name)]
