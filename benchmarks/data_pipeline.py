"""How long a batch of augmented, normalised images takes: kd-runner's, and torchvision's image by image.

Every pipeline pads and crops at random, mirrors half of the images, and ends with a normalised float32 batch on the
device. The images are random bytes already in memory, so that decoding is left out for all of them.

    python benchmarks/data_pipeline.py [--device cpu|cuda] [--rounds 5] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Callable

import measure
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from kd_runner.datasets.splits import Split
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.input_pipeline.sources import source_of
from kd_runner.input_pipeline.view import View
from kd_runner.training.allocator import keep_memory

BATCH, BATCHES, WORKERS = 128, 24, 2
SHAPES = {"CIFAR-shaped, 32x32 RGB": ((3, 32, 32), 4), "Fashion-MNIST-shaped, 28x28 gray": ((1, 28, 28), 2)}


def main() -> None:
    arguments = measure.parser(__doc__, rounds=5).parse_args()
    device = measure.device(arguments.device)
    keep_memory()
    results = []
    for name, (shape, padding) in SHAPES.items():
        seconds = measure.interleaved(contenders(shape, padding, device), arguments.rounds)
        ours = seconds["kd-runner"]
        rows = [
            [each, f"{measure.median(values) / BATCHES * 1e3:.2f}", f"{measure.ratio_of_medians(values, ours):.1f}"]
            for each, values in seconds.items()
        ]
        measure.show(f"{name}: a batch of {BATCH}, crop and flip", ["pipeline", "ms", "times kd-runner's"], rows)
        results.append({"images": name, "seconds_per_batches": BATCHES, "seconds": seconds})
    measure.write(arguments.json, {"machine": measure.machine(device), "results": results})


def contenders(shape: tuple[int, int, int], padding: int, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (BATCH * BATCHES, *shape), dtype=torch.uint8)
    labels = torch.randint(0, 10, (len(images),))
    mean, std = [0.5] * shape[0], [0.25] * shape[0]
    pil = measure.on_pil(shape[1], padding, mean, std)
    tensor = v2.Compose(
        [
            v2.RandomCrop(shape[1:], padding=padding),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    view = View(torch.tensor(mean), torch.tensor(std), Augmentation(padding, flip=True), torch.channels_last)
    ours = TrainingBatches(source_of(Split(images, labels), device, "auto"), view, BATCH, seed=0)

    def through(transform: Callable[[object], Tensor], as_pil: bool, workers: int) -> Callable[[], object]:
        data = measure.PeersImages(images, labels, transform, as_pil)
        batches = DataLoader(data, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
        return lambda: [(x.to(device), y.to(device))[:0] for x, y in batches]

    return {
        "torchvision on PIL images": through(pil, True, 0),
        f"the same, {WORKERS} workers": through(pil, True, WORKERS),
        "torchvision v2 on tensors": through(tensor, False, 0),
        "kd-runner": lambda: [None for _ in ours.batches()],
    }


if __name__ == "__main__":
    main()
