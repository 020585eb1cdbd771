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
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn

import kd_runner
from kd_runner.command_line.conf_dir import CONF_DIR
from kd_runner.errors import RunFailed, SettingsError
from kd_runner.runs.assembly import assemble
from kd_runner.runs.labels_only import ingredients
from kd_runner.runs.rehearsal import rehearse
from kd_runner.store.entries import key_of
from kd_runner.training import distiller

RunIt = Callable[..., dict[str, Any]]
MODES = sorted(path.stem for path in (CONF_DIR / "distillation").glob("*.yaml"))
METRICS = {
    "accuracy",
    "top5_accuracy",
    "precision",
    "recall",
    "f1",
    "nll",
    "ece",
    "parameters",
    "macs",
    "latency",
    "checkpoint",
    "images_seen",
    "correct",
}


def test_a_run_leaves_everything_behind(result_of: RunIt, tmp_path: Path) -> None:
    result = result_of()
    folder = tmp_path / "run0"
    assert json.loads((folder / "result.json").read_text()) == result
    assert set(result) == {
        "status", "fingerprint", "overrides", "seed", "data_seed",
        "teacher", "baseline", "student", "gap_closed", "notes", "layers", "data", "seconds", "environment",
    }  # fmt: skip
    assert result["status"] == "completed"
    assert set(result["baseline"]) == METRICS
    assert set(result["teacher"]) == METRICS | {"judged"}
    own = {"agreement", "kl_to_teacher", "against_teacher", "best_val", "val_accuracies"}
    assert set(result["student"]) == METRICS | own
    assert max(result["student"]["val_accuracies"]) == result["student"]["best_val"]["val_accuracy"]
    assert set(result["seconds"]) == {"teacher", "baseline", "student", "evaluate"}
    assert set(result["environment"]) == {"python", "torch", "device", "kd_runner", "git"}
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
    assert len(list(folder.iterdir())) == 1
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


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_runs_from_start_to_end(result_of: RunIt, mode: str) -> None:
    result = result_of(f"distillation={mode}", "baseline=false")
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
    ask = distiller.Distiller.teacher_outputs

    def watched(self: distiller.Distiller, images: Tensor) -> Any:
        teacher = self._teacher[0].network
        seen.extend(module.training for module in teacher.modules())
        assert not any(parameter.requires_grad for parameter in teacher.parameters())
        assert not any(name.startswith("_teacher") for name, _ in self.named_modules())
        return ask(self, images)

    monkeypatch.setattr(distiller.Distiller, "teacher_outputs", watched)
    states: list[dict[str, Tensor]] = []
    distil = distiller.Distiller.__init__

    def noted(self: distiller.Distiller, *arguments: Any, **named: Any) -> None:
        distil(self, *arguments, **named)
        states.append({k: v.cpu().clone() for k, v in self._teacher[0].network.state_dict().items()})
        self_teacher.append(self._teacher[0].network)

    self_teacher: list[nn.Module] = []
    monkeypatch.setattr(distiller.Distiller, "__init__", noted)
    result_of("teacher=cnn", "student.epochs=2")
    assert seen
    assert not any(seen)
    after = self_teacher[0].state_dict()
    assert any("running_mean" in name for name in after)
    assert all(torch.equal(states[0][name], after[name].cpu()) for name in after)


def test_finetuning_goes_on_from_the_student_with_its_own_optimizer(result_of: RunIt) -> None:
    student = ("student=tiny_mlp", "baseline=false")  # without batch norms, whose statistics move at any learning rate
    plain = result_of(*student)
    still = result_of(*student, "finetune.epochs=1", "finetune.optimizer={lr: 0.0}")
    moved = result_of(*student, "finetune.epochs=1", "+optimizer@finetune.optimizer=sgd")
    assert still["student"]["nll"] == plain["student"]["nll"]
    assert moved["student"]["nll"] != plain["student"]["nll"]


def test_a_given_teacher_is_used_and_not_trained(result_of: RunIt, tmp_path: Path) -> None:
    trained = result_of("baseline=false")
    path = tmp_path / "run0" / "teacher.safetensors"
    given = result_of("baseline=false", f"teacher.checkpoint={path}")
    assert given["teacher"]["nll"] == trained["teacher"]["nll"]
    assert given["student"]["nll"] == trained["student"]["nll"]
    torch.save({"state_dict": load_file(path)}, tmp_path / "teacher.pth")
    again = result_of("baseline=false", f"teacher.checkpoint={tmp_path / 'teacher.pth'}")
    assert again["teacher"]["nll"] == trained["teacher"]["nll"]
    with pytest.raises(SettingsError, match=r"teacher\.checkpoint: .* does not fit the network: .*is missing"):
        result_of("teacher=resnet", f"teacher.checkpoint={path}")


def test_the_store_trains_once(result_of: RunIt, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result_of("distillation=soft")
    assert "reused" not in caplog.text
    result_of("distillation=hard", "temperature.value=2")
    assert caplog.text.count("reused from") == 2
    assert len(list((tmp_path / "store").iterdir())) == 2
    result_of("optimizer.lr=0.01")
    assert len(list((tmp_path / "store").iterdir())) == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["teacher=resnet", "teacher.depth=9"], r"teacher\.depth must be 6n\+2 \(8, 14, 20, …\), got 9"),
        (["temperature.value=0"], r"temperature\.value must be at least 0\.001 and at most 1000, got 0"),
        (["teacher.checkpoint=''"], r"teacher\.checkpoint: must be the path of a file, or null, got ''"),
        (["teacher.checkpoint=3"], r"teacher\.checkpoint: must be the path of a file, or null, got 3"),
        (["temperature.value=1e-30"], r"temperature\.value must be at least 0\.001 and at most 1000, got 1e-30"),
        (["dataset.cutout=100"], r"dataset\.cutout: must be at most the longer side, 8, got 100: it would blank "),
        (["temperature.value=abc"], r"temperature\.value: must be a valid number, .*, got 'abc'"),
        (["optimizer.lr=-1"], r"optimizer: Invalid learning rate: -1\.0"),
        (["optimizer.betas=[0.9]"], r"optimizer\.betas: must have more values, got \[0\.9\]"),
        (["teacher.optimizer={lr: -1}"], r"teacher\.optimizer: Invalid learning rate"),
        (["teacher.optimizer={lrr: 1}"], r"teacher\.optimizer\.lrr: no such setting"),
        (["finetune.scheduler={warmup: 3}"], r"finetune\.scheduler\.warmup must be a share"),
        (["student.layers=[99]"], r"student\.layers: no layer '99'.*; the network's layers are 0 8x8x8, 1 8x8x8, "),
        (["teacher.layers=[nope]"], r"teacher\.layers: no layer 'nope'"),
        (["teacher.layers=['7']"], r"teacher\.layers: has no effect, distillation listens to none, got \['7'\]"),
        (["distillation.warmup=2"], r"distillation\.warmup: must be less than or equal to 1, got 2"),
        (["distillation.weight=0", "distillation.label_weight=0"], r"distillation\.weight: must be above 0 where"),
        (["distillation.direction=sideways"], r"distillation\.direction: must be 'forward', .* got 'sideways'"),
        (["dataset=image_folder", "dataset.root=/nope"], r"dataset: no folder /nope"),
        (["dataset.val_fraction=0"], r"dataset\.val_fraction must be between 0 and 1, got 0"),
        (["dataset.mean=[1,2]"], r"dataset\.mean: must be one number or 1, one a channel, got \[1\.0, 2\.0\]"),
        (["dataset.residency=stream"], r"dataset\.residency: must be auto, device or host for a data set in memory"),
        (["dataset.crop_padding=9"], r"dataset\.crop_padding: must be at most the height, 8, got 9"),
        (["teacher.checkpoint=/nope"], r"teacher\.checkpoint: no file /nope"),
        (["teacher=torchvision", "teacher.name=maxvit_t"], r"teacher: cannot take images of 1x8x8: "),
        (["student=torchvision", "student.name=resnet19"], r"student\.name must be a classifier of torchvision"),
        (
            ["trainer.accelerator=cpu", "trainer.precision=16-mixed"],
            r"trainer\.precision: must be 32 or bf16-mixed on a CPU, got 16-mixed",
        ),
        (["optimizer._target_=torch.optim.LBFGS"], r"optimizer\.betas: no such setting"),
        (["student=tiny_mlp", "student.hidden=abc"], r"student\.hidden: must be a list, got 'abc'"),
        (["student=tiny_mlp", "student.hidden=[99999999999999]"], r"student: .*allocate"),
        (["teacher.optimizer=sgd"], r"teacher\.optimizer: must be settings such as \{lr: 0\.1\}, or null, got 'sgd'"),
        (["store=/proc/nowhere"], r"store: must be a folder that can be written, got /proc/nowhere"),
        (["teacher._target_=os.system"], r"teacher\._target_: must come from"),
        (["teacher._target_=torch.nn.Linear"], r"teacher\.channels: no such setting; torch\.nn\.Linear takes"),
        (["optimizer._target_=torch.nn.SGD"], r"optimizer\._target_: torch\.nn has no SGD"),
        (
            ["+plus.x={_target_: kd_runner.distillation.soft.Soft, weight: 1, label_weight: 0, form: x}"],
            r"plus\.x\.form",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_trains(
    result_of: RunIt, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{message}"):
        result_of(*overrides)
    assert not list((tmp_path / "run0").iterdir())


@pytest.mark.parametrize("residency", ["host", "stream"])
def test_an_image_that_cannot_be_read_is_named_before_anything_trains(
    result_of: RunIt, tmp_path: Path, residency: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(8):
            (tmp_path / "images" / name / f"{index}.png").write_bytes(b"broken")
    overrides = ["dataset=image_folder", f"dataset.root={tmp_path / 'images'}", "dataset.cache=null"]
    with pytest.raises(SettingsError, match=r"^dataset: \S+\.png cannot be read as an image"):
        result_of(*overrides, f"dataset.residency={residency}")


def test_a_teacher_of_other_images_is_refused(result_of: RunIt, tmp_path: Path) -> None:
    result_of("baseline=false")
    given = f"teacher.checkpoint={tmp_path / 'run0' / 'teacher.safetensors'}"
    with pytest.raises(SettingsError, match=r"was trained with dataset\.mean=\[0\.3\d+\], this run has \[0\.0\]"):
        result_of(given, "dataset.mean=[0.0]", "dataset.std=[5.0]")


class Batchwise:
    def __call__(self, student: Any, teacher: Any, labels: Tensor, temperature: float) -> Tensor:
        return student.logits.sum(1)


class Blind(Batchwise):
    def __call__(self, student: Any, teacher: Any, labels: Tensor, temperature: float) -> Tensor:
        return (student.logits.argmax(1) != labels).float().mean()


class Constant(Batchwise):
    """Has a gradient, which is 0."""

    def __call__(self, student: Any, teacher: Any, labels: Tensor, temperature: float) -> Tensor:
        return 1 + 0 * student.logits.sum()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Constant", r"distillation: must depend on the student's logits or features, and does not"),
        ("Batchwise", r"distillation: must give one number for a batch, gave a tensor of shape \[4\]"),
        ("Blind", r"distillation: must depend on the student's logits or features, and does not"),
    ],
)
def test_a_mode_must_give_one_number_that_depends_on_the_student(result_of: RunIt, name: str, message: str) -> None:
    node = f"{{_target_: {__name__}.{name}, weight: 1, label_weight: 0}}"
    with pytest.raises(SettingsError, match=message):
        result_of("~distillation", f"+distillation={node}", f"trust=[{__name__}]")


def test_the_gain_of_finetuning_is_not_called_distillations(result_of: RunIt, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result = result_of("finetune.epochs=3")
    assert "Distillation and 3 more epochs of finetuning gave" in caplog.text
    assert result["student"]["best_val"]["stage"] == "finetune"
    assert "epoch was 3 of finetuning" in caplog.text


def test_another_number_of_classes_is_refused(result_of: RunIt, tmp_path: Path) -> None:
    state = {"1.weight": torch.zeros(4, 64), "1.bias": torch.zeros(4), "3.weight": torch.zeros(7, 4)}
    torch.save(state | {"3.bias": torch.zeros(7)}, tmp_path / "seven.pth")
    with pytest.raises(SettingsError, match=r"seven\.pth has 7 classes, the data set has 10: they must be equal"):
        result_of("teacher=mlp", "teacher.hidden=[4]", f"teacher.checkpoint={tmp_path / 'seven.pth'}")


def test_the_number_of_threads_does_not_decide_which_network_it_is(settings: Callable[..., Any]) -> None:
    keys = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        parts = assemble(settings())
        keys.append([key_of(ingredients(parts, stage)) for stage in ("teacher", "baseline")])
    torch.set_num_threads(1)
    assert keys[0] == keys[1] == keys[2]


def test_a_rehearsal_changes_nothing(settings: Callable[..., Any]) -> None:
    parts = assemble(settings("teacher=cnn", "student=cnn"))
    before = {name: value.clone() for name, value in parts.student.state_dict().items()}
    rehearse(parts)
    assert all(torch.equal(before[name], value) for name, value in parts.student.state_dict().items())


def test_a_temperature_below_one_is_explained(result_of: RunIt, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result_of("temperature.value=0.5", "baseline=false")
    assert "a temperature below 1 (0.5) sharpens the teacher's probabilities" in caplog.text


def test_a_loss_that_is_not_finite_ends_the_run(result_of: RunIt) -> None:
    with pytest.raises(
        RunFailed, match=r"^teacher: the loss is not finite in epoch 1, step \d+ of 18: loss (nan|inf)$"
    ):
        result_of("optimizer=sgd", "optimizer.lr=1e30", "scheduler=constant")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("precision", ["32", "bf16-mixed", "16-mixed"])
def test_a_run_on_a_gpu(result_of: RunIt, precision: str) -> None:
    overrides = ("trainer.accelerator=gpu", f"trainer.precision={precision}", "student.epochs=5", "student=cnn")
    first, second = result_of(*overrides), result_of(*overrides)
    assert first["student"]["accuracy"] > 0.6
    assert first["student"]["nll"] == second["student"]["nll"]
