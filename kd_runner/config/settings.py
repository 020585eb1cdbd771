"""All settings of a run, and what follows from them for each stage. Defaults live in conf/, one place each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
)

from kd_runner.config.field_types import (
    METRICS,
    OF_TEACHER_AND_STUDENT,
    ONLINE,
    VIEWS,
    Count,
    Flag,
    LogitsDtype,
    Node,
    Optimizer,
    OutputsSource,
    Section,
    Seed,
    Words,
)
from kd_runner.config.fingerprint import decisive
from kd_runner.config.sections import (
    OF_STUDENTS,
    SHARED_BY_TEACHERS,
    STAGE_KEYS,
    AdversarialSettings,
    Assistants,
    AssistantSettings,
    AttackSettings,
    DatasetSettings,
    DistillationSettings,
    EarlyStoppingSettings,
    EvaluateSettings,
    ExtraTeacherSettings,
    FinetuneSettings,
    Modes,
    Peers,
    PeerSettings,
    PeerUpdates,
    PeerViews,
    PruningSettings,
    StudentSettings,
    Teachers,
    TeacherSettings,
    TrackingSettings,
    TrainerSettings,
)
from kd_runner.config.validation import validate_section
from kd_runner.errors import SettingsError


def _is_of_folds(value: int | None, info: ValidationInfo) -> int | None:
    folds = info.data.get("folds")
    if folds is None and value is not None:
        raise ValueError("must be null without folds, such as folds=5")
    if folds is not None and value is None:
        raise ValueError(f"must be 0 to {folds - 1} where folds={folds}; all of them are a sweep: -m folds={folds}")
    if folds is not None and value is not None and value >= folds:
        raise ValueError(f"must be 0 to {folds - 1} where folds={folds}")
    return value


class Settings(Section):
    """All settings of one run."""

    dataset: DatasetSettings
    teacher: TeacherSettings
    teachers: Teachers
    assistants: Assistants = {}
    generations: Count = 1
    peers: Peers = {}
    peer_views: PeerViews = "shared"
    peer_updates: PeerUpdates = "in_turn"
    student: StudentSettings
    finetune: FinetuneSettings
    baseline: Flag
    distillation: DistillationSettings
    plus: Modes
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
        node = self._optimizer_of(role) or {}
        return f"{role}.optimizer.lr" if "_target_" in node or "lr" in node else "optimizer.lr"

    def rate(self, role: str) -> float | None:
        """The learning rate that a stage begins with; None where its optimizer names none."""
        role = "student" if role.startswith("generations.") else role
        rate = self.for_stage(self._optimizer_of(role), "optimizer").get("lr")
        return float(rate) if isinstance(rate, (int, float)) else None

    def _optimizer_of(self, role: str) -> Node | None:
        """The optimizer that the section of a stage names for itself."""
        taught = {**self.chain, **self.peer_students, "student": self.student}
        return {**self.all_teachers, **taught, "finetune": self.finetune}[role].optimizer


def check(container: Mapping[str, Any], origins: Mapping[str, str] | None = None) -> Settings:
    """Settings from plain nested dictionaries.

    Args:
        origins: The key from which a copied value stems, by the key that has the copy. Where both are wrong, the error
            names only the key from which it stems.

    Raises:
        SettingsError: a line for each wrong value: its key, what must hold, what was given.
    """
    return validate_section(Settings, container, origins=origins)
