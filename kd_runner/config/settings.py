"""The settings kd-runner itself reads, with their ranges. Defaults live in conf/, one place each.

What a `_target_` takes beside them is checked against its own signature by `kd_runner.config.build`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticCustomError

from kd_runner.config.conf_dir import NAMED
from kd_runner.config.fingerprint import decisive
from kd_runner.errors import SettingsError
from kd_runner.foreign_words import answer_for
from kd_runner.plain_text import lines
from kd_runner.redaction import without_passwords
from kd_runner.suggestions import did_you_mean, number_meant

Node = dict[str, Any]  # a `_target_` and its arguments
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Weight = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Keys = Annotated[str | None, BeforeValidator(lambda value: value if value is None else str(value))]


def _mean_of_pixels(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"must be from 0 to 1, between which pixels are scaled{_remedy(value)}")
    return value


def _deviation_of_pixels(value: float) -> float:
    if not 0 < value <= 1:
        raise ValueError(f"must be above 0, and at most 1, to which pixels are scaled{_remedy(value)}")
    return value


def _remedy(value: float) -> str:
    return ": divide it by 255" if 1 < value <= 255 else ""


Mean = Annotated[Number, AfterValidator(_mean_of_pixels)]  # of a channel
Std = Annotated[Number, AfterValidator(_deviation_of_pixels)]


def _layer_name(value: Any) -> str:
    if type(value) not in (str, int):  # an nn.Sequential counts its layers; 0.10 would be read as 0.1
        raise ValueError('must be the name of a layer, in quotes where it looks like a number: ["0.10"]')
    return str(value)


LayerName = Annotated[str, BeforeValidator(_layer_name)]
ASKED = ["?"]  # in place of names of layers: asks which layers there are
Layers = Annotated[list[LayerName], BeforeValidator(lambda value: ASKED if value == "?" else value)]
Words = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
NonNegative = Annotated[int, Field(strict=True, ge=0)]
Magnitude = Annotated[int, Field(strict=True, ge=0, le=30)]
Flag = Annotated[bool, Field(strict=True)]
Precision = Literal["32", "bf16-mixed", "16-mixed"]
Residency = Literal["auto", "device", "host", "stream"]
LogitsDtype = Literal["float32", "float16"]
ONLINE, CACHE, VIEWS = "online", "cache", "views:"  # sources of the teacher's outputs; behind the last, a number


def _source_of_outputs(value: Any) -> str:
    text = str(value)
    count = text.removeprefix(VIEWS)
    is_count = text != count and count.isascii() and count.isdecimal() and 1 <= int(count) <= 1000
    if text not in (ONLINE, CACHE) and not is_count:
        raise ValueError("must be online, cache or views:K with K from 1 to 1000, such as views:8")
    return text if not is_count else f"{VIEWS}{int(count)}"


OutputsSource = Annotated[str, BeforeValidator(_source_of_outputs)]

# The metrics of the validation images by which a stage can stop. The last two compare the student with its teacher.
HIGHER_IS_BETTER = ("val_accuracy", "val_map", "val_agreement")
METRICS = ("val_accuracy", "val_map", "val_loss", "val_agreement", "val_kl_to_teacher")
OF_TEACHER_AND_STUDENT = ("val_agreement", "val_kl_to_teacher")


def _metric(value: Any) -> str | None:
    if value is not None and value not in METRICS:
        reason = ": test images are for the last word, and choose nothing" if str(value).startswith("test") else ""
        raise ValueError(f"must be a metric of the validation images ({', '.join(METRICS)}) or null{reason}")
    return value


Metric = Annotated[str | None, BeforeValidator(_metric)]


LOGGERS = ("tensorboard", "csv", "wandb", "mlflow", "trackio")


def _loggers(value: Any) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"must be a list of {', '.join(LOGGERS)}, such as [tensorboard,csv]")
    for name in value:
        if name not in LOGGERS:
            raise ValueError(f"must be of {', '.join(LOGGERS)}, not {name}{did_you_mean(str(name), LOGGERS)}")
    if len(set(value)) < len(value):
        raise ValueError("must name each only once")
    return value


Loggers = Annotated[list[str], BeforeValidator(_loggers)]


def _flag_or_auto(value: Any) -> Any:
    if not isinstance(value, bool) and value != "auto":
        raise ValueError("must be true, false or auto")
    return value


FlagOrAuto = Annotated[bool | Literal["auto"], BeforeValidator(_flag_or_auto)]


def _path(value: Any) -> Any:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError("must be the path of a file, or null")
    return value


FilePath = Annotated[str | None, BeforeValidator(_path)]


def _folder(value: Any) -> Any:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError("must be the path of a folder, or null")
    return value


FolderPath = Annotated[str | None, BeforeValidator(_folder)]


def _without_even_rates(node: Any) -> Any:
    """The shared optimizer without a layer_decay of 1, which is off: what is left are the optimizer's arguments."""
    if not isinstance(node, dict) or type(node.get("layer_decay")) not in (int, float) or node["layer_decay"] != 1:
        return node
    return {name: value for name, value in node.items() if name != "layer_decay"}


Optimizer = Annotated[Node, BeforeValidator(_without_even_rates)]


def _class_weights(value: Any) -> Any:
    if value is None or value == "balanced":
        return value
    numbers = isinstance(value, (list, tuple)) and all(type(weight) in (int, float) for weight in value)
    if not numbers or not all(0 <= weight < math.inf for weight in value) or not sum(value) > 0:
        raise ValueError("must be balanced, or a list with a number of 0 or more for each class, or null")
    return value


ClassWeightsSetting = Annotated[Literal["balanced"] | list[float] | None, BeforeValidator(_class_weights)]
Smoothing = Annotated[float, Field(strict=True, ge=0, lt=1)]  # of labels
Decay = Annotated[float, Field(strict=True, gt=0, lt=1)]  # of a moving average
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Valid = TypeVar("Valid", bound=BaseModel)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Built(Section):
    """A section with fields of its own; its other keys are a callable and the arguments of that."""

    model_config = ConfigDict(extra="allow", frozen=True)

    target: str = Field(alias="_target_")

    @property
    def node(self) -> Node:
        """The callable and its arguments, without the section's own fields."""
        return {"_target_": self.target, **(self.model_extra or {})}


class DatasetSettings(_Built):
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


class NetworkSettings(_Built):
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


class DistillationSettings(_Built):
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


def _is_of_folds(value: int | None, info: ValidationInfo) -> int | None:
    folds = info.data.get("folds")
    if folds is None and value is not None:
        raise ValueError("must be null without folds, such as folds=5")
    if folds is not None and value is None:
        raise ValueError(f"must be 0 to {folds - 1} where folds={folds}; all of them are a sweep: -m folds={folds}")
    if folds is not None and value is not None and value >= folds:
        raise ValueError(f"must be 0 to {folds - 1} where folds={folds}")
    return value


Folder = Annotated[str, BeforeValidator(_path)]


class EvaluateSettings(Section):
    """The evaluations at the end beside the one on the plain test images."""

    corruptions: Flag = False
    also: list[Folder] = []

    @field_validator("also")
    @classmethod
    def _are_different(cls, value: list[str]) -> list[str]:
        twice = sorted({path for path in value if value.count(path) > 1})
        if twice:
            raise ValueError(f"must name each folder once, and names {twice[0]} twice")
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


class Settings(Section):
    """All settings of one run."""

    dataset: DatasetSettings
    teacher: TeacherSettings
    teachers: Annotated[dict[str, ExtraTeacherSettings], BeforeValidator(_by_name)]
    assistants: Annotated[dict[str, AssistantSettings], BeforeValidator(_by_number), BeforeValidator(_by_name)] = {}
    generations: Count = 1
    peers: Annotated[dict[str, PeerSettings], BeforeValidator(_peers), BeforeValidator(_by_name)] = {}
    peer_views: PeerViews = "shared"
    peer_updates: PeerUpdates = "in_turn"
    student: StudentSettings
    finetune: FinetuneSettings
    baseline: Flag
    distillation: DistillationSettings
    plus: Annotated[dict[str, DistillationSettings], BeforeValidator(_by_name)]
    data_free: Node | None = None
    temperature: Node
    optimizer: Optimizer
    scheduler: Node
    early_stopping: EarlyStoppingSettings = EarlyStoppingSettings()
    adversarial: AdversarialSettings = AdversarialSettings()
    batch_size: Annotated[int, Field(strict=True, ge=2)]
    trainer: TrainerSettings
    seed: Seed
    order_seed: Seed | None = None
    data_seed: Seed
    folds: Annotated[int, Field(strict=True, ge=2)] | None = None
    fold: Annotated[Annotated[int, Field(strict=True, ge=0)] | None, AfterValidator(_is_of_folds)] = None
    teacher_outputs: OutputsSource = ONLINE
    teacher_outputs_dtype: LogitsDtype = "float32"
    evaluate: EvaluateSettings = EvaluateSettings()
    tracking: TrackingSettings
    name: Words | None = None
    notes: Words | None = None
    tags: list[Words] = []
    store: str
    resume: str | None
    trust: list[str]

    def plain(self) -> dict[str, Any]:
        """All settings as plain data, with the keys of the YAML files; `check` takes it back."""
        return self.model_dump(mode="json", by_alias=True)

    def decisive(self) -> dict[str, Any]:
        """The settings that can change the result, as plain data."""
        return decisive(self.plain())

    @property
    def all_teachers(self) -> dict[str, TeacherSettings | ExtraTeacherSettings]:
        """The teachers by the names of their stages. Further ones have what they leave out from the first.

        There are none, {}, where peers learn from one another.
        """
        if self.peers:
            return {}
        teachers: dict[str, TeacherSettings | ExtraTeacherSettings] = {"teacher": self.teacher}
        for name, extra in self.teachers.items():
            missing = [key for key in SHARED_BY_TEACHERS if getattr(extra, key) is None]
            shared = {key: getattr(self.teacher, key) for key in missing}
            teachers[f"teachers.{name}"] = extra.model_copy(update=shared)
        return teachers

    @property
    def chain(self) -> dict[str, StudentSettings]:
        """The students that teach another one before the student itself, in their order, by their stages.

        First the assistants, 'assistants.NAME', then the generations before the last, 'generations.NUMBER'.
        """
        links = {f"assistants.{name}": self._as_student(assistant) for name, assistant in self.assistants.items()}
        generation = self.student.model_copy(update={"pruning": PruningSettings(), "ema": None})
        return links | {f"generations.{number}": generation for number in range(1, self.generations)}

    @property
    def peer_students(self) -> dict[str, StudentSettings]:
        """The settings of the peers beside the student as those of students, by their stages 'peers.NAME'."""
        # Which go side by side: the student says when the stage ends.
        as_student = {"steps": self.student.steps, "early_stopping": None}
        students = {f"peers.{name}": self._as_student(peer) for name, peer in self.peers.items()}
        return {stage: student.model_copy(update=as_student) for stage, student in students.items()}

    def _as_student(self, assistant: AssistantSettings | PeerSettings) -> StudentSettings:
        """The settings of an assistant or a peer as those of a student."""
        own_settings = assistant.model_dump(by_alias=True, exclude_unset=True)
        own_settings = {name: value for name, value in own_settings.items() if value is not None}
        student = self.student.model_dump(by_alias=True, exclude={"pruning", "layers", "init", "ema", "freeze"})
        if "_target_" in own_settings:
            student = {name: student[name] for name in (*STAGE_KEYS, *OF_STUDENTS)}
        if "epochs" in own_settings:
            student["steps"] = None
        return StudentSettings.model_validate({**student, "layers": [], **own_settings})

    @property
    def replayed_views(self) -> int | None:
        """The number of views of each image that the student's training replays; None: each epoch draws anew."""
        count = self.teacher_outputs.removeprefix(VIEWS)
        return int(count) if count != self.teacher_outputs else None

    def seed_of(self, role: str) -> int:
        """The seed of a role's first weights, order, augmentation and dropout: a teacher may have its own.

        Args:
            role: The name of a teacher's stage, 'student' or 'finetune'.
        """
        own_seed = self.all_teachers[role].seed if role in self.all_teachers else None
        return self.seed if own_seed is None else own_seed

    def order_seed_of(self, role: str) -> int:
        """The seed of the order and the augmentation of the images that a role learns from."""
        is_shared = self.order_seed is None or role in self.all_teachers
        return self.seed_of(role) if is_shared else self.order_seed  # type: ignore[return-value]

    def augmentation_of(self, teacher: str) -> DatasetSettings:
        """The settings of the data set with a teacher's own augmentation over the shared one.

        Args:
            teacher: The name of its stage.
        """
        view = self.all_teachers[teacher].dataset
        return self.dataset if view is None else self.dataset.model_copy(update=view.changes())

    def for_stage(self, node: Node | None, group: Literal["optimizer", "scheduler"]) -> Node:
        """A stage's optimizer or scheduler: the shared one, with the stage's own keys over it.

        Args:
            node: The stage's own keys. With a `_target_` among them the stage shares nothing.
            group: The key of the shared one.
        """
        if node is not None and "_target_" in node:
            return node
        return {**getattr(self, group), **(node or {})}

    def early_stopping_of(self, stage: str) -> EarlyStoppingSettings:
        """The rule by which a stage stops early: the shared settings, with the stage's own keys over them.

        Stages that know no teacher leave shared settings about their agreement with it aside.

        Args:
            stage: The section that the stage trains with: a teacher's name, 'student' or 'finetune'.

        Raises:
            SettingsError: a wrong value among the stage's own, or a metric that the stage does not have.
        """
        chain = self.chain
        taught = {**chain, **self.peer_students, "student": self.student}
        own_settings = {**self.all_teachers, **taught, "finetune": self.finetune}[stage].early_stopping or {}
        merged = {**self.early_stopping.model_dump(), **own_settings}
        settings = validate_section(EarlyStoppingSettings, merged, f"{stage}.early_stopping.")
        if stage == "student" or stage in chain or settings.metric not in OF_TEACHER_AND_STUDENT:
            return settings
        if own_settings.get("metric") in OF_TEACHER_AND_STUDENT:
            known = ", ".join(name for name in METRICS if name not in OF_TEACHER_AND_STUDENT)
            raise SettingsError(
                f"{stage}.early_stopping.metric: must be one of {known}, as this stage has no teacher, "
                f"got {own_settings['metric']}"
            )
        return settings.model_copy(update={"metric": None})

    def adversarial_of(self, stage: str) -> AttackSettings:
        """The attack on the images of a stage: the shared settings, with the stage's own keys over them.

        Args:
            stage: The section that the stage trains with: a teacher's name, 'student' or 'finetune'.

        Raises:
            SettingsError: a wrong value among the stage's own, or an objective that asks for a teacher it has not.
        """
        taught = {"student": self.student, **self.chain, **self.peer_students}
        own_settings = {**self.all_teachers, **taught, "finetune": self.finetune}[stage].adversarial or {}
        if stage not in taught and own_settings.get("objective", "labels") in ("teacher", "teacher_entropy"):
            raise SettingsError(
                f"{stage}.adversarial.objective: must be labels, as this stage has no teacher, "
                f"got {own_settings['objective']}"
            )
        shared = self.adversarial.model_dump(include=set(AttackSettings.model_fields))
        return validate_section(AttackSettings, {**shared, **own_settings}, f"{stage}.adversarial.")

    def rate_key(self, role: str) -> str:
        """The key of the learning rate that a stage trains with: its own where it has one."""
        role = "student" if role.startswith("generations.") else role
        taught = {**self.chain, **self.peer_students, "student": self.student}
        node = {**self.all_teachers, **taught, "finetune": self.finetune}[role].optimizer or {}
        return f"{role}.optimizer.lr" if "_target_" in node or "lr" in node else "optimizer.lr"


def check(container: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> Settings:
    """Settings from plain nested dictionaries.

    Args:
        origins: The key from which a copied value stems, by the key that has the copy. Where both are wrong, the error
            names only the key from which it stems.

    Raises:
        SettingsError: a line for each wrong value: its key, what must hold, what was given.
    """
    return validate_section(Settings, container, origins=origins)


def validate_section(
    kind: type[Valid], container: Mapping[str, Any], prefix: str = "", origins: Mapping[str, str] | None = None
) -> Valid:
    """A section of settings from plain data.

    Args:
        prefix: Text before the section's keys, such as 'hydra.launcher.'.
        origins: The keys from which copied values stem, as in `check`.

    Raises:
        SettingsError: a line for each wrong value: its key, what must hold, what was given.
    """
    try:
        return kind.model_validate(container)
    except ValidationError as error:
        problems = {_key(problem): problem for problem in error.errors()}
        copies = {key for key, origin in (origins or {}).items() if origin in problems}
        wrong = [problem for key, problem in problems.items() if key not in copies]
        raise SettingsError(lines(f"{prefix}{_line(problem, kind)}" for problem in wrong)) from None


def _key(problem: Any) -> str:
    return ".".join(map(str, problem["loc"]))


def _line(problem: Any, kind: type[BaseModel]) -> str:
    key = _key(problem)
    if problem["type"] == "extra_forbidden":
        if ".dataset." in key and kind is Settings:
            names = ", ".join(TeacherView.model_fields)
            return f"{key}: must be a setting of augmentation ({names}), got {problem['input']!r}"
        answer = answer_for(key, str(problem["input"]))
        if answer:
            return f"{key}: no such setting; {answer}"
        suggestion = did_you_mean(key, kind.model_fields) if "." not in key else ""
        return f"{key}: no such setting{suggestion}, got {without_passwords(repr(problem['input']))}"
    if kind is Settings and (line := _line_of_named(problem)):
        return line
    if problem["type"] == "missing":
        section = key.removesuffix("._target_")
        return f"{key}: must be given" if section == key else f"{section}: must be an option of its group, got none"
    answer = answer_for(key, exact=True) if problem["type"].startswith("model_") else None
    value = without_passwords(repr(problem["input"]))
    return f"{key}: {rule_of(problem)}, got {value}{f'; {answer}' if answer else as_number(problem)}"


def _line_of_named(problem: Any) -> str | None:
    """The line for a section that has no things by their names, or for one of these that is no settings; else None."""
    section, *names = problem["loc"]
    if section not in NAMED:
        return None
    kind, value = problem["type"], problem["input"]
    option = value if isinstance(value, str) and value else "OPTION"
    remedy = f"write +{NAMED[section]}@{section}.{names[0] if names else 'NAME'}={option}"
    if len(names) == 1 and kind in ("model_type", "model_attributes_type"):
        return f"{_key(problem)}: {rule_of(problem)}, got {value!r}; {remedy}"
    if kind == "missing" and names[1:] == ["_target_"]:
        return f"{section}.{names[0]}: must be an option of the group {NAMED[section]}, got none; {remedy}"
    if not names and kind == "dict_type":
        return f"{section}: must be {'modes' if section == 'plus' else section} by name, got {value!r}; {remedy}"
    if kind in ("name", "no_name"):
        return f"{section}: {problem['msg']}{f'; {remedy}' if kind == 'no_name' else ''}"
    return None


def fields_of(key: str) -> list[str]:
    """The settings of kd-runner's own that stand at `key` beside those of a callable, such as 'plus.at'."""
    section = key.partition(".")[0]
    kinds: dict[str, type[BaseModel]] = {
        **{"teacher": TeacherSettings, "teachers": ExtraTeacherSettings, "student": StudentSettings},
        **{"dataset": DatasetSettings, "distillation": DistillationSettings, "plus": DistillationSettings},
    }
    is_section = key.count(".") == (section in NAMED)
    return [name for name in kinds[section].model_fields if name != "target"] if section in kinds and is_section else []


def as_number(problem: Any) -> str:
    """The end of the line about a text that stands for a number, such as 90%; empty for other problems."""
    meant = number_meant(problem["input"]) if str(problem["type"]).startswith("float_") else None
    return f"; as a number it is {meant}" if meant else ""


def rule_of(problem: Any) -> str:
    """The rule that a wrong value breaks, from pydantic's description of the problem."""
    kind = problem["type"]
    if kind in ("sequence_str", "list_type", "is_instance_of"):
        return "must be a list"
    if kind in ("model_type", "model_attributes_type"):
        return "must be settings by their keys"
    if kind == "dict_type":
        return "must be settings such as {lr: 0.1}, or null"
    message = str(problem["msg"]).removeprefix("Value error, ")  # from a validator of ours
    return message.replace("Input should be", "must be", 1).replace("Field required", "must have more values")
