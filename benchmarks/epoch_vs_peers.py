"""One distillation epoch by kd-runner, by torchdistill, and by the loop that tutorials show.

The same networks from the same weights, the same images, batch size, crop and flip, the same loss and optimizer. Every
measurement is a process of its own; they take turns. The clock covers the training call: from networks and images in
memory to the end of the epoch. 'Cached targets' reads the teacher's logits of a view for each epoch, which are computed
before the clock starts, as they are once for all runs of a sweep. With --accuracy every contender also trains a student
from a trained teacher, for several seeds, and its accuracy on the test images is shown.

    pip install torchdistill    # or leave it out: it is then passed over
    python benchmarks/epoch_vs_peers.py [--case fashion|resnet] [--device cpu|cuda] [--rounds 3] [--json FILE]
    python benchmarks/epoch_vs_peers.py --accuracy [--epochs 3] [--seeds 3]

Fashion-MNIST and CIFAR-10 are looked for in KD_RUNNER_DATA (torchvision's layout; for CIFAR-10 also a folder
cifar10_images/{train,test}/CLASS/*).
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler

from kd_runner.config.field_types import Precision
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Split, Splits
from kd_runner.datasets.torchvision_set import torchvision_set
from kd_runner.distillation.soft import Soft
from kd_runner.evaluation.predictions import predict
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import source_of
from kd_runner.input_pipeline.view import View
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.models.resnet import ResNet
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.temperature import Constant
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.allocator import keep_memory
from kd_runner.training.cached_teacher import CachedTeacher, TeacherPass
from kd_runner.training.classifier import Classifier
from kd_runner.training.distiller import Distiller
from kd_runner.training.fit import fit
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe
from kd_runner.training.teacher_outputs import OnlineTeacher

try:
    from torchdistill.core.distillation import get_distillation_box
    from torchdistill.misc.log import MetricLogger, SmoothedValue
except ImportError:
    get_distillation_box = None

TEMPERATURE, SOFT, HARD, RATE, MOMENTUM, DECAY = 4.0, 0.9, 0.1, 0.02, 0.9, 5e-4


@dataclass(frozen=True)
class Case:
    """A teacher and a student, and what they are shown."""

    title: str
    images: int
    batch: int
    padding: int
    mean: list[float]
    std: list[float]
    teacher: Callable[[], nn.Module]
    student: Callable[[], nn.Module]


GRAY, RGB = (1, 28, 28), (3, 32, 32)
CASES = {
    "fashion": Case(
        "20,480 Fashion-MNIST images, CNN of 0.9 M parameters to CNN of 0.1 M, batch 128",
        20480, 128, 2, [0.2860], [0.3530],
        functools.partial(plain_cnn, 10, GRAY, [32, 64, 128], [128], 1, 2, True),
        functools.partial(plain_cnn, 10, GRAY, [16, 32], [64], 1, 2),
    ),
    "resnet": Case(
        "6,400 CIFAR-10 images, ResNet-56 to ResNet-20, batch 64",
        6400, 64, 4, [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616],
        functools.partial(ResNet, 10, RGB, 56, [16, 16, 32, 64]),
        functools.partial(ResNet, 10, RGB, 20, [16, 16, 32, 64]),
    ),
}  # fmt: skip


@dataclass
class Job:
    """What a contender gets: built networks, images, and how long to train."""

    case: Case
    device: torch.device
    teacher: nn.Module
    student: nn.Module
    split: Split
    epochs: int
    seed: int
    kept: Tensor | None = None  # the teacher's logits [views, images, classes], where they are computed before


def kd_runner(job: Job, precision: Precision = "32", compile: bool = False) -> None:
    keep_memory()
    source = source_of(job.split, job.device, "auto")
    for network in (job.teacher, job.student):
        network.to(memory_format=torch.channels_last)
    outputs, kept = OnlineTeacher(Observed(job.teacher)), job.kept
    module = Distiller(
        Observed(job.student), outputs if kept is None else CachedTeacher(outputs, lambda *_: kept),
        [Mode("distillation", Soft(), SOFT)], HARD, Constant(TEMPERATURE),
        TrainingBatches(source, view(job.case), job.case.batch, job.seed, views=None if kept is None else len(kept)),
        Recipe(fused_sgd, ConstantRate(), job.epochs, job.seed, precision, compile),
    )  # fmt: skip
    fit(module, a_few(job), measure.trainer(job.device), RunLogger(Path(tempfile.mkdtemp())))


def keep_logits(job: Job) -> None:
    """Compute the logits of a view for each epoch, as the first job of a sweep does for all of them."""
    source = source_of(job.split, job.device, "auto")
    batches = TrainingBatches(source, view(job.case), job.case.batch, job.seed, views=job.epochs)
    computed: list[Tensor] = []

    def load(teacher_pass: TeacherPass, recipe: Recipe) -> Tensor:
        computed.append(torch.cat(list(teacher_pass.blocks())))
        return computed[0].view(teacher_pass.views, teacher_pass.images, -1)

    teacher = CachedTeacher(OnlineTeacher(Observed(job.teacher.to(memory_format=torch.channels_last))), load)
    teacher.begin(batches, Recipe(fused_sgd, ConstantRate(), job.epochs, job.seed), job.device, is_asked=True)
    job.kept = computed[0].view(job.epochs, len(source), -1)


def steps_alone(job: Job) -> None:
    """The student's forward and backward passes and updates: what is left of an epoch if all the rest were free."""
    keep_memory()
    case, student = job.case, job.student.to(job.device, memory_format=torch.channels_last).train()
    images = job.split.images[: case.batch].to(job.device).float().to(memory_format=torch.channels_last) / 255
    labels, optimizer = job.split.labels[: case.batch].to(job.device), fused_sgd(student.parameters())
    for _ in range(job.epochs * -(-len(job.split) // case.batch)):
        optimizer.zero_grad()
        F.cross_entropy(student(images), labels).backward()
        optimizer.step()
    if job.device.type == "cuda":
        torch.cuda.synchronize()


def textbook(job: Job, workers: int) -> None:
    loader = DataLoader(peers_data(job), batch_size=job.case.batch, shuffle=True, num_workers=workers)
    teacher, student = job.teacher.to(job.device).eval(), job.student.to(job.device).train()
    optimizer = torch.optim.SGD(student.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    for _ in range(job.epochs):
        running_loss, correct = 0.0, 0
        for batch, classes in loader:
            images, labels = batch.to(job.device), classes.to(job.device)
            with torch.no_grad():
                teacher_logits = teacher(images)
            logits = student(images)
            soft = F.kl_div(
                F.log_softmax(logits / TEMPERATURE, 1),
                F.softmax(teacher_logits / TEMPERATURE, 1),
                reduction="batchmean",
            )
            loss = HARD * F.cross_entropy(logits, labels) + SOFT * TEMPERATURE**2 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running_loss += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()


def torchdistill(job: Job, workers: int) -> None:
    student_and_teacher = {f"{who}_module_path": "." for who in ("student", "teacher")} | {
        f"{who}_module_io": "output" for who in ("student", "teacher")
    }
    loss = {"temperature": TEMPERATURE, "alpha": HARD, "beta": SOFT, "reduction": "batchmean"}
    settings = {
        "num_epochs": job.epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler},
            "kwargs": {"batch_size": job.case.batch, "num_workers": workers, "pin_memory": job.device.type == "cuda"},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "SGD", "kwargs": {"lr": RATE, "momentum": MOMENTUM, "weight_decay": DECAY}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {
                    "kd": {"criterion": {"key": "KDLoss", "kwargs": student_and_teacher | loss}, "weight": 1.0}
                }
            },
        },
    }
    teacher, student = job.teacher.to(job.device), job.student.to(job.device)
    box = get_distillation_box(teacher, student, {"train": peers_data(job)}, settings, job.device, None, False, 1)
    # The loop of torchdistill's own image classification example.
    for epoch in range(job.epochs):
        meters = MetricLogger(delimiter="  ")
        meters.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))
        meters.add_meter("img/s", SmoothedValue(window_size=10, fmt="{value}"))
        box.pre_epoch_process(epoch=epoch)
        for images, labels, extra in meters.log_every(box.train_data_loader, 50, f"Epoch: [{epoch}]"):
            started = time.time()
            images, labels = images.to(job.device), labels.to(job.device)
            value = box.forward_process(images, labels, extra)
            box.post_forward_process(loss=value)
            meters.update(loss=value.item(), lr=box.optimizer.param_groups[0]["lr"])
            meters.meters["img/s"].update(len(images) / (time.time() - started))
        box.post_epoch_process()


CONTENDERS: dict[str, Callable[[Job], None]] = {
    "kd-runner": kd_runner,
    "kd-runner, bf16-mixed": functools.partial(kd_runner, precision="bf16-mixed"),
    "kd-runner, compiled": functools.partial(kd_runner, compile=True),
    "kd-runner, cached targets": kd_runner,
    "the student's steps alone": steps_alone,
    "torchdistill": functools.partial(torchdistill, workers=0),
    "torchdistill, 2 workers": functools.partial(torchdistill, workers=2),
    "textbook loop": functools.partial(textbook, workers=0),
    "textbook loop, 2 workers": functools.partial(textbook, workers=2),
}
PREPARED = {"kd-runner, cached targets": keep_logits}  # before the clock starts
PEERS = [name for name in CONTENDERS if not name.startswith(("kd-runner", "the student"))]


def peers_data(job: Job) -> measure.PeersImages:
    case, split = job.case, job.split
    transform = measure.on_pil(split.image_shape[1], case.padding, case.mean, case.std)
    return measure.PeersImages(split.images, split.labels, transform)


def view(case: Case) -> View:
    augmentation = Augmentation(case.padding, flip=True)
    return View(torch.tensor(case.mean), torch.tensor(case.std), augmentation, torch.channels_last)


def a_few(job: Job) -> PlainBatches:
    """A validation split of one batch: kd-runner always validates, the others here do not."""
    few = Split(job.split.images[:128], job.split.labels[:128])
    return PlainBatches(source_of(few, job.device, "auto"), view(job.case), 128)


def fused_sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, RATE, momentum=MOMENTUM, weight_decay=DECAY, fused=True)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, 1e-3, fused=True)


def data(name: str) -> Splits:
    root = Path(os.environ.get("KD_RUNNER_DATA", "~/.cache/kd_runner")).expanduser()
    if name == "fashion":
        return torchvision_set("FashionMNIST", str(root), seed=0)
    folder = root / "cifar10_images"
    return image_folder(str(folder), seed=0) if folder.is_dir() else torchvision_set("CIFAR10", str(root), seed=0)


def part(name: str, count: int) -> tuple[Split, Split]:
    """`count` training images, drawn with a fixed seed, and the test images."""
    splits = data(name)
    chosen = torch.randperm(len(splits.train), generator=torch.Generator().manual_seed(0))[:count]
    return splits.train.subset(chosen), splits.test


def child(order: dict[str, Any]) -> None:
    """One measurement: reads what to do from the command line, and prints what came out as JSON."""
    case, device = CASES[order["case"]], torch.device(order["device"])
    train, test = torch.load(order["data"])
    torch.manual_seed(1000)
    teacher = case.teacher()
    if order["teacher"]:
        teacher.load_state_dict(torch.load(order["teacher"]))
    torch.manual_seed(order["seed"])
    job = Job(
        case, device, teacher.to(device), case.student().to(device), Split(*train), order["epochs"], order["seed"]
    )
    if order["contender"] == "teacher":
        train_teacher(job, Path(order["save"]))
        return
    PREPARED.get(order["contender"], lambda _: None)(job)
    started = time.perf_counter()
    CONTENDERS[order["contender"]](job)
    measure.synchronise()
    seconds = time.perf_counter() - started
    accuracy = None
    if order["test"]:
        batches = PlainBatches(source_of(Split(*test), device, "auto"), view(case), 1000)
        found = predict({"student": job.student}, batches, device)
        accuracy = (found.logits["student"].argmax(1) == found.labels).double().mean().item()
    print("RESULT", json.dumps({"seconds": seconds, "accuracy": accuracy}))


def train_teacher(job: Job, path: Path) -> None:
    keep_memory()
    network = job.teacher.to(memory_format=torch.channels_last)
    batches = TrainingBatches(source_of(job.split, job.device, "auto"), view(job.case), job.case.batch, 0)
    module = Classifier("teacher", Observed(network), batches, Recipe(adam, ConstantRate(), job.epochs, 0))
    fit(module, a_few(job), measure.trainer(job.device), RunLogger(Path(tempfile.mkdtemp())))
    torch.save(network.state_dict(), path)


def measured(**order: Any) -> dict[str, Any]:
    """`order` carried out in a new process."""
    done = subprocess.run([sys.executable, __file__, "--child", json.dumps(order)], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if done.returncode or not (lines or order["contender"] == "teacher"):
        raise SystemExit(f"{order['contender']} failed:\n{done.stderr[-3000:]}")
    return json.loads(lines[0].removeprefix("RESULT")) if lines else {}


def main() -> None:
    parser = measure.parser(__doc__, rounds=3)
    parser.add_argument("--case", choices=CASES, default="fashion")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, metavar="NAME", help=", ".join(CONTENDERS))
    parser.add_argument("--accuracy", action="store_true", help="compare accuracies instead of seconds")
    parser.add_argument("--epochs", type=int, default=3, help="with --accuracy (default 3)")
    parser.add_argument("--seeds", type=int, default=3, help="with --accuracy (default 3)")
    arguments = parser.parse_args()
    case, device = CASES[arguments.case], measure.device(arguments.device)
    names = arguments.contenders or list(CONTENDERS)
    if get_distillation_box is None:
        names = [name for name in names if not name.startswith("torchdistill")]
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "data.pt"
        try:
            train, test = part(arguments.case, case.images)
        except (FileNotFoundError, ValueError) as error:
            raise SystemExit(str(error)) from None
        torch.save([(each.images, each.labels) for each in (train, test)], kept)
        common = {"case": arguments.case, "device": device.type, "data": str(kept)}
        compare = accuracies if arguments.accuracy else speeds
        numbers = compare(arguments, names, common, Path(folder))
    measure.write(arguments.json, {"machine": measure.machine(device), "case": case.title, **numbers})


def speeds(arguments: Any, names: list[str], common: dict[str, Any], folder: Path) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            done = measured(contender=name, teacher=None, seed=0, epochs=1, test=False, **common)
            seconds[name].append(done["seconds"])
    rows = []
    for name in names:
        ratios = [f"{measure.ratio_of_medians(seconds[peer], seconds[name]):.2f}" for peer in names if peer in PEERS]
        rows.append([name, f"{measure.median(seconds[name]):.2f}", *ratios])
    peers = [f"faster than {name}" for name in names if name in PEERS]
    measure.show(CASES[arguments.case].title, ["one epoch", "seconds", *peers], rows)
    return {"seconds": seconds}


def accuracies(arguments: Any, names: list[str], common: dict[str, Any], folder: Path) -> dict[str, Any]:
    teacher = str(folder / "teacher.pt")
    measured(contender="teacher", teacher=None, seed=0, epochs=4, test=False, save=teacher, **common)
    found: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(arguments.seeds):
        for name in names:
            done = measured(contender=name, teacher=teacher, seed=seed, epochs=arguments.epochs, test=True, **common)
            found[name].append(100 * done["accuracy"])
    rows = [
        [name, f"{statistics.mean(values):.2f} ± {statistics.stdev(values) if len(values) > 1 else 0:.2f}"]
        for name, values in found.items()
    ]
    title = f"{CASES[arguments.case].title}; {arguments.epochs} epochs, {arguments.seeds} seeds"
    measure.show(title, ["student", "test accuracy, %"], rows)
    return {"epochs": arguments.epochs, "accuracy": found}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(json.loads(sys.argv[2]))
    else:
        main()
