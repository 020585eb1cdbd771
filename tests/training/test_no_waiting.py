"""No training step waits for a GPU, shown without one: tensors of 'meta', or all tensors, count as a GPU's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mode_names import modes_of_any_student
from torch import Tensor
from waiting import Waits, no_waiting

from kd_runner.config.settings import Settings
from kd_runner.networks.observed import Observed
from kd_runner.runs import assembly
from kd_runner.training.classifier import Classifier

Make = Callable[..., Settings]
GPU = torch.device("meta")
MODES = modes_of_any_student()
OWN = {
    "crd": ["distillation.negatives=50"],  # there are fewer digits than its negatives
    "catkd": ["teacher.hidden=[]"],  # class maps are those of a dense layer right behind the maps
    "sdd": ["teacher.hidden=[]"],
}
SMALL = (
    "teacher.channels=[4,6]", "teacher.hidden=[8]", "student.channels=[4,6]", "batch_size=32",
    "optimizer=sgd", "optimizer.fused=false",  # a fused one asks for a device that it knows
)  # fmt: skip
AUGMENTED = (
    "dataset.flip=true", "dataset.rand_augment=2", "dataset.cutout=2", "dataset.random_erasing=0.5",
    "dataset.mixup=0.3", "dataset.cutmix=0.3",
)  # fmt: skip


def ready(parts, stage: str = "student") -> Classifier:
    """The module of a stage on its device, with an optimizer, as it is when training starts."""
    if stage == "student":
        module: Classifier = parts.distiller(parts.teacher_student_pair())
    else:
        labels_only = parts.labels_only(stage)
        batches = parts.data.training_batches(stage, labels_only.recipe)
        module = Classifier(stage, Observed(labels_only.network), batches, labels_only.recipe)
    module.to(parts.data.device).on_fit_start()
    optimizer = module.configure_optimizers()
    module._optimizer = lambda: optimizer  # type: ignore[method-assign]
    module.batches.chunk = 2
    return module


def train_two_chunks(module: Classifier, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole steps, with the making of their batches; the first chunk may look at what it is given."""
    chunks = iter(module.batches)
    module.training_step(next(chunks), 0)
    with no_waiting(device, monkeypatch):
        module.training_step(next(chunks), 1)
    assert module.step == 4


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are assembled for it, and memory can be pinned."""
    monkeypatch.setattr(assembly, "device_of", lambda trainer: GPU)
    monkeypatch.setattr(Tensor, "pin_memory", lambda values: values)


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize("mode", MODES)
def test_a_student_s_steps_on_a_pretended_gpu(settings: Make, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    words = [*SMALL, f"distillation={mode}", *OWN.get(mode, ()), "dataset.residency=device"]
    train_two_chunks(ready(assembly.assemble(settings(*words))), "meta", monkeypatch)


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize("residency", ["device", "host"])
@pytest.mark.parametrize("crop", ["dataset.crop_padding=1", "dataset.resized_crop=0.5"])
@pytest.mark.parametrize("stage", ["student", "teacher"])
def test_augmented_batches_on_a_pretended_gpu(
    settings: Make, monkeypatch: pytest.MonkeyPatch, residency: str, crop: str, stage: str
) -> None:
    monkeypatch.setattr(assembly, "device_of", lambda trainer: GPU)
    mode = ("distillation=dkd",) if stage == "student" else ()
    words = [*SMALL, *mode, *AUGMENTED, crop, f"dataset.residency={residency}"]
    train_two_chunks(ready(assembly.assemble(settings(*words)), stage), "meta", monkeypatch)


@pytest.mark.parametrize(("mode", "precision"), [("soft", "32"), *((mode, "bf16-mixed") for mode in MODES)])
def test_a_step_reads_no_numbers(settings: Make, monkeypatch: pytest.MonkeyPatch, mode: str, precision: str) -> None:
    words = [*SMALL[:4], f"distillation={mode}", *OWN.get(mode, ()), f"trainer.precision={precision}"]
    module = ready(assembly.assemble(settings(*words)))
    batches = module.batches.batches()
    optimizer = module._optimizer()
    for number, batch in enumerate(batches):
        if number == 0:
            module._mixed.step(module.losses(batch, 0.5)[0], optimizer)
            continue
        with no_waiting("cpu", monkeypatch):
            module._mixed.step(module.losses(batch, 0.5)[0], optimizer)
        break


WAITING: dict[str, Callable[[Tensor, Tensor], object]] = {
    "item": lambda there, here: there.sum().item(),
    "tolist": lambda there, here: there.tolist(),
    "float": lambda there, here: float(there[0]),
    "bool": lambda there, here: bool(there[0] > 0),
    "a mask as an index": lambda there, here: there[there > 0],
    "masked_select": lambda there, here: there.masked_select(there > 0),
    "nonzero": lambda there, here: there.nonzero(),
    "unique": lambda there, here: there.unique(),
    "a copy to the CPU": lambda there, here: there.cpu(),
    "a copy that waits": lambda there, here: here.pin_memory().to(GPU),
    "a copy of memory that is not pinned": lambda there, here: here.to(GPU, non_blocking=True),
    "a tensor of a list": lambda there, here: torch.tensor([1.0, 2.0], device=GPU),
    "an index of the CPU": lambda there, here: there[here],
    "index_select": lambda there, here: there.index_select(0, here),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_would_wait_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = torch.zeros(4, device=GPU), torch.arange(3)
    with no_waiting("meta", monkeypatch), pytest.raises((Waits, RuntimeError, NotImplementedError)):
        WAITING[name](there, here)


def test_what_does_not_wait_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = torch.zeros(4, device=GPU), torch.arange(3)
    with no_waiting("meta", monkeypatch):
        assert here.tolist() == [0, 1, 2]
        there.index_select(0, here.pin_memory().to(GPU, non_blocking=True))
        there * torch.tensor(2.0)
