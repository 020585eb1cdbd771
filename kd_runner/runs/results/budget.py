"""The budget of each stage: the images that passed through its networks, and the multiply-accumulates of that.

Everything follows from the settings and from what the modes declare to need. tests/runs/results/test_budget.py counts
the same with hooks, for every mode. Counted is what the recipe asks for: outputs of a teacher that are found in a
cache, or that several students share, count as if they had been computed, so that a training has the same budget
everywhere. So do images that are made from the teacher, which the student's budget has.

Not counted are the few images that are looked at before a stage trains (rehearsal, folding of batch norms) and the
evaluation of networks that have been trained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from kd_runner.config.settings import Settings
from kd_runner.evaluation.macs import BACKWARD, FOR_PIXELS, multiply_accumulates
from kd_runner.files.stages import BASELINE, FINETUNE, STAGES, STUDENT, TEACHER
from kd_runner.input_pipeline.budget_in_steps import StepBudget, images_of_steps
from kd_runner.input_pipeline.step_plan import StepPlan, images_per_epoch
from kd_runner.outputs import UNDECLARED
from kd_runner.runs.data import Data, step_budget
from kd_runner.runs.parts import Parts
from kd_runner.runs.results.loss_cost import macs_of_batch
from kd_runner.runs.results.making_cost import making_cost
from kd_runner.runs.stages.peer_stage import students_of
from kd_runner.training.attack import Attack, attack_of
from kd_runner.training.mode import Mode, clean_view, strong_view
from kd_runner.training.precision import takes_each_gradient


@dataclass(frozen=True)
class Passes:
    """Images that passed through networks while a stage trained; an image counts once for each pass.

    Args:
        images: Views of training images that were learned from.
        student_forwards, student_backwards: Passes of them through the student's network.
        teacher_forwards, teacher_backwards: Passes of them through the teacher, with those that fill up a last batch;
            backwards where the teacher trains.
        student_validations, teacher_validations: Passes of validation images, after each epoch or once.
        student_attacks, teacher_attacks: Passes of training images on their way to be attacked, through the network
            whose loss grows: a forward pass, and a backward one that gives the gradient of the pixels alone.
        losses: Number of times that each mode's loss was computed, by the mode's key and the size of the batch.
    """

    images: int = 0
    student_forwards: int = 0
    student_backwards: int = 0
    teacher_forwards: int = 0
    teacher_backwards: int = 0
    student_validations: int = 0
    teacher_validations: int = 0
    student_attacks: int = 0
    teacher_attacks: int = 0
    losses: Counter[tuple[str, int]] = field(default_factory=Counter)

    def __add__(self, other: Passes) -> Passes:
        return Passes(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def among_peers(self, peers: int, again: int) -> Passes:
        """These passes of a student whose teachers are its peers, which the peers' own training runs.

        Args:
            peers: The number of peers that it learns from.
            again: The number of images whose logits it computes anew after its updates, for the peers that are updated
                after it.
        """
        return replace(
            self,
            student_forwards=self.student_forwards + again,
            teacher_forwards=0,
            teacher_validations=0,
            losses=Counter({key: peers * count for key, count in self.losses.items()}),
        )

    def counts(self) -> dict[str, int]:
        """The numbers of passes by name, for result.json; those of attacks where there are any."""
        counts = {name: value for name, value in vars(self).items() if name != "losses"}
        return {name: value for name, value in counts.items() if value or not name.endswith("_attacks")}


def batch_sizes(images: int, batch_size: int) -> Counter[int]:
    """The number of batches of each size in an epoch."""
    full, remainder = divmod(images_per_epoch(images, batch_size), batch_size)
    return Counter({size: count for size, count in ((batch_size, full), (remainder, int(remainder > 0))) if count})


@dataclass(frozen=True)
class StageLength:
    """The length of a stage's training.

    Args:
        epochs: The number of epochs that were planned.
        images, validation: Number of training images, and of validation images.
        trained: The number of epochs that were trained of the planned ones; None for all.
        budget: The steps of the stage, where its epochs are parts of them.
        accumulate: The number of batches whose gradients make a step of the optimizer; 1 with a budget.
    """

    epochs: int
    images: int
    batch_size: int
    validation: int
    trained: int | None = None
    budget: StepBudget | None = None
    accumulate: int = 1

    @property
    def trained_epochs(self) -> int:
        """The number of epochs that were trained."""
        return self.epochs if self.trained is None else self.trained

    def steps(self, epochs: int, batches: int) -> int:
        """The number of steps of so many epochs, each a pass of `batches` or a part of the budget."""
        return epochs * batches if self.budget is None else self.budget.before(epochs)

    def images_of(self, steps: int) -> int:
        """The number of training images in so many steps."""
        return images_of_steps(steps, self.images, self.batch_size)


@dataclass(frozen=True)
class StudentStep:
    """The passes that each step of a student beside a teacher takes.

    Args:
        by_loss: True where the gradient of each of two losses is computed by itself.
        filled: True where a last, smaller batch is filled up on its way through the teacher (`OnlineTeacher`).
        attack: The attack on the images.
        has_clean_view: True where the student is shown attacked images as they are, too.
    """

    by_loss: bool = False
    filled: bool = False
    attack: Attack | None = None
    has_clean_view: bool = False


def label_passes(network: Literal["student", "teacher"], length: StageLength, attack: Attack | None = None) -> Passes:
    """The passes of a stage on labels alone.

    Args:
        network: The network that trains.
        attack: The attack on its images.
    """
    epochs = length.trained_epochs
    steps = length.steps(epochs, batch_sizes(length.images, length.batch_size).total())
    seen = length.images_of(steps)
    counts = {"forwards": seen, "backwards": seen, "validations": epochs * length.validation}
    counts |= {"attacks": seen * attack.steps} if attack is not None else {}
    return Passes(seen, **{f"{network}_{name}": count for name, count in counts.items()})  # type: ignore[arg-type]


def distillation_passes(modes: Sequence[Mode], length: StageLength, step: StudentStep) -> Passes:
    """The passes of a student's stage with a teacher."""
    active = [mode for mode in modes if mode.weight > 0]
    views = 2 if strong_view(active) else 1
    sizes = batch_sizes(length.images, length.batch_size)
    order = [size for size, count in sizes.items() for _ in range(count)]  # a smaller batch is the last of an epoch
    plan = StepPlan(len(order), sum(order), length.batch_size, length.accumulate)
    updates = length.steps(length.epochs, plan.steps_per_epoch)  # that were planned: weights follow their share
    steps = length.steps(length.trained_epochs, len(order))
    constant = not any(mode.warmup or mode.init_share for mode in active)
    seen = (2 if step.has_clean_view else views) * length.images_of(steps)
    asks_teacher = step.attack is not None and step.attack.objective == "teacher"
    whole_passes, more_steps = divmod(steps, len(order))
    teacher, backwards, losses = 0, seen, Counter[tuple[str, int]]()
    # Where nothing changes over the stage, one pass over the images stands for all.
    for number in range(min(len(order), steps) if constant else steps):
        size, times = order[number % len(order)], whole_passes + (number < more_steps) if constant else 1
        progress = plan.step_of(number) / updates
        taking_part, is_without_labels = modes_at(active, progress), any(progress < mode.init_share for mode in active)
        if asks_teacher or any(mode.needs.uses_teacher for mode in taking_part):
            teacher += times * views * (order[0] if step.filled else size)
        if step.by_loss and taking_part and not is_without_labels:
            backwards += times * (views if strong_view(taking_part) else 1) * size
        losses.update({(mode.key, size): times for mode in taking_part})
    return Passes(
        images=seen,
        student_forwards=seen,
        student_backwards=backwards,
        teacher_forwards=teacher,
        student_validations=length.trained_epochs * length.validation,
        teacher_validations=length.validation,  # a teacher does not change: its first answer stands
        losses=losses,
        **attack_passes(step.attack, length.images_of(steps)),
    )


def attack_passes(attack: Attack | None, images: int) -> dict[str, int]:
    """The passes of a student's stage whose images, so many in all its steps, are attacked."""
    if attack is None:
        return {}
    network = "teacher" if attack.changes_teacher_images else "student"
    return {f"{network}_attacks": attack.steps * images}


def modes_at(modes: Sequence[Mode], progress: float) -> list[Mode]:
    """The modes whose losses are computed when `progress`, a share of the stage, is done."""
    initialising = [mode for mode in modes if progress < mode.init_share]
    return [mode for mode in initialising or modes if mode.weight_at(progress)]


def looks_into_teacher(modes: Sequence[Mode], settings: Settings) -> bool:
    """True where one of the modes that count is handed layers of the teacher."""
    for mode in (mode for mode in modes if mode.weight > 0):
        named = mode.needs is UNDECLARED and (mode.teacher_layers or settings.teacher.layers)
        if mode.needs.teacher is not None or named:
            return True
    return False


def passes_of(
    stage: str,
    settings: Settings,
    modes: Sequence[Mode],
    data: Data,
    by_loss: bool = False,
    trained: Mapping[str, int] | None = None,
) -> Passes:
    """The passes of a stage: 'teacher' or 'teachers.NAME', 'baseline', or 'student', with its finetuning.

    Args:
        trained: The number of epochs that each stage was trained for; all that were planned where it says nothing.
    """
    trained = trained or {}
    images, validation = len(data.images_of(stage)), len(data.splits.val)
    if stage in settings.all_teachers:
        section = settings.all_teachers[stage]
        if section.head == "probe":
            return Passes(images, teacher_forwards=images, teacher_validations=validation)
        if not section.is_trained:
            return Passes()
        assert section.epochs is not None
        length = StageLength(section.epochs, images, settings.batch_size, validation, trained.get(stage))
        return label_passes("teacher", length, attack_of(settings, stage))
    budget = step_budget(settings)
    epochs = settings.student.epochs if budget is None else budget.parts
    length = StageLength(epochs, images, settings.batch_size, validation, trained.get(stage), budget)
    if stage == BASELINE:
        return label_passes("student", length, attack_of(settings, stage))
    attack = attack_of(settings, STUDENT)
    has_clean_view = attack is not None and clean_view(modes, settings.distillation.label_weight)
    step = StudentStep(by_loss, not looks_into_teacher(modes, settings), attack, has_clean_view)
    length = replace(length, trained=trained.get(STUDENT), accumulate=settings.trainer.accumulate_grad_batches)
    passes = distillation_passes(modes, length, step)
    if not settings.finetune.epochs:
        return passes
    counts = (settings.finetune.epochs, len(data.images_of(FINETUNE)), settings.batch_size, validation)
    length = StageLength(*counts, trained.get(FINETUNE))
    return passes + label_passes("student", length, attack_of(settings, FINETUNE))


def budget_of(
    parts: Parts,
    stages: Mapping[str, Any],
    loss_macs: Mapping[str, Sequence[int] | None],
    trained: Mapping[str, int] | None = None,
    link_loss_macs: Mapping[str, Mapping[str, Sequence[int] | None]] | None = None,
) -> dict[str, Any]:
    """The section `budget` of result.json: the passes of each stage that the run has, and what they cost.

    The seconds of the same stages are in the section `seconds`: unlike a budget, they differ from one time to another.

    Args:
        stages: The stages' part of the result, with the multiply-accumulates of each network for one image.
        loss_macs: The multiply-accumulates of each mode's loss (`loss_cost.loss_macs`), by the mode's key.
        trained: The number of epochs that each stage was trained for, as in `passes_of`.
        link_loss_macs: `loss_macs` of the networks between teacher and student, by their stages.
    """
    settings, data = parts.settings, parts.data
    *links, student_parts = students_of(parts)
    macs = {stage: _macs_in_training(stages.get(stage) or {}) for stage in STAGES}
    budget: dict[str, Any] = dict.fromkeys(STAGES)
    of_teachers = {
        name: passes_of(name, settings, parts.modes, data, trained=trained) for name in settings.all_teachers
    }
    if any(passes.images for passes in of_teachers.values()):
        total = sum(of_teachers.values(), Passes())
        costs = {"student": 0, "teacher": _macs_of_teachers(parts, of_teachers, macs[TEACHER]), "losses": 0}
        budget[TEACHER] = _section(total, costs)
    if settings.baseline:
        passes = passes_of(BASELINE, settings, parts.modes, data, trained=trained)
        costs = {"student": _macs(passes, "student", macs[BASELINE]), "teacher": 0, "losses": 0}
        budget[BASELINE] = _section(passes, costs)
    if parts.peers:
        losses_of_all = {**(link_loss_macs or {}), STUDENT: loss_macs}
        budget |= _budget_of_peers(parts, [*links, student_parts], stages, losses_of_all, trained)
        budget["times_baseline"] = _times_baseline(budget, parts, macs, trained)
        return budget
    teacher, of_links = macs[TEACHER], dict[str, Any]()
    for link, record in zip(links, (stages.get("chain") or {}).get("links", []), strict=True):
        losses = (link_loss_macs or {}).get(link.stage, {})
        of_links[link.stage] = _section_of_student(link, record["macs"], teacher, losses, trained)
        teacher = record["macs"]
    budget |= {"chain": of_links} if of_links else {}
    budget[STUDENT] = _section_of_student(student_parts, macs[STUDENT], teacher, loss_macs, trained)
    budget["times_baseline"] = _times_baseline(budget, parts, macs, trained)
    return budget


def _budget_of_peers(
    parts: Parts,
    students: Sequence[Parts],
    stages: Mapping[str, Any],
    loss_macs: Mapping[str, Mapping[str, Sequence[int] | None]],
    trained: Mapping[str, int] | None,
) -> dict[str, Any]:
    """The budgets of students that learn from one another: those of the peers under 'peers', and the student's.

    Args:
        students: The parts of the peers and, last, of the student.
        loss_macs: The multiply-accumulates of each one's losses, by its stage.
    """
    macs = {record["stage"]: record["macs"] for record in (stages.get("peers") or {}).get("networks", [])}
    macs[STUDENT] = _macs_in_training(stages.get(STUDENT) or {})
    in_turn = parts.settings.peer_updates == "in_turn" and any(mode.weight > 0 for mode in parts.modes)
    last = students[-2].stage  # of those that are updated: the student is the first
    sections = {
        its.stage: _section_of_student(
            *(its, macs[its.stage], None, loss_macs.get(its.stage, {}), trained),
            peers=len(parts.peers),
            says_again=in_turn and its.stage != last,
        )
        for its in students
    }
    return {STUDENT: sections.pop(STUDENT), "peers": sections}


def _section_of_student(
    parts: Parts,
    student: int | None,
    teacher: int | None,
    loss_macs: Mapping[str, Sequence[int] | None],
    trained: Mapping[str, int] | None,
    peers: int = 0,
    says_again: bool = False,
) -> dict[str, Any]:
    """The budget of a student's stage, or of a link between teacher and student.

    Args:
        student, teacher: The multiply-accumulates of the two networks for one image.
        peers: The number of peers that teach the student in a teacher's place.
        says_again: True where it runs once more on each batch, for peers that are updated after it.
    """
    optimizer = parts.recipes[STUDENT].optimizer([torch.nn.Parameter(torch.zeros(1))])
    by_loss = takes_each_gradient(optimizer) and parts.settings.distillation.label_weight > 0
    trained = trained or {}
    if parts.stage != STUDENT:
        trained = {STUDENT: trained[parts.stage]} if parts.stage in trained else {}
    passes = passes_of(STUDENT, parts.settings, parts.modes, parts.data, by_loss, trained)
    if peers:
        finetuned = trained.get(FINETUNE, parts.settings.finetune.epochs)
        length = StageLength(finetuned, len(parts.data.images_of(FINETUNE)), parts.settings.batch_size, validation=0)
        afterwards = label_passes("student", length)
        passes = passes.among_peers(peers, passes.images - afterwards.images if says_again else 0)
    costs = {
        "student": _macs(passes, "student", student),
        "teacher": _macs(passes, "teacher", teacher),
        "losses": _macs_of_losses(passes, parts, loss_macs),
    }
    if parts.settings.data_free is None:
        return _section(passes, costs)
    making, costs["making"] = making_cost(parts, teacher)
    return {**_section(passes, costs), "making": making}


def _macs_in_training(stage: Mapping[str, Any]) -> int | None:
    """Multiply-accumulates of one image while a network trained, which may have had more channels then."""
    macs: int | None = stage["macs_in_training"] if "macs_in_training" in stage else stage.get("macs")
    return macs


def _section(passes: Passes, macs: dict[str, int | None]) -> dict[str, Any]:
    known = [value for value in macs.values() if value is not None]
    total = sum(known) if len(known) == len(macs) else None
    return {**passes.counts(), "macs": {**macs, "sum": total}}


def _macs(passes: Passes, network: str, for_one_image: int | None) -> int | None:
    """Multiply-accumulates of the training passes through a network; None where its own are not known."""
    forwards, backwards, attacks = (getattr(passes, f"{network}_{key}") for key in ("forwards", "backwards", "attacks"))
    if not forwards:
        return 0
    passes_forward = forwards + BACKWARD * backwards + FOR_PIXELS * attacks
    return None if for_one_image is None else passes_forward * for_one_image


def _macs_of_teachers(parts: Parts, trained: Mapping[str, Passes], of_all: int | None) -> int | None:
    """Multiply-accumulates of the training of all teachers."""
    if len(trained) == 1:
        return _macs(trained[TEACHER], "teacher", of_all)
    image = torch.zeros(1, *parts.data.splits.image_shape, device=parts.data.device)
    total = 0
    for name, passes in trained.items():
        network = parts.teachers[name].to(parts.data.device)
        macs = _macs(passes, "teacher", multiply_accumulates(network, image, name))
        if macs is None:
            return None
        total += macs
    return total


def _macs_of_losses(passes: Passes, parts: Parts, counts: Mapping[str, Sequence[int] | None]) -> int | None:
    """Multiply-accumulates of the modes' losses, of mixed images with the labels of both."""
    dataset, total = parts.settings.dataset, 0
    for mode in parts.modes:
        times = 2 if mode.needs.labels and (dataset.mixup or dataset.cutmix) else 1
        for (key, size), steps in passes.losses.items():
            if key == mode.key:
                measured = counts.get(key)
                if measured is None:
                    return None
                total += times * steps * macs_of_batch(measured, size)
    return total


def _times_baseline(
    budget: Mapping[str, Any], parts: Parts, macs: Mapping[str, int | None], trained: Mapping[str, int] | None
) -> float | None:
    """The student's training in multiply-accumulates, divided by its baseline's, be it one that was not trained.

    Where a rule would have stopped such a baseline early, it counts as one of as many epochs as the student's. The
    training of the networks between teacher and student counts, too, and that of the student's peers.
    """
    sections = [*budget.get("chain", {}).values(), *budget.get("peers", {}).values(), budget[STUDENT]]
    sums = [section["macs"]["sum"] for section in sections]
    total = None if None in sums else sum(sums)
    baseline = (budget[BASELINE] or {}).get("macs", {}).get("sum")
    if budget[BASELINE] is None and not any(hasattr(mode.loss, "deployed") for mode in parts.modes):
        is_stopped = parts.recipe_of(BASELINE).stopping is not None and STUDENT in (trained or {})
        of_baseline = {BASELINE: trained[STUDENT]} if is_stopped and trained else {}
        passes = passes_of(BASELINE, parts.settings, parts.modes, parts.data, trained=of_baseline)
        baseline = _macs(passes, "student", macs[STUDENT])
    return total / baseline if total is not None and baseline else None
