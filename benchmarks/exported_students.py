"""Six students, each exported in every format that is installed here, in float32 and with smaller numbers.

The students are distilled on some images of MNIST, written as PNG files of 32x32 pixels, so that the
rule for pictures travels with the weights. `kd-export` writes and checks each file; then all files of a student are
timed in turns, one pass of each after another, round after round, so that other jobs of the machine meet all alike.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import device, machine, parser, show, write
from PIL import Image

import kd_runner
from kd_runner.datasets.image_input import input_of_metadata
from kd_runner.datasets.torchvision_set import torchvision_set
from kd_runner.deploy import export_command, formats
from kd_runner.deploy.exported_check import BATCHES, WARM_UP
from kd_runner.networks import checkpoints

SIDE = 32  # pixels, so that a vision transformer with patches of 16 has four
STUDENTS = {
    "plain CNN": ["student=cnn", "student.channels=[16,32]"],
    "ResNet-20": ["student=resnet", "student.depth=20"],
    "MobileNetV2 (torchvision)": ["student=torchvision", "student.name=mobilenet_v2"],
    "ViT-tiny (timm)": ["student=timm", "student.name=vit_tiny_patch16_224"],
    "SimKD, ResNet-8": ["student=resnet", "student.depth=8", "distillation=simkd"],
}
PRUNED, SHARE = "pruned ResNet-20", 0.5  # the smallest half of each convolution's weights set to zero
EXPORTS = (
    ("onnx", None),
    ("onnx", "int8"),
    ("torch_export", None),
    ("openvino", None),
    ("openvino", "int8"),
    ("executorch", None),
    ("executorch", "int8"),
)


HEADINGS = ["student", "format", "numbers", "MB", "1 image, ms", "64 images, ms", "accuracy", "agreement", "logits"]


def main() -> None:
    arguments = parser(__doc__, rounds=30)
    arguments.add_argument(
        "--folder", type=Path, required=True, help="for images, runs and files; what is there is used"
    )
    arguments.add_argument("--images", type=int, nargs=2, default=(2000, 2000), metavar=("TRAIN", "TEST"))
    arguments.add_argument("--epochs", type=int, default=4)
    arguments.add_argument("--only", nargs="*", help="students; none: all")
    given = arguments.parse_args()
    folder = given.folder.resolve()
    make_images(folder / "images", given.images)
    rows, records = [], {}
    for name in given.only or [*STUDENTS, PRUNED]:
        if name == PRUNED:
            run = pruned(trained("ResNet-20", STUDENTS["ResNet-20"], folder, given.epochs), folder / "pruned")
        else:
            run = trained(name, STUDENTS[name], folder, given.epochs)
        records[name] = measured(run, given.rounds)
        rows += table_rows(name, records[name])
        write(given.json, {"machine": machine(device("cpu")), "students": records})  # what there is, so far
    show("Exported students", HEADINGS, rows)
    print(in_markdown(rows))


def make_images(folder: Path, counts: Sequence[int]) -> None:
    """Write the first images of MNIST as PNG files, in a folder for each class."""
    if folder.is_dir():
        return
    root = os.environ.get("KD_RUNNER_DATA", "~/.cache/kd_runner")
    splits = torchvision_set("MNIST", root, download=True, val_fraction=0.0001, seed=0)
    for name, split, count in (("train", splits.train, counts[0]), ("test", splits.test, counts[1])):
        for number in range(count):
            target = folder / name / f"{int(split.labels[number])}"
            target.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(split.images[number, 0].numpy())
            picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(target / f"{number}.png")


def trained(name: str, words: Sequence[str], folder: Path, epochs: int) -> Path:
    """The folder of the run that distils a student."""
    run = folder / name.split()[0].strip(",").lower().replace("-", "") if name != "plain CNN" else folder / "cnn"
    if (run / "result.json").exists():
        return run
    data = [
        "dataset=image_folder",
        f"dataset.root={folder / 'images'}",
        f"dataset.image_size={SIDE}",
        "dataset.cache=null",
    ]
    data += ["dataset.crop_padding=0", "dataset.flip=false", "dataset.color=gray"]
    teacher = ["teacher=resnet", "teacher.depth=8", f"teacher.epochs={epochs}", f"store={folder / 'store'}"]
    short = [
        f"student.epochs={epochs}",
        "baseline=false",
        "batch_size=32",
        "optimizer.lr=0.004",
        f"hydra.run.dir={run}",
    ]
    command = [sys.executable, "-m", "kd_runner", *data, *teacher, *short, *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return run


def pruned(run: Path, folder: Path) -> Path:
    """The folder of a run whose student has zeros: the weights of each convolution that are smallest."""
    folder.mkdir(exist_ok=True)
    for name in ("settings.json", "result.json"):
        (folder / name).write_bytes((run / name).read_bytes())
    network, info = kd_runner.load(run / "student_last.safetensors")
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            weights = module.weight.data
            weights[weights.abs() < weights.abs().flatten().quantile(SHARE)] = 0
    checkpoints.save(folder / "student_last.safetensors", network.state_dict(), info)
    return folder


def measured(run: Path, rounds: int) -> list[dict[str, Any]]:
    """The record of the network in PyTorch, and that of each of its files."""
    records, calls = [], []
    network, info = kd_runner.load(run / "student_last.safetensors")
    shape = input_of_metadata(info).image_shape
    images = {size: np.random.default_rng(0).standard_normal((size, *shape)).astype("float32") for size in BATCHES}

    def in_pytorch(pixels: np.ndarray) -> None:
        with torch.inference_mode():
            network(torch.from_numpy(pixels))

    size = (run / "student_last.safetensors").stat().st_size
    records.append({"format": "PyTorch", "quantize": None, "bytes": size, "check": None})
    calls.append(in_pytorch)
    for name, quantize in EXPORTS:
        record, path = exported(run, name, quantize)
        if record is not None:
            records.append(record)
            calls.append(formats.format_of(name, quantize, False).open(path).run)
    records[0]["check"] = {"accuracy": records[1]["check"]["network_accuracy"]}
    times = {size: in_turns(calls, pixels, rounds) for size, pixels in images.items()}
    for number, record in enumerate(records):
        record["milliseconds"] = {size: [1000 * seconds for seconds in times[size][number]] for size in BATCHES}
    return records


def exported(run: Path, name: str, quantize: str | None) -> tuple[dict[str, Any] | None, Path]:
    """What `kd-export` writes about a file, and the file; None where it wrote none, for want of a library, say."""
    output = run / "export" / f"student_last{f'.{quantize}' if quantize else ''}{formats_ending(name)}"
    words = [str(run), "--format", name, "--overwrite", "--output", str(output)]
    words += ["--quantize", quantize, "--allow-loss", "100"] if quantize else []
    record = output.with_name(f"{output.name}.json")
    if not record.exists() and export_command.main(words):
        return None, output
    content: dict[str, Any] = json.loads(record.read_text())
    return content, output


def formats_ending(name: str) -> str:
    return {"onnx": ".onnx", "torch_export": ".pt2", "openvino": ".xml", "executorch": ".pte"}[name]


def in_turns(calls: Sequence[Callable[[np.ndarray], Any]], pixels: np.ndarray, rounds: int) -> list[list[float]]:
    """The seconds of a pass of each call, in as many rounds."""

    seconds: list[list[float]] = [[] for _ in calls]
    for number in range(WARM_UP + rounds):
        for call, durations in zip(calls, seconds, strict=True):
            started = time.perf_counter()
            call(pixels)
            if number >= WARM_UP:
                durations.append(time.perf_counter() - started)
    return seconds


def table_rows(name: str, records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row for each file: size, the fastest and the median pass, and the check."""
    rows = []
    for record in records:
        check = record["check"]
        times = [cell(record["milliseconds"][size]) for size in BATCHES]
        compared = ["–", "–"]
        if "agreement" in check:
            compared = [f"{100 * check['agreement']:.2f} %", f"{check['largest_difference']:.1g}"]
        numbers = record["quantize"] or "float32"
        accuracy = f"{100 * check['accuracy']:.2f} %"
        rows.append([name, record["format"], numbers, f"{record['bytes'] / 1e6:.2f}", *times, accuracy, *compared])
    return rows


def in_markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table of docs/deploy.md."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [HEADINGS, ["---"] * len(HEADINGS), *rows])


def cell(milliseconds: Sequence[float]) -> str:
    """The fastest pass and, in brackets, the median, which other jobs of the machine make longer."""
    return f"{min(milliseconds):.2f} ({statistics.median(milliseconds):.2f})"


if __name__ == "__main__":
    main()
