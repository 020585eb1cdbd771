"""How much longer kd-runner's training takes than the plainest loop over the same steps.

The plain loop has its batches ready, normalised, on the device, and does nothing but ask the teacher, compute the
loss, and step: no order, no gathering, no metrics, no framework. kd-runner's side is its whole training call.

    python benchmarks/step_overhead.py [--device cpu|cuda] [--rounds 7] [--json FILE]
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import measure
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.datasets.splits import Split
from kd_runner.distillation.soft import Soft
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import source_of
from kd_runner.input_pipeline.view import View
from kd_runner.models.mlp import mlp
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.models.resnet import ResNet
from kd_runner.networks.faster import faster_frozen
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.temperature import Constant
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.allocator import keep_memory
from kd_runner.training.distiller import Distiller
from kd_runner.training.fit import fit
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe
from kd_runner.training.teacher_outputs import OnlineTeacher

TEMPERATURE, SOFT, HARD = 4.0, 0.9, 0.1


@dataclass(frozen=True)
class Case:
    """A pair of networks and the images they see; `steps` of `batch` images are one measurement."""

    name: str
    shape: tuple[int, int, int]
    batch: int
    steps: int
    teacher: Callable[[], nn.Module]
    student: Callable[[], nn.Module]


DIGITS, FASHION, CIFAR = (1, 8, 8), (1, 28, 28), (3, 32, 32)
CASES = [
    Case("tiny: MLP 16, 8x8", DIGITS, 64, 1600, partial(mlp, 10, DIGITS, [16]), partial(mlp, 10, DIGITS, [16])),
    Case(
        "small: CNN 16-32, 28x28",
        FASHION,
        64,
        120,
        partial(plain_cnn, 10, FASHION, [16, 32], [64], 1, 2, True),
        partial(plain_cnn, 10, FASHION, [16, 32], [64], 1, 2),
    ),
    Case(
        "ResNet-20 from ResNet-20, 32x32",
        CIFAR,
        64,
        40,
        partial(ResNet, 10, CIFAR, 20, [16, 16, 32, 64]),
        partial(ResNet, 10, CIFAR, 20, [16, 16, 32, 64]),
    ),
]


def main() -> None:
    parser = measure.parser(__doc__, rounds=7)
    parser.add_argument("--only", choices=["tiny", "small", "ResNet-20"], help="one of the three students")
    parser.add_argument("--longer", type=int, default=1, help="times as many steps, for a device that is fast")
    arguments = parser.parse_args()
    device = measure.device(arguments.device)
    keep_memory()
    os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)  # Lightning's, and slow; see kd_runner/training/fit.py
    rows, numbers = [], []
    for chosen in [case for case in CASES if case.name.startswith(arguments.only or "")]:
        case = replace(chosen, steps=chosen.steps * arguments.longer)
        seconds = measure.interleaved(contenders(case, device), arguments.rounds)
        steps = {name: measure.median(values) / case.steps * 1e3 for name, values in seconds.items()}
        ratio = measure.ratio_of_medians(seconds["kd-runner"], seconds["plain loop"])
        rows.append([case.name, f"{steps['plain loop']:.3f}", f"{steps['kd-runner']:.3f}", f"{ratio:.3f}"])
        numbers.append({"case": case.name, "ms_per_step": steps, "ratio": ratio, "seconds": seconds})
    measure.show("Milliseconds per step", ["student", "plain loop", "kd-runner", "ratio"], rows)
    measure.write(arguments.json, {"machine": measure.machine(device), "cases": numbers})


def contenders(case: Case, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (case.steps * case.batch, *case.shape), dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (len(images),)))
    view = View(torch.full(case.shape[:1], 0.5), torch.full(case.shape[:1], 0.25), Augmentation(), torch.channels_last)
    teacher, plain_student, our_student = (
        make().to(device, memory_format=torch.channels_last) for make in (case.teacher, case.student, case.student)
    )
    our_student.load_state_dict(plain_student.state_dict())
    source = source_of(split, device, "auto")
    ready = [(batch.images, batch.labels) for batch in PlainBatches(source, view, case.batch)]
    quick = faster_frozen(teacher.eval(), ready[0][0])  # the plain loop gets the faster teacher, too
    optimizer = adam(plain_student.parameters())

    def plain() -> None:
        plain_student.train()
        for images, labels in ready:
            with torch.inference_mode():
                teacher_logits = quick(images)
            loss = distillation(plain_student(images), teacher_logits.clone(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    folder = Path(tempfile.mkdtemp())
    logger = RunLogger(folder)
    one_batch = PlainBatches(source_of(Split(images[:2], split.labels[:2]), device, "auto"), view, 2)

    def ours() -> None:
        batches = TrainingBatches(source, view, case.batch, seed=0)
        module = Distiller(
            Observed(our_student), OnlineTeacher(Observed(teacher)), [Mode("distillation", Soft(), SOFT)], HARD,
            Constant(TEMPERATURE), batches, Recipe(adam, ConstantRate(), 1, 0),
        )  # fmt: skip
        fit(module, one_batch, measure.trainer(device), logger)

    return {"plain loop": plain, "kd-runner": ours}


def adam(parameters) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3, fused=True)


def distillation(logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    soft = F.kl_div(
        F.log_softmax(logits / TEMPERATURE, 1),
        F.log_softmax(teacher_logits / TEMPERATURE, 1),
        reduction="batchmean",
        log_target=True,
    )
    return HARD * F.cross_entropy(logits, labels) + SOFT * TEMPERATURE**2 * soft


if __name__ == "__main__":
    main()
