"""Steps through graphs, with a replay that computes the step again on the memory that a graph would read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import composed
from small_training import data, fitted, network, view
from torch import Tensor

from kd_runner.config.settings import Settings, check
from kd_runner.distillation.ft import FT
from kd_runner.distillation.soft import Soft
from kd_runner.errors import SettingsError
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.observed import Observed
from kd_runner.optimizer import DOT
from kd_runner.runs.assembly import assemble
from kd_runner.temperature import Constant, Learned, Linear
from kd_runner.training import classifier
from kd_runner.training.distiller import Distiller
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe, Schedule
from kd_runner.training.resume_state import ResumeState
from kd_runner.training.step_graph import Replay, StepGraphs, graphs_of
from kd_runner.training.teacher_outputs import OnlineTeacher

EPOCHS, BATCH = 2, 8
IMAGES = 7 * BATCH + 3  # a last batch of 3


class Recorder:
    """Counts captures and replays."""

    def __init__(self, error: str = "") -> None:
        self.captures = self.replays = 0
        self.error = error

    def capture(self, run: Replay) -> Replay:
        self.captures += 1
        if self.error:
            raise RuntimeError(self.error)

        def replay():
            self.replays += 1
            return run()

        return replay


def constant(progress: float) -> float:
    return 1.0


def halving(progress: float) -> float:
    return 0.5 ** int(4 * progress)  # numbers that float32 holds


def sgd(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.125, momentum=0.5, fused=True)


def adam(parameters) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.125, fused=True)


def distiller(
    schedule: Schedule = constant,
    optimizer: Callable[..., torch.optim.Optimizer] = sgd,
    temperature: Schedule | None = None,
    modes: list[Mode] | None = None,
    augmentation: Augmentation | None = None,
) -> Distiller:
    batches = TrainingBatches(data(IMAGES), view(augmentation or Augmentation()), BATCH, seed=0, chunk=3)
    modes = modes or [Mode("distillation", Soft(), 0.7)]
    recipe = Recipe(optimizer, schedule, EPOCHS, 0)
    teacher = OnlineTeacher(Observed(network(2)))
    return Distiller(Observed(network(1)), teacher, modes, 0.3, temperature or Constant(3.0), batches, recipe)


def weights(module: Distiller) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.network.state_dict().items()}


@pytest.fixture
def with_graphs(monkeypatch: pytest.MonkeyPatch) -> Callable[[Recorder], None]:
    """Trainings from then on have graphs, which the recorder makes."""

    def use(recorder: Recorder) -> None:
        monkeypatch.setattr(classifier, "graphs_of", lambda is_asked, device: StepGraphs(device, recorder.capture))

    return use


@pytest.mark.parametrize("optimizer", [sgd, adam])
@pytest.mark.parametrize("schedule", [constant, halving])
@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(mixup=0.4)])
def test_steps_through_graphs_give_the_same_bits(
    tmp_path: Path, with_graphs, optimizer, schedule: Schedule, augmentation: Augmentation
) -> None:
    plain = fitted(distiller(schedule, optimizer, augmentation=augmentation), tmp_path / "plain")
    recorder = Recorder()
    with_graphs(recorder)
    module = fitted(distiller(schedule, optimizer, augmentation=augmentation), tmp_path / "graphs")
    assert recorder.captures == 1
    assert recorder.replays == EPOCHS * 7 - 3  # neither the first three steps nor the last, smaller batches
    if augmentation.mixup:  # whose share is a number of float32 in a graph's memory
        torch.testing.assert_close(weights(module), weights(plain), rtol=0.01, atol=1e-3)
    else:
        assert all(torch.equal(value, weights(plain)[name]) for name, value in weights(module).items())
        assert module.history[-1]["train_loss"] == plain.history[-1]["train_loss"]
    assert module.history[-1]["learning_rate"] == plain.history[-1]["learning_rate"]


def test_a_resumed_training_has_the_same_learning_rates(tmp_path: Path, with_graphs) -> None:
    def interrupted(progress: float) -> float:
        if progress > 0.6:
            raise OSError("no power")
        return halving(progress)

    wanted = weights(fitted(distiller(halving), tmp_path / "straight"))
    with_graphs(Recorder())
    state = ResumeState(tmp_path / "state", "the same")
    with pytest.raises(OSError, match="no power"):
        fitted(distiller(interrupted), tmp_path / "run", resume_state=state)
    resumed = weights(fitted(distiller(halving), tmp_path / "run", resume_state=state))
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.items())


def test_what_cannot_be_captured_trains_as_it_is_and_says_so(
    tmp_path: Path, with_graphs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kd_runner")
    wanted = weights(fitted(distiller(), tmp_path / "plain"))
    recorder = Recorder("operation not permitted\nwhen stream is capturing")
    with_graphs(recorder)
    found = weights(fitted(distiller(), tmp_path / "graphs"))
    assert recorder.captures == 1
    assert all(torch.equal(value, wanted[name]) for name, value in found.items())
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("graph")]
    assert lines == [
        "graph     off: steps cannot be captured as CUDA graphs (operation not permitted when stream is capturing)"
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": lambda parameters: DOT(parameters, lr=0.125)},
        {"temperature": Learned()},
        {"temperature": Linear(1.0, 4.0)},
        {"modes": [Mode("distillation", Soft(), 0.7, warmup=1.0)]},
        {"modes": [Mode("distillation", lambda student, teacher, labels, temperature: student.logits.mean(), 0.7)]},
    ],
    ids=[
        "another optimizer",
        "a learned temperature",
        "a new temperature each step",
        "a warm-up",
        "an undeclared mode",
    ],
)
def test_what_changes_on_the_cpu_is_not_captured(tmp_path: Path, with_graphs, options: dict[str, object]) -> None:
    wanted = weights(fitted(distiller(**options), tmp_path / "plain"))  # type: ignore[arg-type]
    recorder = Recorder()
    with_graphs(recorder)
    found = weights(fitted(distiller(**options), tmp_path / "graphs"))  # type: ignore[arg-type]
    assert recorder.captures == 0
    assert all(torch.allclose(value, wanted[name], atol=1e-6) for name, value in found.items())


def test_outputs_that_are_looked_up_are_not_captured() -> None:
    module = distiller()
    assert module.numbers_at(0.5) == (3.0, 0.7, False)
    module.teacher = object()  # type: ignore[assignment]
    assert module.numbers_at(0.5) is None
    module.modes = []
    assert module.numbers_at(0.5) is not None


def test_ft_says_that_it_looks_at_the_share_of_the_stage() -> None:
    assert FT.needs.varies
    assert not Soft.needs.varies


def test_there_are_graphs_only_where_they_are_asked_for_on_a_gpu() -> None:
    assert graphs_of(True, torch.device("cpu")) is None
    assert graphs_of(False, torch.device("cuda")) is None
    assert isinstance(graphs_of(True, torch.device("cuda")), StepGraphs)


@pytest.mark.parametrize(("word", "value"), [("auto", "auto"), ("on", "on"), ("off", "off"), ("true", "on")])
def test_on_and_off_are_words(word: str, value: str) -> None:
    assert check(composed(f"trainer.graph={word}")).trainer.graph == value


def test_graphs_are_refused_on_a_cpu(settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=r"^trainer\.graph: must be auto or off on a CPU, .* got on$"):
        assemble(settings("trainer.graph=on", "trainer.accelerator=cpu"))
    parts = assemble(settings("trainer.graph=auto", "trainer.accelerator=cpu"))
    assert not parts.recipes["student"].graph
