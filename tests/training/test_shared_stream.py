"""Students side by side: each gets the bits that it has when it trains alone, and the teacher sees each batch once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.outputs import Outputs
from kd_runner.runs.assembly import assemble
from kd_runner.runs.companions import Companions
from kd_runner.runs.data import Data
from kd_runner.runs.parts import Parts
from kd_runner.sweeps.packs.turns import Turns
from kd_runner.tracking.logger import RunLogger
from kd_runner.training import shared_stream
from kd_runner.training.distiller import Distiller
from kd_runner.training.fit import fit
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.teacher_outputs import OnlineTeacher

Make = Callable[..., Any]
SHARED = (
    "teacher.channels=[6,8]",
    "teacher.hidden=[10]",
    "student.epochs=3",
    "batch_size=16",
    "student.fraction=0.08",
    "trainer.accelerator=cpu",
)
AUGMENTED = ("dataset.crop_padding=1", "dataset.mixup=0.5", "dataset.random_erasing=0.3")
# Students that differ in all that may differ: network, mode, weight, temperature, optimizer, schedule, seed.
MEMBERS = {
    "soft": ("distillation=soft", "student=tiny_mlp"),
    "soft at 9": ("distillation=soft", "temperature.value=9", "optimizer=sgd", "scheduler=steps"),
    "dkd": ("distillation=dkd", "student=mlp", "student.dropout=[0.2,0.5]", "temperature.value=2"),
    "at": ("distillation=at", "student.channels=[3,4]", "optimizer=sgd"),
    "fitnets": ("distillation=fitnets", "distillation.init_share=0.4", "student.channels=[3,4]"),
    "rkd": ("distillation=rkd", "student=tiny_mlp", "student.optimizer={lr: 0.03}"),
    "crd": ("distillation=crd", "distillation.negatives=20"),
    "mlkd": ("distillation=mlkd", "student=mlp", "student.dropout=[0.1,0.1]"),
    "none": ("distillation=none", "student=tiny_mlp", "optimizer=adamw"),
    "learned": ("distillation=soft", "temperature=learned", "student=tiny_mlp", "seed=4"),
}


class Student:
    """A student's training, alone or beside others."""

    def __init__(self, parts: Parts, folder: Path, resume_state: ResumeState | None = None) -> None:
        self.parts, self.folder, self.resume_state = parts, folder, resume_state
        self.module: Distiller | None = None

    def train(self, companions: Companions | None = None) -> None:
        module = self.parts.distiller(self.parts.teacher_student_pair(), companions)
        validation = self.parts.data.plain_batches("val")
        fit(module, validation, self.parts.settings.trainer, RunLogger(self.folder), self.resume_state)
        self.module = module

    def numbers(self) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
        """The weights, those of the mode's adapters too, and the metrics of all epochs."""
        assert self.module is not None
        history = [{name: value for name, value in m.items() if "per_second" not in name} for m in self.module.history]
        return dict(self.module.state_dict()), history


def same_leaf(first: object, second: object) -> bool:
    return torch.equal(first, second) if isinstance(first, Tensor) and isinstance(second, Tensor) else first == second


def equal(first: Student, second: Student) -> bool:
    (weights, history), (other_weights, other_history) = first.numbers(), second.numbers()
    return (
        weights.keys() == other_weights.keys()
        and all(map(same_leaf, tree_leaves(weights), tree_leaves(other_weights)))
        and history == other_history
    )


def assembled(settings: Make, words: tuple[str, ...]) -> Parts:
    seeds = ("teacher.seed=0", "order_seed=0", "teacher.optimizer={lr: 0.01}")
    return assemble(settings(*SHARED, *seeds, *words))


def _double(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    if not torch.is_inference_mode_enabled():
        inputs[0].mul_(2)


def side_by_side(works: list[Callable[[Companions], None]]) -> None:
    turns = Turns()
    companions = Companions(len(works), turns.wait)
    turns.run([partial(work, companions) for work in works], torch.get_num_threads())


@pytest.mark.parametrize(
    "augmentation", [pytest.param((), marks=pytest.mark.slow), AUGMENTED], ids=["plain", "augmented"]
)
def test_students_are_what_they_would_be_alone(
    settings: Make, tmp_path: Path, augmentation: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_stream, "BLOCK_BYTES", 40_000)  # blocks of a few batches
    members = {name: (*words, *augmentation) for name, words in MEMBERS.items()}
    # One data object for all, as in a run of several.
    companions_data = Companions()
    alone = {name: Student(assembled(settings, words), tmp_path / name) for name, words in members.items()}
    for student in alone.values():
        student.train()
    packed = {}
    for name, words in members.items():
        seeds = ("teacher.seed=0", "order_seed=0", "teacher.optimizer={lr: 0.01}")
        parts = assemble(settings(*SHARED, *seeds, *words), companions=companions_data)
        packed[name] = Student(parts, tmp_path / f"{name} packed")
    passes: list[tuple[str, ...]] = []
    run_teacher = OnlineTeacher._run

    def counted(self: OnlineTeacher, images: Tensor) -> Outputs:
        passes.append(self.teacher.layers)
        return run_teacher(self, images)

    monkeypatch.setattr(OnlineTeacher, "_run", counted)
    side_by_side([student.train for student in packed.values()])
    assert [name for name in members if not equal(alone[name], packed[name])] == []
    assert packed["dkd"].numbers()[1] != packed["soft"].numbers()[1]
    batches = alone["soft"].module.batches.count  # type: ignore[union-attr]
    # Two teachers, of which one has layers, see each batch of three epochs once, and once the one batch of validation
    # images. The strong view is seen by the one whose student asked for it.
    assert {bool(layers): sum(bool(p) == bool(layers) for p in passes) for layers in passes} == {
        False: 2 * 3 * batches + 1,
        True: 3 * batches + 1,
    }


@pytest.mark.parametrize("outputs", ["online", pytest.param("cache", marks=pytest.mark.slow)])
def test_students_whose_batches_of_validation_images_differ_are_what_they_would_be_alone(
    settings: Make, tmp_path: Path, outputs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student that enlarges its images has smaller batches of evaluation. Those of training are shared all the same.

    Of the 630 validation images both have a batch with the number 1 and 204 images, which are not the same ones.
    """
    shared = ("student=tiny_mlp", "dataset.val_fraction=0.5", f"teacher_outputs={outputs}")
    shared += (f"store={tmp_path / 'store'}",)
    monkeypatch.setattr(Data, "evaluation_batch", property(lambda data: 204 if data.largest_input else 426))
    words = {
        "as they are": shared,
        "enlarged": (*shared, "student.input.size=16"),
        "once more": (*shared, "distillation=dkd"),
    }
    alone = {name: Student(assembled(settings, own), tmp_path / name) for name, own in words.items()}
    for student in alone.values():
        student.train()
    packed = {name: Student(assembled(settings, own), tmp_path / f"{name} packed") for name, own in words.items()}
    passes: list[int] = []
    run_teacher = OnlineTeacher._run

    def counted(self: OnlineTeacher, images: Tensor) -> Outputs:
        passes.append(len(images))
        return run_teacher(self, images)

    monkeypatch.setattr(OnlineTeacher, "_run", counted)
    side_by_side([student.train for student in packed.values()])
    assert [len(batch.labels) for batch in packed["as they are"].parts.data.plain_batches("val")] == [426, 204]
    assert [len(batch.labels) for batch in packed["enlarged"].parts.data.plain_batches("val")] == [204, 204, 204, 18]
    assert [name for name in words if not equal(alone[name], packed[name])] == []
    steps = 3 * alone["enlarged"].module.batches.count if outputs == "online" else 0  # type: ignore[union-attr]
    assert sorted(passes) == sorted([16] * steps + [426, 204] + [204, 204, 204, 18])


def test_students_with_a_budget_in_steps_are_what_they_would_be_alone(settings: Make, tmp_path: Path) -> None:
    """Parts of 5, 5 and 6 of passes of 13 batches, half of whose images have no labels."""
    shared = Companions()
    steps = ("student.steps=16", "student=tiny_mlp", "student.unlabelled_fraction=0.1")
    alone = [
        Student(assembled(settings, (*steps, mode)), tmp_path / mode)
        for mode in ("distillation=soft", "distillation=logits_l2")
    ]
    for student in alone:
        student.train()
    seeds = ("teacher.seed=0", "order_seed=0", "teacher.optimizer={lr: 0.01}")
    packed = [
        Student(assemble(settings(*SHARED, *seeds, *steps, mode), companions=shared), tmp_path / f"{mode} packed")
        for mode in ("distillation=soft", "distillation=logits_l2")
    ]
    side_by_side([student.train for student in packed])
    assert all(map(equal, alone, packed))
    assert [len(student.numbers()[1]) for student in packed] == [3, 3]


def test_a_student_that_goes_on_later_catches_up_with_nobody(settings: Make, tmp_path: Path) -> None:
    """Two students were interrupted after different epochs: the one behind trains alone until both are there."""
    words = {"soft": MEMBERS["soft"], "dkd": MEMBERS["dkd"]}
    straight = {name: Student(assembled(settings, own), tmp_path / name) for name, own in words.items()}
    for student in straight.values():
        student.train()
    shared = Companions()
    resumed = {}
    for epochs, (name, own) in zip((2, 1), words.items(), strict=True):
        state = ResumeState(tmp_path / f"state {name}", "same")
        cut_off = Student(assembled(settings, own), tmp_path / f"{name} cut", state)
        save = state.save

        def stop(content: Any, epoch: int, of: int, save: Any = save, epochs: int = epochs) -> None:
            save(content, epoch, of)
            if epoch == epochs:
                raise InterruptedError

        state.save = stop  # type: ignore[method-assign]
        with pytest.raises(InterruptedError):
            cut_off.train()
        state.save = save  # type: ignore[method-assign]
        seeds = ("teacher.seed=0", "order_seed=0", "teacher.optimizer={lr: 0.01}")
        parts = assemble(settings(*SHARED, *seeds, *own), companions=shared)
        resumed[name] = Student(parts, tmp_path / f"{name} again", state)
    side_by_side([student.train for student in resumed.values()])
    assert all(equal(straight[name], resumed[name]) for name in words)


def test_a_student_that_fails_leaves_the_others_alone(settings: Make, tmp_path: Path) -> None:
    words = {"good": MEMBERS["soft"], "bad": MEMBERS["dkd"], "better": MEMBERS["rkd"]}
    shared, failures = Companions(), list[str]()
    seeds = ("teacher.seed=0", "order_seed=0", "teacher.optimizer={lr: 0.01}")
    alone = {name: Student(assembled(settings, own), tmp_path / name) for name, own in words.items()}
    packed = {
        name: Student(assemble(settings(*SHARED, *seeds, *own), companions=shared), tmp_path / f"{name} packed")
        for name, own in words.items()
    }

    def fail(companions: Companions) -> None:
        try:
            parts = packed["bad"].parts
            batches, _ = companions.training(
                parts.stream_key(parts.teacher),
                parts.data.training_batches("student", parts.recipes["student"]),
                parts.teacher_student_pair().teacher,
                parts.images_key(),
            )
            for number, _ in enumerate(batches.batches()):
                if number == 2:
                    raise ValueError("not a number")
        except ValueError as error:
            failures.append(str(error))

    side_by_side([packed["good"].train, fail, packed["better"].train])
    assert failures == ["not a number"]
    for name in ("good", "better"):
        alone[name].train()
        assert equal(alone[name], packed[name])


def test_a_student_that_fails_while_it_makes_a_block_costs_the_others_nothing(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = {"bad": MEMBERS["dkd"], "good": MEMBERS["soft"]}
    shared, failures = Companions(), list[str]()
    seeds = ("teacher.seed=0", "order_seed=0", "teacher.optimizer={lr: 0.01}")
    alone = Student(assembled(settings, words["good"]), tmp_path / "alone")
    alone.train()
    packed = {
        name: Student(assemble(settings(*SHARED, *seeds, *own), companions=shared), tmp_path / f"{name} packed")
        for name, own in words.items()
    }
    make, times = TrainingBatches.batches, list[int]()

    def damaged_once(self: TrainingBatches, order: Tensor | None = None) -> Iterator[Batch]:
        for batch in make(self, order):
            times.append(len(times))
            if len(times) == 9:  # in the middle of the second epoch
                raise RunFailed("an image cannot be read")
            yield batch

    def train(companions: Companions) -> None:
        try:
            packed["bad"].train(companions)
        except RunFailed as error:
            failures.append(str(error))

    monkeypatch.setattr(shared_stream, "BLOCK_BYTES", 5000)
    monkeypatch.setattr(TrainingBatches, "batches", damaged_once)
    side_by_side([train, packed["good"].train])
    assert failures == ["an image cannot be read"]
    assert equal(alone, packed["good"])


def test_the_last_smaller_batch_does_not_make_blocks_longer(settings: Make, tmp_path: Path) -> None:
    shared = Companions()
    seeds = ("teacher.seed=0", "order_seed=0", "teacher.optimizer={lr: 0.01}")
    parts = [assemble(settings(*SHARED, *seeds, *MEMBERS[name]), companions=shared) for name in ("soft", "none")]
    sizes: list[int] = []
    fit_size = shared_stream.SharedStream._fit_size

    def noted(self: Any, tensors: Any, batch: Any) -> None:
        fit_size(self, tensors, batch)
        sizes.append(self._batches_of_block)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared_stream, "BLOCK_BYTES", 3 * (16 * 64 * 4 + 16 * 10 * 4) * 2)
        patch.setattr(shared_stream.SharedStream, "_fit_size", noted)
        side_by_side([Student(own, tmp_path / str(n)).train for n, own in enumerate(parts)])
    assert set(sizes) <= {3, 6, 7}  # of images alone, before a teacher has been asked
    assert sizes[-1] == 3


def test_a_student_that_changes_what_it_shares_is_told(settings: Make, tmp_path: Path) -> None:
    shared, failures = Companions(), list[str]()
    seeds = ("teacher.seed=0", "order_seed=0", "teacher.optimizer={lr: 0.01}")
    parts = [assemble(settings(*SHARED, *seeds, *MEMBERS[name]), companions=shared) for name in ("soft", "dkd")]
    parts[0].student.register_forward_pre_hook(_double)

    def train(student: Student, companions: Companions) -> None:
        try:
            student.train(companions)
        except RunFailed as error:
            failures.append(str(error))

    students = [Student(own, tmp_path / str(n)) for n, own in enumerate(parts)]
    side_by_side([partial(train, student) for student in students])
    assert failures
    assert all("changes the images of a batch in place" in failure for failure in failures)
    assert all("hydra.launcher.pack=off" in failure for failure in failures)
