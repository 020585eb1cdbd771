"""A teacher is judged before a student learns from it, and what has not learned is said."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn

from kd_runner.comparison.chance import largest_class, p_of_at_least, p_of_drop
from kd_runner.datasets.digits import digits
from kd_runner.errors import RunFailed
from kd_runner.networks import checkpoints
from kd_runner.networks.records import Record, record_of
from kd_runner.notes import collected_notes
from kd_runner.runs.assembly import assemble
from kd_runner.runs.companions import Companions
from kd_runner.runs.judging.flat_losses import note_flat_loss
from kd_runner.runs.judging.judge import Judge, judge_of
from kd_runner.runs.judging.judgement import Judgement, remedy_for
from kd_runner.runs.judging.one_label import OneLabelJudge, note_not_learned
from kd_runner.runs.parts import Parts

RunIt = Callable[..., dict[str, Any]]
State = dict[str, Tensor]
TEACHER = ("teacher=mlp", "teacher.hidden=[16]", "student=tiny_mlp", "baseline=false")
SWAPPED = torch.tensor([0, 1, 2, 8, 4, 5, 6, 7, 3, 9])


def trained(mean: float, std: float, labels_of: Tensor | None = None) -> State:
    """Weights of the network 64-16-10 on the training digits, as people train it elsewhere."""
    split = digits(0).train
    images = (split.images.float() / 255 - mean) / std
    labels = split.labels if labels_of is None else labels_of[split.labels]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return network.state_dict()


@pytest.fixture(scope="module")
def good() -> State:
    pixels = digits(0).train.images.float() / 255
    return trained(float(pixels.mean()), float(pixels.std()))


@pytest.fixture
def given(result_of: RunIt, tmp_path: Path) -> RunIt:
    """Runs with a state dict as the teacher's weights."""

    def run(content: Any, *overrides: str) -> dict[str, Any]:
        torch.save(content, tmp_path / "given.pth")
        return result_of(*TEACHER, f"teacher.checkpoint={tmp_path / 'given.pth'}", *overrides)

    return run


def teacher_note(result: dict[str, Any]) -> str:
    """The one note of a run about its teacher, which result.json has in two places."""
    (text,) = (note for note in result["notes"] if note.startswith("the teacher"))
    assert result["teacher"]["judged"]["warning"] == text
    return text


def test_a_good_teacher_is_judged_in_a_line(given: RunIt, good: State, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result = given(good)
    judged = result["teacher"]["judged"]
    assert judged["val_accuracy"] > 0.9
    assert judged["largest_class"] == pytest.approx(13 / 126)
    assert (judged["recorded_accuracy"], judged["warning"]) == (None, None)
    line = f"teacher   right on {100 * judged['val_accuracy']:.1f} % of 126 validation images; always guessing the "
    assert f"{line}largest class: 10.3 %" in caplog.text
    assert caplog.text.index(line) < caplog.text.index("student   epoch 1/1")
    assert not [note for note in result["notes"] if note.startswith("the teacher")]


def test_a_teacher_at_chance_is_said_with_the_usual_causes(given: RunIt, good: State) -> None:
    noise = {name: torch.randn(value.shape, generator=torch.Generator().manual_seed(0)) for name, value in good.items()}
    result = given(noise, "distillation.label_weight=0")
    text = teacher_note(result)
    share = result["teacher"]["judged"]["val_accuracy"]
    assert text.startswith(f"the teacher (given.pth) is right on {100 * share:.1f} % of 126 validation images; always ")
    assert "guessing the largest class gives 10.3 %, " in text
    assert "dataset.mean" in text
    assert "another order" in text
    assert text.endswith("the student learns from it alone (distillation.label_weight=0)")


def test_one_class_for_all_images_is_said(given: RunIt, good: State) -> None:
    text = teacher_note(given(good | {"3.bias": good["3.bias"] + 1000 * torch.eye(10)[7]}))
    assert 'it says "7" for every image' in text


def test_classes_in_another_order_are_named(given: RunIt) -> None:
    split = digits(0).train
    pixels = split.images.float() / 255
    text = teacher_note(given(trained(float(pixels.mean()), float(pixels.std()), SWAPPED)))
    assert "its classes seem to be in another order: 9" in text
    assert text.endswith(" % with 3→8, 8→3 ('teacher.classes=[0,1,2,8,4,5,6,7,3,9]')")


@pytest.mark.parametrize(
    ("mean", "std", "setting"),
    [
        pytest.param(0.5, 0.5, "dataset.mean=[0.5] dataset.std=[0.5]", marks=pytest.mark.slow),
        (0, 1 / 255, "dataset.mean=[0] dataset.std=[0.00392157]"),
    ],
)
def test_another_normalisation_is_found_and_helps(given: RunIt, mean: float, std: float, setting: str) -> None:
    # What the run would measure is far from what the weights want.
    state = trained(mean, std)
    bad = given(state, "dataset.mean=[0.9]", "dataset.std=[1.0]")
    text = teacher_note(bad)
    assert "it is given dataset.mean and .std (0.9 and 1), with" in text
    assert f"with {setting} it is right on" in text
    right = given(state, *setting.split())
    assert right["teacher"]["judged"]["val_accuracy"] > bad["teacher"]["judged"]["val_accuracy"] + 0.1
    assert right["teacher"]["judged"]["warning"] is None


def test_weights_whose_logits_are_not_finite_are_refused(given: RunIt, good: State) -> None:
    huge = {name: 1e30 * value for name, value in good.items()}  # finite, but their products are not
    with pytest.raises(
        RunFailed, match=r"teacher\.checkpoint: \S+given\.pth: gives logits that are not finite numbers for \d+ of 126"
    ):
        given(huge)


def test_a_teacher_far_below_its_own_record(given: RunIt, good: State) -> None:
    state = {name: value.clone() for name, value in good.items()}
    state["1.weight"][:7] = 0
    result = given({"state_dict": state, "acc": 95.2})
    assert result["teacher"]["judged"]["recorded_accuracy"] == pytest.approx(0.952)
    assert "its own file says 95.2 % (p = " in teacher_note(result)


def test_files_of_ours_record_their_accuracy(result_of: RunIt, tmp_path: Path) -> None:
    first = result_of("teacher.epochs=3", "student.epochs=2")
    folder = tmp_path / "run0"
    for name in ("teacher", "baseline", "student_last", "student_best"):
        _, info = checkpoints.read_checkpoint(folder / f"{name}.safetensors")
        assert info is not None
        assert info["val_images"] == 126
        assert record_of(folder / f"{name}.safetensors") == Record(info["val_accuracy"], 126, True)
    accuracy = first["teacher"]["judged"]["val_accuracy"]
    second = result_of("baseline=false", f"teacher.checkpoint={folder / 'teacher.safetensors'}")
    assert second["teacher"]["judged"]["recorded_accuracy"] == pytest.approx(accuracy)
    assert second["teacher"]["judged"]["val_accuracy"] == pytest.approx(accuracy)
    best = record_of(folder / "student_best.safetensors")
    assert best is not None
    assert best.accuracy == first["student"]["best_val"]["val_accuracy"]


def test_several_teachers_and_their_mean_are_judged(result_of: RunIt, good: State, tmp_path: Path) -> None:
    torch.save(good, tmp_path / "good.pth")
    words = ("+teacher@teachers.second=mlp", "teachers.second.hidden=[8]", "+teachers.second.epochs=1")
    result = result_of(*TEACHER, f"teacher.checkpoint={tmp_path / 'good.pth'}", *words, "optimizer.lr=0")
    judged = result["teacher"]["judged"]
    assert set(judged["members"]) == {"teacher", "teachers.second"}
    assert judged["members"]["teacher"]["warning"] is None
    assert judged["members"]["teacher"]["val_accuracy"] > 0.9
    assert re.match(
        r"teachers\.second (has not|may not have) learned: ", judged["members"]["teachers.second"]["warning"]
    )
    assert "teachers.second.epochs, now 1" in judged["members"]["teachers.second"]["warning"]
    assert 0 < judged["val_accuracy"] <= 1


def test_a_given_teacher_is_judged_before_another_trains(result_of: RunIt, good: State, tmp_path: Path) -> None:
    broken = {name: value * 1e30 for name, value in good.items()}  # finite, but no products of them
    torch.save(broken, tmp_path / "broken.pth")
    words = ("+teacher@teachers.second=mlp", "teachers.second.hidden=[16]")
    with pytest.raises(RunFailed, match=r"^teachers\.second\.checkpoint: .*broken\.pth"):
        result_of("teacher=mlp", "baseline=false", *words, f"+teachers.second.checkpoint={tmp_path / 'broken.pth'}")
    assert not list((tmp_path / "store").glob("*"))


def test_what_has_not_learned_is_said_when_it_has_trained(result_of: RunIt, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result = result_of("teacher=mlp", "student=tiny_mlp", "optimizer=sgd", "optimizer.lr=1e-9", "student.epochs=2")
    said = {}
    lengths = {"teacher": "teacher.epochs, now 1", "baseline": "student.epochs, now 2", "student": "student.e"}
    for role, settings in lengths.items():
        (said[role],) = (note for note in result["notes"] if note.startswith(f"the {role} ") and " learned: " in note)
        assert settings in said[role]
        # An accuracy above that of the largest class may be chance, and may be a little that was learned.
        surely = "so it is no better than chance" in said[role]
        assert said[role].startswith(f"the {role} {'has not' if surely else 'may not have'} learned: ")
    assert "(optimizer.lr, now 1e-09)" in caplog.text
    assert caplog.text.index(said["teacher"]) < caplog.text.index("baseline  epoch 1/2")
    assert caplog.text.index(said["baseline"]) < caplog.text.index("student   epoch 1/2")
    assert result["teacher"]["judged"]["warning"] == said["teacher"]


@pytest.mark.parametrize(("accuracy", "words"), [(0.5, "has not learned"), (0.51, "may not have learned")])
def test_what_may_be_chance_is_not_said_to_be(settings: Callable[..., Any], accuracy: float, words: str) -> None:
    with collected_notes() as notes:
        note_not_learned(settings(), "student", accuracy, 100, 0.5, 2, ["a reason"])
    assert notes[-1].startswith(f"the student {words}: it is right on {100 * accuracy:.1f} % of 100 ")
    assert f"; more epochs (student.epochs, now {settings().student.epochs}), another learning rate" in notes[-1]


@pytest.mark.parametrize(("largest", "is_said"), [(0.74, False), (0.76, True)])  # of two classes
def test_where_one_class_is_large_the_note_names_balanced_accuracy(
    settings: Callable[..., Any], largest: float, is_said: bool
) -> None:
    warning = note_not_learned(settings(), "student", 0.6, 1000, largest, 2, ["a reason"])
    assert ("balanced accuracy says more" in warning) == is_said


def test_a_training_of_a_number_of_steps_is_made_longer_by_more_of_them(settings: Callable[..., Any]) -> None:
    of_steps = settings("student.steps=2000", "teacher.epochs=7")
    assert remedy_for(of_steps, "student").startswith(
        "more steps (student.steps, now 2000), another learning rate (optimizer.lr, now 0.001)"
    )
    assert remedy_for(of_steps, "teacher").startswith("more epochs (teacher.epochs, now 7), another learning rate")


@pytest.mark.slow
def test_a_teacher_no_better_than_its_baseline_is_said_before_the_student_trains(
    result_of: RunIt, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kd_runner")
    words = ("teacher=mlp", "teacher.hidden=[4]", "student=cnn", "student.epochs=3", "optimizer.lr=0.01")
    result = result_of(*words)
    (text,) = (note for note in result["notes"] if " is worse than the baseline (" in note)
    assert "on 126 validation images" in text
    assert "there is little to distil" in text
    assert caplog.text.index("worse than the baseline") < caplog.text.index("student   epoch 1/3")
    without_a_teacher = result_of(*words, "distillation=label_smoothing")
    assert not [note for note in without_a_teacher["notes"] if "than the baseline" in note]


def judged(name: str, hits: int, images: int, warning: str | None = None) -> Judgement:
    return Judgement(name, torch.arange(images) < hits, 0.1, None, warning)


@pytest.mark.parametrize(
    ("teacher", "baseline", "images", "words"),
    [
        (126, 126, 126, None),  # saturated: the images cannot tell
        (124, 126, 126, None),
        (100, 90, 126, None),
        (6, 8, 12, None),
        (100, 126, 126, " is worse than the baseline (100.0 %) on 126 "),
        (100, 100, 126, " may be no better than the baseline (79.4 %) on 126 "),
    ],
)
def test_a_gap_is_missed_where_the_images_can_tell(
    settings: Callable[..., Any], teacher: int, baseline: int, images: int, words: str | None
) -> None:
    with collected_notes() as notes:
        judge = OneLabelJudge(settings(), None, Companions())  # type: ignore[arg-type]
        judge.note_no_gap(judged("teacher", teacher, images), judged("baseline", baseline, images))
    assert len([text for text in notes if words is not None and words in text]) == len(notes) == (words is not None)


def few_validation_images(parts: Parts, count: int) -> Parts:
    splits = parts.data.splits
    few = replace(splits, val=splits.val.subset(list(range(count))))
    return replace(parts, data=replace(parts.data, splits=few))


def note_student_of(parts: Parts, epochs: dict[str, Any], judgements: dict[str, Judgement]) -> None:
    judge_in(parts).note_student(parts.modes, parts.temperature, epochs, judgements)


def judge_in(parts: Parts) -> Judge:
    return judge_of(parts.settings, parts.data, Companions())


def test_on_few_images_nobody_is_told_from_chance(settings: Callable[..., Any]) -> None:
    parts = few_validation_images(assemble(settings()), 12)
    nothing = {"val_accuracy": 2 / 12, "train_loss": 2.3, "label_loss": 2.3, "train_accuracy": 0.1}
    with collected_notes() as notes:
        note_student_of(parts, {"student": [nothing]}, {})
        note_student_of(parts, {"student": [{**nothing, "train_accuracy": 0.9}]}, {})  # learned its training images
    assert notes == ["the student is right on 16.7 %: it cannot be told from chance on 12 validation images"]
    with collected_notes() as notes:
        for epoch in ({"train_loss": 2.3}, {"train_loss": 0.2}, {"train_loss": 2.3, "train_accuracy": 0.9}):
            judge_in(parts).judge_trained("teacher", parts.teacher, [epoch])
    (text,) = notes
    assert ": it cannot be told from chance on 12 validation images" in text
    assert "epochs" not in text


@pytest.mark.parametrize("weight", [1.0, 0.5, 0.1, 0.0])
def test_a_small_weight_of_the_labels_is_no_small_loss(settings: Callable[..., Any], weight: float) -> None:
    """At pure chance, the loss that is recorded is the entropy of the labels times the weight."""
    parts = few_validation_images(assemble(settings(f"distillation.label_weight={weight}")), 12)
    losses = {"label_loss": weight * math.log(10), "distillation_loss": 0.01}
    of_epoch = {"val_accuracy": 2 / 12, "train_loss": sum(losses.values()), "train_accuracy": 0.1, **losses}
    unlabelled = {name: value for name, value in of_epoch.items() if name != "train_accuracy"}
    for epoch, is_said in ((of_epoch, True), (unlabelled, True), ({**of_epoch, "train_accuracy": 0.9}, False)):
        with collected_notes() as notes:
            note_student_of(parts, {"student": [epoch]}, {})
        said = "the student is right on 16.7 %: it cannot be told from chance on 12 validation images"
        assert notes == ([said] if is_said else [])


def test_a_teacher_with_a_warning_is_blamed_for_a_student_that_fails(settings: Callable[..., Any]) -> None:
    parts = assemble(settings("student.optimizer={lr: 0.5}"))
    epochs = {"student": [{"val_accuracy": 0.1, "label_loss": 2.3}]}
    with collected_notes() as notes:
        note_student_of(parts, epochs, {"teacher": judged("teacher", 10, 126, "it is bad")})
    (text,) = notes
    assert "its teacher, of which a note says what is wrong, is the likely cause" in text
    assert "(student.optimizer.lr, now 0.5)" in text


def test_a_student_better_than_its_given_teacher_is_said_without_a_baseline(settings: Callable[..., Any]) -> None:
    parts, epochs = assemble(settings()), {"student": [{"val_accuracy": 0.82, "label_loss": 0.3}]}
    teacher = judged("teacher", 34, 126)
    with collected_notes() as notes:
        note_student_of(parts, epochs, {"teacher": teacher})
        note_student_of(parts, epochs, {"teacher": teacher, "baseline": judged("baseline", 100, 126)})
        note_student_of(parts, epochs, {"teacher": judged("teacher", 100, 126)})
    assert notes == [
        "the student (82.0 %) is better than its teacher (27.0 %) on 126 validation images: there was little to distil"
    ]


def test_the_loss_of_a_memory_may_rise(settings: Callable[..., Any]) -> None:
    epochs = [{"val_accuracy": 0.9, "distillation_loss": value} for value in (1.0, 2.0)]
    for words, count in ((["distillation=crd"], 0), (["distillation=crd", "distillation.form=in_batch"], 1)):
        with collected_notes() as notes:
            note_student_of(assemble(settings(*words)), {"student": epochs}, {})
        assert len(notes) == count


def test_a_loss_that_does_not_fall_is_said() -> None:
    with collected_notes() as notes:
        note_flat_loss("student", [{"distillation_loss": 1.0}, {"distillation_loss": 0.5}], "distillation_loss", "x")
        note_flat_loss("teacher", [{"train_loss": 1.0}], "train_loss", "teacher.epochs")
        note_flat_loss("teacher", [], "train_loss", "teacher.epochs")
    assert notes == []
    with collected_notes() as notes:
        note_flat_loss("student", [{"distillation_loss": 1.0}, {"distillation_loss": 1.5}], "distillation_loss", "x")
    assert notes == ["the distillation loss of the student did not fall: 1 in epoch 1, 1.5 in epoch 2 (x)"]


def test_the_loss_of_a_mode_without_a_teacher_need_not_fall(result_of: RunIt) -> None:
    words = ("teacher=mlp", "student=cnn", "baseline=false", "student.epochs=6", "optimizer.lr=0.01")
    result = result_of(*words, "distillation=confidence_penalty")  # it rises while the student gets surer
    losses = [note for note in result["notes"] if "distillation loss" in note]
    assert losses == []


@pytest.mark.parametrize(("hits", "images", "share"), [(0, 10, 0.1), (3, 10, 0.1), (13, 126, 0.103), (126, 126, 0.9)])
def test_the_binomial_test_is_exact(hits: int, images: int, share: float) -> None:
    wanted = stats.binomtest(hits, images, share, alternative="greater").pvalue
    assert p_of_at_least(hits, images, share) == pytest.approx(wanted)


def test_a_drop_is_tested_with_both_numbers_of_images() -> None:
    assert p_of_drop(0.9, 100, 0.95, 100) == pytest.approx(stats.norm.cdf(-0.05 / (0.075 * 0.925 * 2 / 100) ** 0.5))
    assert p_of_drop(0.9, 100, 0.95, 10_000) < p_of_drop(0.9, 100, 0.95, 100)
    assert p_of_drop(0.5, 20, 1.0, None) < 0.01


def test_the_largest_class_and_a_judgement() -> None:
    assert largest_class(torch.tensor([2, 2, 0, 1])) == (2, 0.5)
    assert Judgement("teacher", torch.tensor([True, False, True, True]), 0.5).accuracy == 0.75


def test_judging_leaves_no_trace(given: RunIt, good: State) -> None:
    logging.getLogger("kd_runner").setLevel(logging.INFO)
    first, second = given(good), given({"state_dict": good, "acc": 99.9})
    assert first["student"]["nll"] == second["student"]["nll"]
