"""What the temperature leaves of a teacher's soft targets, said before the student trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import kd_runner
from kd_runner.config.settings import check
from kd_runner.distillation.dist import DIST
from kd_runner.distillation.dkd import DKD
from kd_runner.distillation.function_matching import FunctionMatching
from kd_runner.distillation.soft import Soft
from kd_runner.runs.assembly import assemble
from kd_runner.runs.judging.softness import SampleLogits, is_flat, is_one_hot, temperature_fault
from kd_runner.training.mode import Mode

RunIt = Callable[..., dict[str, Any]]
KEYS = "temperature.value"


def mode_of(loss: Any, **settings: Any) -> Mode:
    return Mode("distillation", loss, 1.0, **settings)


@pytest.fixture
def sample() -> SampleLogits:
    """A teacher that is right and sure of it, and a student that knows nothing."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 10
    teacher = torch.randn(200, 10, generator=generator).clamp(-3, 3) + 8 * torch.eye(10)[labels]
    return SampleLogits(teacher, 0.1 * torch.randn(200, 10, generator=generator), labels)


@pytest.mark.parametrize("loss", [Soft(), DKD(), DIST(), FunctionMatching(), Soft(temperature_squared=False)])
def test_usual_temperatures_are_passed_over(sample: SampleLogits, loss: Any) -> None:
    assert temperature_fault(mode_of(loss), sample, [4.0, 4.0], KEYS) is None
    assert temperature_fault(mode_of(loss), sample, [8.0, 1.0], KEYS) is None


def test_a_flat_teacher_is_said_for_modes_times_the_temperature_squared(sample: SampleLogits) -> None:
    text = temperature_fault(mode_of(Soft()), sample, [1000.0, 1000.0], KEYS)
    assert text is not None
    largest = (sample.teacher.double() / 1000).softmax(1).max(1).values.mean()
    assert f"at temperature 1000 the teacher's largest probability is {largest:.4f} on average, chance is 0.1: " in text
    assert "compares logits in effect" in text
    assert text.endswith("lower the temperature (temperature.value)")


@pytest.mark.parametrize("loss", [FunctionMatching(), Soft(temperature_squared=False)])
def test_a_gradient_that_vanishes_is_said(sample: SampleLogits, loss: Any) -> None:
    text = temperature_fault(mode_of(loss), sample, [4.0, 1000.0], KEYS)
    assert text is not None
    assert "times smaller than at temperature 4" in text


def test_the_gradient_is_right_up_to_the_highest_temperature(sample: SampleLogits) -> None:
    """In float32, against float64: T² (p_teacher - p_student) / T, however flat both are."""
    for scale in (1.0, 0.01):  # the teacher's logits differ by 3 or by 0.03
        for temperature in (20.0, 1000.0):
            student = sample.student.clone().requires_grad_()
            teacher = scale * sample.teacher
            loss = temperature**2 * torch.nn.functional.kl_div(
                (student / temperature).log_softmax(1),
                (teacher / temperature).log_softmax(1),
                reduction="batchmean",
                log_target=True,
            )
            loss.backward()
            exact = temperature * (
                (sample.student.double() / temperature).softmax(1) - (teacher.double() / temperature).softmax(1)
            )
            assert student.grad is not None
            error = (student.grad.double() - exact / len(teacher)).norm() / (exact / len(teacher)).norm()
            assert error < 1e-2


def test_a_teacher_that_has_hardly_learned_is_not_blamed_on_the_temperature(sample: SampleLogits) -> None:
    timid = SampleLogits(0.01 * sample.teacher, sample.student, (sample.labels + 1) % 10)
    text = temperature_fault(mode_of(Soft()), timid, [4.0, 4.0], KEYS)
    assert text is not None
    assert text.endswith(" only, and it is right on 0.0 % of 200 training images: has it learned?")
    assert temperature_fault(mode_of(Soft(), standardize=True), timid, [4.0, 4.0], KEYS) is None


def test_a_good_teacher_with_small_logits_is_not_asked_whether_it_has_learned(sample: SampleLogits) -> None:
    text = temperature_fault(
        mode_of(Soft()), SampleLogits(0.01 * sample.teacher, sample.student, sample.labels), [4.0, 4.0], KEYS
    )
    assert text is not None
    assert text.endswith(
        " only, though it is right on 100.0 % of 200 training images: lower the temperature (temperature.value)"
    )


def test_rounding_noise_is_said(sample: SampleLogits) -> None:
    timid = SampleLogits(0.01 * sample.teacher, sample.student, sample.labels)
    text = temperature_fault(mode_of(Soft()), timid, [1000.0, 1000.0], KEYS)
    assert text is not None
    assert "the value of its loss is rounding noise" in text


def test_a_one_hot_teacher_says_only_a_class(sample: SampleLogits) -> None:
    sure = SampleLogits(50 * sample.teacher, sample.student, sample.labels)
    text = temperature_fault(mode_of(Soft()), sure, [4.0, 1.0], KEYS)
    assert text is not None
    assert "above 0.999 on 9" in text or "above 0.999 on 100.0 %" in text
    assert "raise the temperature (temperature.value), to " in text
    raised = float(text.rpartition(" to ")[2].split()[0])
    assert temperature_fault(mode_of(Soft()), sure, [raised, raised], KEYS) is None


def test_decoupled_distillation_still_hears_the_other_classes(sample: SampleLogits) -> None:
    assert is_one_hot(50 * sample.teacher, 4.0)
    assert (
        temperature_fault(mode_of(DKD()), SampleLogits(50 * sample.teacher, sample.student, sample.labels), [4.0], KEYS)
        is None
    )


def test_flat_and_one_hot_are_told_apart(sample: SampleLogits) -> None:
    assert is_flat(torch.zeros(8, 5), 1.0)
    assert not is_one_hot(torch.zeros(8, 5), 1.0)
    assert not is_flat(sample.teacher, 4.0)
    assert is_one_hot(100 * torch.eye(5), 1.0)


def test_it_is_said_before_the_student_trains(result_of: RunIt, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result = result_of("temperature.value=1000", "teacher.epochs=3", "baseline=false")
    assert [text for text in result["notes"] if text.startswith("at temperature 1000 the teacher's largest")]
    assert caplog.text.index("at temperature 1000") < caplog.text.index("student   epoch 1/1")


@pytest.mark.slow
def test_modes_that_do_not_use_the_temperature_are_left_alone(result_of: RunIt) -> None:
    for mode in ("logits_l2", "hard", "at"):
        notes = result_of(f"distillation={mode}", "temperature.value=0.5", "baseline=false")["notes"]
        (text,) = (text for text in notes if "temperature" in text)
        assert text.startswith("temperature.value has no effect: ")


def test_how_sure_a_teacher_is_of_training_images(result_of: RunIt, tmp_path: Path) -> None:
    result = result_of("student.fraction=0.1", "temperature=linear", "temperature.start=2", "temperature.end=3")
    seen, images = result["teacher"]["on_training_images"], result["data"]["student"]
    assert (seen["images"], seen["temperature"], seen["reads_temperature"]) == (images, 3, True)
    teacher, _ = kd_runner.load(tmp_path / "run0" / "teacher.safetensors")
    data = assemble(check(json.loads((tmp_path / "run0" / "settings.json").read_text()))).data
    labels = data.student_images.labels
    _, pixels, _ = next(data.source("student").read_chunks(torch.arange(len(labels)), len(labels)))
    with torch.no_grad():
        logits = teacher(data.view.normalise(pixels))
    assert seen["accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert seen["largest_probability"] == pytest.approx(float((logits / 3).softmax(1).max(1).values.mean()), rel=1e-5)
    assert result_of("distillation=logits_l2")["teacher"]["on_training_images"]["reads_temperature"] is False
    assert "on_training_images" not in result_of("distillation=none")["teacher"]
