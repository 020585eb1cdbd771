"""Whole runs on the digits, a second each."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import numbers_of
from mode_names import modes_of_any_student
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

import kd_runner
from kd_runner.config.fingerprint import digest_of_row
from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.training import distiller
from kd_runner.training.teacher_outputs import OnlineTeacher

RunIt = Callable[..., dict[str, Any]]
MODES = modes_of_any_student()
# Logits, no teacher, layers, a memory, a second view, a part that stays in the student, exits, a start of its own,
# attacks; tests/runs/test_every_mode.py trains the others, too.
OF_EACH_KIND = ("soft", "hard", "none", "fitnets", "crd", "mlkd", "simkd", "ofa", "ab", "tf_kd_self", "ard")
METRICS = {
    "accuracy",
    "val_accuracy",
    "top5_accuracy",
    "precision",
    "recall",
    "f1",
    "nll",
    "ece",
    "balanced_accuracy",
    "brier",
    "parameters",
    "macs",
    "latency",
    "inference",
    "file_bytes",
    "checkpoint",
    "images_seen",
    "correct",
    "calibrated",
}


def test_a_run_leaves_everything_behind(result_of: RunIt, tmp_path: Path) -> None:
    result = result_of()
    folder = tmp_path / "run0"
    assert json.loads((folder / "result.json").read_text()) == result
    assert set(result) == {
        "status", "fingerprint", "settings_digest", "overrides", "seed", "data_seed",
        "teacher", "baseline", "student", "gap_closed", "notes", "layers", "data", "views", "seconds", "budget",
        "environment", "teacher_outputs",
    }  # fmt: skip
    assert result["status"] == "completed"
    assert set(result["baseline"]) == METRICS
    assert set(result["teacher"]) == METRICS | {"judged", "on_training_images"}
    own = {"agreement", "kl_to_teacher", "against_teacher", "best_val", "val_accuracies"}
    assert set(result["student"]) == METRICS | own
    assert result["student"]["val_accuracies"][-1] == result["student"]["val_accuracy"]
    assert result["teacher"]["judged"]["val_accuracy"] == result["teacher"]["val_accuracy"]
    assert max(result["student"]["val_accuracies"]) == result["student"]["best_val"]["val_accuracy"]
    assert set(result["seconds"]) == {"teacher", "baseline", "student", "evaluate"}
    assert set(result["environment"]) == {"python", "torch", "device", "processor", "threads", "kd_runner", "git"}
    teacher, baseline, student = (result[stage]["accuracy"] for stage in ("teacher", "baseline", "student"))
    assert result["gap_closed"] == pytest.approx((student - baseline) / (teacher - baseline))
    assert json.loads((folder / "settings.json").read_text())["teacher"]["epochs"] == 1
    for name in ("teacher", "baseline", "student_last", "student_best"):
        network, info = kd_runner.load(folder / f"{name}.safetensors")
        assert network(torch.zeros(2, *info["image_shape"])).shape == (2, 10)


def test_a_run_says_which_layers_its_modes_compare(
    result_of: RunIt, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "kd_runner"):
        result = result_of(
            "distillation=at", "student.layers=['3']", "teacher.layers=['6']", "+distillation@plus.l2=logits_l2"
        )
    assert result["layers"] == {
        "distillation": {"student": ["3"], "teacher": ["6"]},
        "plus.l2": {"student": [], "teacher": []},
    }
    told = [message for message in caplog.messages if message.startswith("layers")]
    assert told == ["layers    distillation: student 3; teacher 6"]
    page = (tmp_path / "run0" / "report.html").read_text()
    assert "<dt>layers of distillation</dt><dd>student 3; teacher 6</dd>" in page


@pytest.mark.parametrize("words", [("distillation.weight=0",), ("distillation=none",)])
def test_a_mode_without_weight_is_none(words: tuple[str, ...], result_of: RunIt, tmp_path: Path) -> None:
    result = result_of(*words)
    assert result["layers"] == {}
    page = (tmp_path / "run0" / "report.html").read_text()
    assert page.count("learned from labels alone, as the baseline did") == 1
    assert "Distillation gave" not in page


def test_tensorboard_has_the_words_of_the_field(result_of: RunIt, tmp_path: Path) -> None:
    result = result_of("finetune.epochs=1", "teacher.epochs=2")
    folder = tmp_path / "run0" / "tensorboard"
    assert len(list(folder.glob("events.out.tfevents.*"))) == len(list(folder.iterdir())) == 2  # layout, numbers
    events = EventAccumulator(str(folder)).Reload()
    tags = set(events.Tags()["scalars"])
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy")
    assert {f"{stage}/{name}" for stage in ("teacher", "baseline", "student") for name in names} <= tags
    extra = {"label_loss", "distillation_loss", "temperature", "test_agreement", "learning_rate"}
    assert {f"student/{name}" for name in extra} <= tags
    assert "finetune/val_accuracy" in tags
    assert "hp_metric" not in tags
    assert [event.step for event in events.Scalars("teacher/val_loss")] == [1, 2]
    assert events.Scalars("teacher/test_accuracy")[0].value == pytest.approx(result["teacher"]["accuracy"])
    train, label, distillation = (
        events.Scalars(f"student/{name}")[0].value for name in ("train_loss", "label_loss", "distillation_loss")
    )
    assert train == pytest.approx(label + distillation, rel=1e-5)


@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[] if mode in OF_EACH_KIND else pytest.mark.slow) for mode in MODES]
)
def test_every_mode_runs_from_start_to_end(result_of: RunIt, mode: str) -> None:
    own = ["teacher.hidden=[]"] if mode in ("catkd", "sdd") else []  # they need a dense layer right behind the maps
    result = result_of(f"distillation={mode}", "baseline=false", *own)
    assert result["baseline"] is None
    assert result["gap_closed"] is None
    assert math.isfinite(result["student"]["nll"])
    assert math.isfinite(result["student"]["kl_to_teacher"])


def test_modes_add_up(result_of: RunIt) -> None:
    alone = result_of("baseline=false")
    both = result_of("baseline=false", "+distillation@plus.l2=logits_l2", "plus.l2.weight=0.1")
    silent = result_of("baseline=false", "+distillation@plus.l2=logits_l2", "plus.l2.weight=0")
    assert both["student"]["nll"] != alone["student"]["nll"]
    assert silent["student"]["nll"] == alone["student"]["nll"]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_temperature_schedules(result_of: RunIt, tmp_path: Path, schedule: str) -> None:
    result_of(f"temperature={schedule}", "temperature.start=6", "temperature.end=2", "student.epochs=4")
    events = EventAccumulator(str(tmp_path / "run0" / "tensorboard")).Reload()
    values = [event.value for event in events.Scalars("student/temperature")]
    assert values == sorted(values, reverse=True)
    assert values[0] < 6
    assert values[-1] == pytest.approx(2, abs=0.1)


def test_the_same_command_gives_the_same_bits(result_of: RunIt, tmp_path: Path) -> None:
    overrides = ("teacher=cnn", "dataset.crop_padding=1", "dataset.flip=true", "student=cnn")
    first = result_of(*overrides, f"store={tmp_path / 'a'}")
    second = result_of(*overrides, f"store={tmp_path / 'b'}")
    reused = result_of(*overrides, f"store={tmp_path / 'a'}")
    other = result_of(*overrides, "seed=1")
    texts = [json.dumps({k: v for k, v in numbers_of(r).items() if k != "overrides"}) for r in (first, second, reused)]
    assert texts[0] == texts[1] == texts[2]
    assert other["teacher"]["nll"] != first["teacher"]["nll"]
    assert other["fingerprint"] != first["fingerprint"] == reused["fingerprint"]
    assert other["settings_digest"] == first["settings_digest"]
    content = json.loads((tmp_path / "run0" / "settings.json").read_text())
    assert first["settings_digest"] == digest_of_row(content) != digest_of_row(content | {"batch_size": 7})


def test_a_teacher_is_the_same_whatever_it_teaches(result_of: RunIt, tmp_path: Path) -> None:
    teachers = []
    for number, mode in enumerate(("soft", "logits_l2", "none")):
        overrides = (f"distillation={mode}", f"student={['mlp', 'cnn', 'mlp'][number]}", f"baseline={number == 0}")
        result_of(*overrides, f"store={tmp_path / mode}", f"temperature.value={number + 1}")
        teachers.append(load_file(tmp_path / f"run{number}" / "teacher.safetensors"))
    for name, tensor in teachers[0].items():
        assert torch.equal(tensor, teachers[1][name])
        assert torch.equal(tensor, teachers[2][name])


def test_without_distillation_the_student_is_the_baseline(result_of: RunIt, tmp_path: Path) -> None:
    result = result_of("distillation=none", "student=cnn")
    assert result["student"]["nll"] == result["baseline"]["nll"]
    baseline = load_file(tmp_path / "run0" / "baseline.safetensors")
    student = load_file(tmp_path / "run0" / "student_last.safetensors")
    assert all(torch.equal(baseline[name], student[name]) for name in baseline)


def test_the_teacher_stays_as_it_was_and_in_eval_mode(
    settings: Callable[..., Any], result_of: RunIt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    states: list[dict[str, Tensor]] = []
    networks: list[nn.Module] = []
    begin, ask = OnlineTeacher.begin, OnlineTeacher.of_batch

    def noted(self: OnlineTeacher, *arguments: Any, **named: Any) -> None:
        states.append({k: v.cpu().clone() for k, v in self.teacher.network.state_dict().items()})
        networks.append(self.teacher.network)
        begin(self, *arguments, **named)

    def watched(self: OnlineTeacher, batch: Batch) -> Any:
        teacher = self.teacher.network
        seen.extend(module.training for module in teacher.modules())
        assert not any(parameter.requires_grad for parameter in teacher.parameters())
        return ask(self, batch)

    modules: list[str] = []
    keep = distiller.Distiller.training_state

    def named(self: distiller.Distiller) -> Any:
        modules.extend(name for name, _ in self.named_modules())
        return keep(self)

    monkeypatch.setattr(OnlineTeacher, "begin", noted)
    monkeypatch.setattr(OnlineTeacher, "of_batch", watched)
    monkeypatch.setattr(distiller.Distiller, "training_state", named)
    result_of("teacher=cnn", "student.epochs=2")
    assert seen
    assert not any(seen)
    assert modules
    assert not any("teacher" in name for name in modules)
    after = networks[0].state_dict()
    assert any("running_mean" in name for name in after)
    assert all(torch.equal(states[0][name], after[name].cpu()) for name in after)


def test_a_temperature_below_one_is_explained(result_of: RunIt, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result_of("temperature.value=0.5", "baseline=false")
    assert "a temperature below 1 (0.5) sharpens the teacher's probabilities" in caplog.text


def test_a_loss_that_is_not_finite_ends_the_run(result_of: RunIt) -> None:
    message = r"^teacher: the loss is not finite in epoch 1, step \d+ of 18: loss (nan|inf); lower {}, now 1e\+30$"
    with pytest.raises(RunFailed, match=message.format("optimizer.lr")):
        result_of("optimizer=sgd", "optimizer.lr=1e30", "scheduler=constant")
    with pytest.raises(RunFailed, match=message.format("teacher.optimizer.lr")):
        result_of("optimizer=sgd", "teacher.optimizer={lr: 1e30}", "scheduler=constant")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "16-mixed"])
def test_a_run_on_a_gpu(result_of: RunIt, precision: str) -> None:
    overrides = ("trainer.accelerator=gpu", f"trainer.precision={precision}", "student.epochs=5", "student=cnn")
    first, second = result_of(*overrides), result_of(*overrides)
    assert first["student"]["accuracy"] > 0.6
    assert first["student"]["nll"] == second["student"]["nll"]
