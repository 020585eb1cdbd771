"""Training a student with kept logits of the teacher, against the same training with the teacher in every step.

The clock covers kd-runner's whole training call, validation on 128 images included; the contenders take turns.
'computed in the run' computes the logits of all views first, as the first run of a sweep does; 'from the store' reads
them, as all others do. Students end with the same bits in float32; the script stops where they do not. Beside the
seconds of the clock stand those of the processor, which other work on a shared machine changes less.

    python benchmarks/cached_targets.py [--case fashion|small|resnet] [--views 4] [--epochs 4] [--threads 1]

Without --views, images are not augmented (`teacher_outputs=cache`); with it, they are padded, cropped and mirrored, and
the epochs replay so many views. Data: as epoch_vs_peers.py.
"""

from __future__ import annotations

import copy
import functools
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import epoch_vs_peers as peers
import measure
import torch
from torch import Tensor, nn

from kd_runner.datasets.splits import Split
from kd_runner.distillation.soft import Soft
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import MemorySource
from kd_runner.input_pipeline.view import View
from kd_runner.models.plain_cnn import plain_cnn
from kd_runner.networks.observed import Observed
from kd_runner.schedule import Constant as ConstantRate
from kd_runner.store.logits import Computation, computed_once
from kd_runner.temperature import Constant
from kd_runner.tracking.logger import RunLogger
from kd_runner.training.allocator import keep_memory
from kd_runner.training.cached_teacher import CachedTeacher, TeacherPass
from kd_runner.training.distiller import Distiller
from kd_runner.training.fit import fit
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Recipe
from kd_runner.training.teacher_outputs import OnlineTeacher, TeacherOutputs

CLASSES = 10
CASES = {
    **peers.CASES,
    "small": replace(
        peers.CASES["fashion"],
        title="20,480 Fashion-MNIST images, CNN of 0.9 M parameters to CNN of 9,122, batch 128",
        student=functools.partial(plain_cnn, 10, peers.GRAY, [8, 16], [], 1, 2, True),
    ),
}


@dataclass
class Training:
    """The same student, from the same weights, as often as it is trained."""

    case: peers.Case
    source: MemorySource
    views: int | None
    epochs: int
    device: torch.device
    folder: Path
    teacher: nn.Module = field(init=False)
    first: nn.Module = field(init=False)
    weights: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        networks = self.case.teacher(), self.case.student()
        self.teacher, self.first = (network.to(memory_format=torch.channels_last) for network in networks)

    def train(self, name: str, outputs: Callable[[], TeacherOutputs]) -> None:
        """Train the student, and keep its weights under a name."""
        augmentation = Augmentation(self.case.padding, flip=True) if self.views else Augmentation()
        view = View(torch.tensor(self.case.mean), torch.tensor(self.case.std), augmentation, torch.channels_last)
        batches = TrainingBatches(self.source, view, self.case.batch, 0, views=self.views)
        student = copy.deepcopy(self.first)
        recipe = Recipe(peers.fused_sgd, ConstantRate(), self.epochs, 0)
        mode = Mode("distillation", Soft(), peers.SOFT)
        module = Distiller(
            Observed(student), outputs(), [mode], peers.HARD, Constant(peers.TEMPERATURE), batches, recipe
        )
        few = Split(self.source.pixels[:128].permute(0, 3, 1, 2).cpu(), self.source.labels[:128].cpu())
        validation = PlainBatches(MemorySource(few, self.device, self.source.home), view, 128)
        fit(module, validation, measure.trainer(self.device), RunLogger(Path(tempfile.mkdtemp(dir=self.folder))))
        self.weights[name] = {key: value.cpu() for key, value in student.state_dict().items()}

    def online(self) -> TeacherOutputs:
        return OnlineTeacher(Observed(copy.deepcopy(self.teacher)))

    def kept(self, dtype: str, anew: bool = False) -> TeacherOutputs:
        """The logits from a store; from an empty one where they are to be computed `anew`."""
        self.count += anew
        root = self.folder / f"store_{self.count if anew else 'shared'}"

        def load(teacher_pass: TeacherPass, recipe: Recipe) -> Tensor:
            shape = (teacher_pass.views, teacher_pass.images, CLASSES)
            computation = Computation(teacher_pass.blocks, lambda: {"difference": teacher_pass.difference()})
            return computed_once(root, {"dtype": dtype}, shape, dtype, computation).logits

        return CachedTeacher(OnlineTeacher(Observed(copy.deepcopy(self.teacher))), load)


def on_the_processor(call: Callable[[], None], seconds: list[float]) -> None:
    """Call, and add the seconds of the processor that this took."""
    started = time.process_time()
    call()
    seconds.append(time.process_time() - started)


def main() -> None:
    parser = measure.parser(__doc__, rounds=5)
    parser.add_argument("--case", choices=CASES, default="fashion")
    parser.add_argument("--views", type=int, help="views of augmented images (default: no augmentation)")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, help="training images (default: those of the case)")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_memory()
    case, device = CASES[arguments.case], measure.device(arguments.device)
    split, _ = peers.part("resnet" if arguments.case == "resnet" else "fashion", arguments.images or case.images)
    with tempfile.TemporaryDirectory() as folder:
        source = MemorySource(split, device, device)
        training = Training(case, source, arguments.views, arguments.epochs, device, Path(folder))
        sources: dict[str, Callable[[], TeacherOutputs]] = {
            "online": training.online,
            "computed in the run": functools.partial(training.kept, "float32", anew=True),
            "from the store": functools.partial(training.kept, "float32"),
            "from the store, float16": functools.partial(training.kept, "float16"),
        }
        calls = {name: functools.partial(training.train, name, outputs) for name, outputs in sources.items()}
        processor: dict[str, list[float]] = {name: [] for name in calls}
        timed = {name: functools.partial(on_the_processor, call, processor[name]) for name, call in calls.items()}
        seconds = measure.interleaved(timed, arguments.rounds)
    online = training.weights["online"]
    for name in ("computed in the run", "from the store"):
        if not all(torch.equal(online[key], value) for key, value in training.weights[name].items()):
            raise SystemExit(f"{name}: the student is not that of the online run")
    rows = [
        [
            name,
            *(f"{measure.median(values):.2f}", f"{measure.ratio_of_medians(values, seconds['online']):.2f}"),
            f"{measure.median(processor[name][1:]):.2f}",  # the first round warms up
            f"{measure.ratio_of_medians(processor[name][1:], processor['online'][1:]):.2f}",
        ]
        for name, values in seconds.items()
    ]
    what = f"views:{arguments.views}, padded crop and mirror" if arguments.views else "cache, no augmentation"
    images = case.title.partition(" ")[2]
    title = f"{len(source):,} {images}; {arguments.epochs} epochs, {what}, {arguments.threads} thread(s)"
    measure.show(title, ["teacher's logits", "seconds", "of online", "of the processor", "of online"], rows)
    used = {name: values[1:] for name, values in processor.items()}
    content = {"machine": measure.machine(device), "case": title, "seconds": seconds, "processor": used}
    measure.write(arguments.json, content)


if __name__ == "__main__":
    main()
