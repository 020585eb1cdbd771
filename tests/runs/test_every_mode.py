"""Every mode from its YAML: trains a student of another width, moves what should move and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import composed
from mode_names import modes_of_any_student
from torch import nn

from kd_runner.config.settings import Settings, check
from kd_runner.networks import checkpoints
from kd_runner.outputs import needs_of
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.parts import Parts
from kd_runner.runs.run import run
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.distiller import Distiller
from kd_runner.training.fit import fit

Make = Callable[..., Settings]
MODES = modes_of_any_student()
SMALL = (
    "teacher.channels=[10,12]",
    "teacher.hidden=[14]",
    "student.channels=[4,6]",
    "student.epochs=1",
    "batch_size=32",
)
# The published sizes of these would make the tests slow.
OWN = {
    "crd": ["distillation.negatives=50"],  # there are fewer digits than its negatives
    "catkd": ["teacher.hidden=[]"],  # class maps are those of a dense layer right behind the maps
    "sdd": ["teacher.hidden=[]"],
}


def trained(parts: Parts, folder: Path) -> Distiller:
    module = parts.distiller(parts.teacher_student_pair())
    fit(module, parts.data.plain_batches("val"), parts.settings.trainer, RunLogger(folder))
    return module


def ready(parts: Parts) -> Distiller:
    """A student's module on its device, as it is when training starts."""
    module = parts.distiller(parts.teacher_student_pair())
    module.to(parts.data.device).on_fit_start()
    return module


def state_of(module: nn.Module) -> dict[str, torch.Tensor]:
    tensors = {name: value for name, value in module.state_dict().items() if isinstance(value, torch.Tensor)}
    return on_the_cpu(tensors)


def on_the_cpu(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies of them: a network is built there, and trained on another device."""
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


def tensors_of(held: Any) -> Iterator[torch.Tensor]:
    """The tensors that an object holds, also inside what it holds."""
    if isinstance(held, torch.Tensor):
        yield held
    elif isinstance(held, Mapping):
        for value in held.values():
            yield from tensors_of(value)
    elif isinstance(held, list | tuple | set):
        for value in held:
            yield from tensors_of(value)
    elif hasattr(held, "__dict__") and not isinstance(held, type):
        yield from tensors_of(vars(held))


@pytest.mark.parametrize("mode", MODES)
def test_what_should_move_moves_and_the_teacher_does_not(settings: Make, tmp_path: Path, mode: str) -> None:
    parts = assemble(settings(*SMALL, f"distillation={mode}", *OWN.get(mode, ())))
    rehearse(parts)
    before_teacher = state_of(parts.teacher)
    module = parts.distiller(parts.teacher_student_pair())
    before = on_the_cpu(dict(module.named_parameters()))
    fit(module, parts.data.plain_batches("val"), parts.settings.trainer, RunLogger(tmp_path))
    assert before
    for name, value in module.named_parameters():
        if value.requires_grad:
            assert not torch.equal(value.cpu(), before[name]), f"{name} did not move"
        else:
            assert torch.equal(value.cpu(), before[name]), f"{name} moved"
    for name, value in state_of(parts.teacher).items():
        assert torch.equal(value, before_teacher[name]), f"the teacher's {name} moved"
    tensors = [value for value in module.state_dict().values() if isinstance(value, torch.Tensor)]
    assert all(torch.isfinite(value).all() for value in tensors)
    frozen = [name for name, value in module.network.named_parameters() if not value.requires_grad]
    assert frozen == (["head.weight", "head.bias"] if mode == "simkd" else [])
    module.to("meta")
    for loss in (mode.loss for mode in module.modes):  # jobs side by side share a teacher: no own one goes along
        held = [tensor for tensor in tensors_of(loss) if tensor.dim() > 0]  # a number works on any device
        left = [tuple(tensor.shape) for tensor in held if tensor.device.type != "meta"]
        assert left == [], "a mode holds what does not go with it to its device"


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "none"])  # which has no loss of its own
def test_a_mode_alone_changes_the_student(settings: Make, mode: str) -> None:
    """The gradient of the mode's own loss reaches the student's weights, in float32 and in bfloat16."""
    images = 3 if mode == "rkd" else 2  # the one distance between two images is always the mean distance
    for precision in ("32", "bf16-mixed"):
        parts = assemble(
            settings(
                *SMALL, f"distillation={mode}", *OWN.get(mode, ()), "distillation.label_weight=0",
                "distillation.warmup=0", f"trainer.precision={precision}", f"batch_size={images}",
            )
        )  # fmt: skip
        module = ready(parts)
        batch = next(module.batches.batches())
        progress = 0.05 if module.modes[0].init_share else 0.5
        losses, _ = module.losses(batch, progress)
        assert losses["distillation_loss"].dtype == torch.float32
        assert torch.isfinite(losses["distillation_loss"])
        losses["distillation_loss"].backward()
        gradients = [p.grad for p in module.network.parameters() if p.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert sum(gradient.abs().sum() for gradient in gradients) > 0


def test_a_mode_that_declares_nothing_is_given_everything() -> None:
    assert needs_of(lambda *_: None).labels
    assert needs_of(lambda *_: None).teacher_logits


@pytest.mark.parametrize("mode", ["soft", "fitnets", "crd", "mlkd", "dkd"])
def test_the_same_seed_gives_the_same_student(settings: Make, tmp_path: Path, mode: str) -> None:
    states = []
    for run_number in range(2):
        parts = assemble(settings(*SMALL, f"distillation={mode}", *OWN.get(mode, ())))
        rehearse(parts)
        states.append(state_of(trained(parts, tmp_path / str(run_number)).network))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_adapters_stay_out_of_the_exported_student(settings: Make, tmp_path: Path) -> None:
    result = run(settings(*SMALL, "distillation=fitnets"), tmp_path)
    network, _ = checkpoints.load(tmp_path / "student_last.safetensors")
    assert not any("regressor" in name for name in network.state_dict())
    assert result["student"]["parameters"] == result["baseline"]["parameters"]


def test_simkd_exports_its_projector_and_the_teachers_classifier(
    settings: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kd_runner")
    result = run(settings(*SMALL, "distillation=simkd"), tmp_path)
    network, about = checkpoints.load(tmp_path / "student_best.safetensors")
    teacher, _ = checkpoints.load(tmp_path / "teacher.safetensors")
    assert torch.equal(network.get_submodule("head").weight, teacher.get_submodule("11").weight)
    assert result["student"]["parameters"] > result["baseline"]["parameters"]
    assert about["network"]["student"]["_target_"].endswith("plain_cnn")
    assert "the student that is saved has" in caplog.text


def test_weights_warm_up_and_modes_that_initialise_train_alone_first(settings: Make) -> None:
    words = ("distillation=soft", "+distillation@plus.ab=ab", "distillation.warmup=0.5", "plus.ab.init_share=0.25")
    soft, first = assemble(settings(*SMALL, *words)).teacher_student_pair().modes
    assert [soft.weight_at(progress) for progress in (0, 0.25, 0.5, 1)] == [0, 0.45, 0.9, 0.9]
    assert first.weight_at(0.24) == first.weight
    assert first.weight_at(0.25) == 0
    parts = assemble(settings(*SMALL, *words))
    module = ready(parts)
    batch = next(module.batches.batches())
    early, late = (module.losses(batch, progress)[0] for progress in (0.1, 0.9))
    assert early["label_loss"] == 0
    assert early["distillation_loss"] > 0
    assert late["label_loss"] > 0


def test_sums_are_sums_of_the_modes_with_their_own_layers(settings: Make) -> None:
    words = [*SMALL, "distillation=dkd", "+distillation@plus.at=at", "+distillation@plus.sp=sp"]
    parts = assemble(settings(*words, "distillation.warmup=0"))
    module = ready(parts)
    assert [len(mode.student_layers) for mode in module.modes] == [0, 2, 1]
    module.observed.network.eval()
    batch = next(module.batches.batches())
    together = module.losses(batch, 0.5)[0]["distillation_loss"].item()
    parts = []
    for mode in list(module.modes):
        module.modes = [mode]
        parts.append(module.losses(batch, 0.5)[0]["distillation_loss"].item())
    assert together == pytest.approx(sum(parts), rel=1e-5)


def test_adapters_are_saved_under_the_same_names_whatever_modes_without_adapters_are_there(settings: Make) -> None:
    """A run that began with an earlier version goes on: in it, catkd and sdd were no modules."""
    words = ("teacher.hidden=[]", "distillation=catkd", "+distillation@plus.srrl=srrl", "+distillation@plus.sdd=sdd")
    parts = assemble(settings(*SMALL, *words))
    module = parts.distiller(parts.teacher_student_pair())
    of_modes = {name for name in module.state_dict() if not name.startswith("network.")}
    assert {name for name in of_modes if "connector.0" in name} == {"loss_modules.0.connector.0.weight"}
    assert {name.split(".")[2] for name in of_modes if name.startswith("loss_modules.")} == {"connector"}
    assert not any("other_loss_modules" in name for name in of_modes)


def test_adapters_have_their_own_weight_decay(settings: Make) -> None:
    parts = assemble(settings(*SMALL, "distillation=vid", "distillation.adapter_weight_decay=0.25"))
    module = parts.distiller(parts.teacher_student_pair())
    student, adapters = module.parameter_groups()
    assert "weight_decay" not in student
    assert adapters["weight_decay"] == 0.25
    assert len(adapters["params"]) == len(list(module.loss_modules.parameters()))


def test_a_learned_temperature_moves_against_the_student(settings: Make, tmp_path: Path) -> None:
    parts = assemble(settings(*SMALL, "temperature=learned", "student.epochs=2"))
    rehearse(parts)
    assert isinstance(parts.temperature, nn.Module)
    before = float(parts.temperature(1.0))
    module = trained(parts, tmp_path)
    assert float(module.temperature(1.0)) != before
    assert module.parameter_groups()[-1]["weight_decay"] == 0


def test_dot_moves_a_student_like_no_other_optimizer(settings: Make, tmp_path: Path) -> None:
    students = []
    for number, words in enumerate((["+optimizer@student.optimizer=dot"], ["+optimizer@student.optimizer=sgd"])):
        parts = assemble(settings(*SMALL, *words))
        students.append(state_of(trained(parts, tmp_path / str(number)).network))
    assert not torch.equal(students[0]["0.weight"], students[1]["0.weight"])


@pytest.mark.slow
def test_dots_baseline_is_plain_sgd(settings: Make, tmp_path: Path) -> None:
    results = []
    for name in ("dot", "sgd"):
        (tmp_path / name).mkdir()
        words = (*SMALL, f"+optimizer@student.optimizer={name}", f"store={tmp_path / name / 'store'}")
        results.append(run(settings(*words), tmp_path / name)["baseline"]["nll"])
    assert results[0] == pytest.approx(results[1], rel=1e-4)


def test_tf_kd_self_says_when_the_teacher_is_another_network(settings: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kd_runner")
    rehearse(assemble(settings("distillation=tf_kd_self")))
    assert "has another" in caplog.text
    caplog.clear()
    same = ("student.channels=[32,64]", "student.hidden=[128]")
    rehearse(assemble(settings("distillation=tf_kd_self", *same)))
    assert "has another" not in caplog.text


def test_the_modes_own_temperature_is_a_default_only(settings: Make) -> None:
    assert settings("distillation=nkd").temperature["value"] == 1.0
    assert settings("distillation=nkd", "temperature.value=3").temperature["value"] == 3
    assert settings("distillation=soft").temperature["value"] == 4.0
    assert check(composed("distillation=dkd")).distillation.warmup == 0.08


@pytest.mark.parametrize("mode", ["dkd", "simkd", "mlkd"])
def test_mixed_images(settings: Make, mode: str) -> None:
    parts = assemble(settings(*SMALL, f"distillation={mode}", *OWN.get(mode, ()), "dataset.mixup=1"))
    module = ready(parts)
    losses: dict[str, Any] = module.losses(next(module.batches.batches()), 0.5)[0]
    assert all(torch.isfinite(loss) for loss in losses.values())
