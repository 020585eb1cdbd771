"""Six students, each exported in every format that is installed here, in float32 and with smaller numbers.

The students are distilled on some images of MNIST, written as PNG files of 32x32 pixels, so that the
rule for pictures travels with the weights. `kd-export` writes and checks each file; then all files of a student are
timed in turns, one pass of each after another, round after round, each round in another order, so that other jobs of
the machine meet all alike. What is told is the median of PyTorch's passes over that of a file's.

    python benchmarks/exported_students.py --folder FOLDER --json exported_students.json
    python benchmarks/exported_students.py --table exported_students.json    # the table of docs/deploy.md
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import device, machine, parser, ratio_of_medians, show, write
from PIL import Image

import kd_runner
from kd_runner.datasets.decoding.image_input import input_of_metadata
from kd_runner.datasets.torchvision_set import torchvision_set
from kd_runner.deploy import export_command
from kd_runner.deploy.export import export_formats
from kd_runner.deploy.export.exported_check import BATCHES, WARM_UP
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


HEADINGS = ["student", "format", "numbers", "MB", "1 image", "64 images", "accuracy", "agreement", "logits"]


def main() -> None:
    arguments = parser(__doc__, rounds=30)
    arguments.add_argument("--folder", type=Path, help="for images, runs and files; what is there is used")
    arguments.add_argument("--table", type=Path, help="print the table of this JSON file, and measure nothing")
    arguments.add_argument("--images", type=int, nargs=2, default=(2000, 2000), metavar=("TRAIN", "TEST"))
    arguments.add_argument("--epochs", type=int, default=4)
    arguments.add_argument("--only", nargs="*", help="students; none: all")
    given = arguments.parse_args()
    if given.table is not None:
        print(in_markdown(rows_of(json.loads(given.table.read_text())["students"])))
        return
    if given.folder is None:
        arguments.error("--folder or --table must be given")
    torch.set_num_threads(1)  # of the files' own runtimes, too
    folder = given.folder.resolve()
    make_images(folder / "images", given.images)
    records: dict[str, list[dict[str, Any]]] = {}
    for name in given.only or [*STUDENTS, PRUNED]:
        if name == PRUNED:
            run = pruned(trained("ResNet-20", STUDENTS["ResNet-20"], folder, given.epochs), folder / "pruned")
        else:
            run = trained(name, STUDENTS[name], folder, given.epochs)
        records[name] = measured(run, given.rounds)
        write(given.json, {"machine": machine(device("cpu")), "students": records})  # what there is, so far
    show("Exported students", HEADINGS, rows_of(records))
    print(in_markdown(rows_of(records)))


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
            calls.append(export_formats.format_of(name, quantize, False).open(path).run)
    accuracies = [record["check"]["network_accuracy"] for record in records[1:]]
    records[0]["check"] = {"accuracy": accuracies[0] if accuracies else None}
    times = {size: in_turns(calls, pixels, rounds) for size, pixels in images.items()}
    for number, record in enumerate(records):
        record["milliseconds"] = {str(size): [1000 * seconds for seconds in times[size][number]] for size in BATCHES}
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
    """The seconds of a pass of each call, in as many rounds, each of which begins with another one of them."""
    seconds: list[list[float]] = [[] for _ in calls]
    for round_number in range(WARM_UP + rounds):
        for position in range(len(calls)):
            number = (position + round_number) % len(calls)
            started = time.perf_counter()
            calls[number](pixels)
            if round_number >= WARM_UP:
                seconds[number].append(time.perf_counter() - started)
    return seconds


def rows_of(students: Mapping[str, Sequence[dict[str, Any]]]) -> list[list[str]]:
    """A row for each file of each student."""
    return [row for name, records in students.items() for row in table_rows(name, records)]


def table_rows(name: str, records: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row for each file: its size, how fast it is beside PyTorch, and the check."""
    rows = []
    for record in records:
        check = record["check"]
        times = [speed(record, records[0], str(size)) for size in BATCHES]
        compared = ["–", "–"]
        if "agreement" in check:
            compared = [f"{100 * check['agreement']:.2f} %", f"{check['largest_difference']:.1g}"]
        numbers = record["quantize"] or "float32"
        accuracy = "–" if check["accuracy"] is None else f"{100 * check['accuracy']:.2f} %"
        rows.append([name, record["format"], numbers, f"{record['bytes'] / 1e6:.2f}", *times, accuracy, *compared])
    return rows


def in_markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table of docs/deploy.md."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [HEADINGS, ["---"] * len(HEADINGS), *rows])


def speed(record: Mapping[str, Any], in_pytorch: Mapping[str, Any], size: str) -> str:
    """How many times as fast as the network in PyTorch a file is; of the network itself, the median in milliseconds."""
    times = record["milliseconds"][size]
    if record is in_pytorch:
        return f"{statistics.median(times):.2f} ms"
    return f"{ratio_of_medians(in_pytorch['milliseconds'][size], times):.1f}"


if __name__ == "__main__":
    main()
