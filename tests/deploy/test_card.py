"""The model card: its numbers, its form, and texts of others in it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from kd_runner.datasets.decoding.image_input import ImageInput
from kd_runner.deploy.card import CardSources, model_card

HOSTILE = "x](http://e.vil) <script>|\n# Heading\n---\n`rm`\x1b[31m\u202e"
INPUT = ImageInput(
    image_shape=(3, 32, 32), classes=("cat", "dog"), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), color="rgb",
    background="#000000", origin="files",
)  # fmt: skip


def stage(accuracy: float, parameters: int) -> dict[str, Any]:
    return {
        "accuracy": accuracy, "precision": 0.8, "recall": 0.7, "f1": 0.75, "nll": 0.5, "ece": 0.02,
        "parameters": parameters, "macs": 10 * parameters, "latency": parameters * 1e-6,
    }  # fmt: skip


def result(**changes: Any) -> dict[str, Any]:
    student = stage(0.9, 1000) | {"agreement": 0.95, "kl_to_teacher": 0.1}
    student["correct"] = {"images": 100, "bits": "", "of": "0123456789abcdef"}
    return {
        "status": "completed", "overrides": ["dataset=cifar10", "dataset.root=/home/anna", "store=/x", "seed=3"],
        "seed": 3, "data_seed": 0, "teacher": stage(0.95, 4100), "baseline": stage(0.85, 1000), "student": student,
        "data": {"train": 5000, "val": 500, "test": 100, "student": 5000, "fingerprints": {"test": "0123456789abcdef"}},
        "environment": {"torch": "2.6.0", "device": "cpu", "git": None}, **changes,
    }  # fmt: skip


SETTINGS: dict[str, Any] = {
    "dataset": {
        "_target_": "kd_runner.datasets.torchvision_set.torchvision_set",
        "name": "CIFAR10",
        "root": "/home/anna",
    },
    "teacher": {"_target_": "kd_runner.models.resnet.ResNet", "depth": 56, "checkpoint": None},
    "student": {"_target_": "kd_runner.models.resnet.ResNet", "depth": 20},
    "distillation": {"_target_": "kd_runner.distillation.dkd.DKD", "weight": 1.0},
    "plus": {"at": {"_target_": "kd_runner.distillation.at.AT", "weight": 500.0}},
    "store": "/home/anna/store",
}


def front_matter(card: str) -> dict[str, Any]:
    content = yaml.safe_load(card.split("---\n")[1])
    assert isinstance(content, dict)
    return content


def test_a_card_has_the_numbers_of_its_run() -> None:
    analysis = {"networks": {"student": {"temperature": 1.5, "after": {"nll": 0.4, "ece": 0.01}}}}
    card = model_card(CardSources(result(), SETTINGS, analysis, INPUT))
    content = front_matter(card)
    assert content["license"] == "other"
    assert content["license_name"] == "to-be-filled-in"
    assert content["library_name"] == "kd-runner"
    assert content["tags"][-2:] == ["dkd", "at"]
    assert content["datasets"] == ["uoft-cs/cifar10"]
    (entry,) = content["model-index"][0]["results"]
    assert entry["dataset"] == {"type": "uoft-cs/cifar10", "name": "CIFAR10", "split": "test"}
    assert {metric["type"]: metric["value"] for metric in entry["metrics"]}["accuracy"] == 0.9
    for line in (
        "# ResNet, distilled on CIFAR10",
        "| size | 3 channels, height 32, width 32 |",
        "| normalised | mean 0.5, 0.5, 0.5, standard deviation 0.25, 0.25, 0.25 |",
        "- 1: dog",
        "- images: 5,000 training, 500 validation, 100 test",
        "- fingerprint of the test images: 0123456789abcdef",
        "| student | ResNet: depth=20 |",
        "| plus.at | AT: weight=500.0 |",
        "| test accuracy | 95.00 % | 85.00 % | 90.00 % |",
        # Wilson's interval of 90 of 100, by hand: (0.9 + 1.92073 / 100 ± …) / 1.0384146
        "- the student of this one run (seed 3) is right on 90.00 % of the test images: 95 % interval 82.56 % to "
        "94.48 % over images of the kind (Wilson)",
        "- how far another seed would be from this was not measured",
        "- NLL 0.5000 nats, ECE 0.0200 (15 bins), on the test images",
        "- with logits divided by 1.5, fitted on the validation images: NLL 0.4000 nats, ECE 0.0100",
        "Student and teacher predict the same class on 95.00 % of the test images; KL to the teacher 0.1000 nats.",
        "| parameters | 4,100 | 1,000 | 1,000 | 4.1 times fewer |",
        "| one image, median | 4.1 ms | 1 ms | 1 ms | 4.1 times faster |",
        "kd-runner dataset=cifar10 dataset.root=PATH seed=3",
        "| torch | 2.6.0 |",
        "- licence of the data: to be filled in",
    ):
        assert line in card.splitlines(), line
    assert "Not measured." in card[card.index("## Robustness") : card.index("## Cost")]
    assert "anna" not in card, "places on the machine of the training are left out"


def test_places_are_left_out_however_they_are_written() -> None:
    words = [
        "dataset=image_folder",
        "dataset.root=patients",
        "evaluate.also=[/home/anna/x]",
        "+teachers.two.checkpoint=a",
    ]
    dataset = {"_target_": "kd_runner.datasets.image_folder.image_folder", "root": "patients", "unlabelled": "anna"}
    teachers = {"two": {"checkpoint": "anna.pt", "weight": 2.0}}
    settings = {**SETTINGS, "dataset": dataset, "teachers": teachers, "evaluate": {"also": ["/home/anna/x"]}}
    card = model_card(CardSources(result(overrides=words), settings, {}, INPUT))
    assert "dataset.root=PATH evaluate.also=PATH +teachers.two.checkpoint=PATH" in card
    for row in ("| dataset.root | PATH |", "| teachers.two.checkpoint | PATH |", "| evaluate.also | PATH |"):
        assert row in card.splitlines()
    assert "| teachers.two.weight | 2.0 |" in card.splitlines()
    card += model_card(CardSources(result(config_dir="/home/anna/conf"), settings, {}, INPUT))
    assert "kd-runner --config-dir=PATH dataset=cifar10 dataset.root=PATH seed=3" in card.splitlines()
    assert "patients" not in card
    assert "anna" not in card


def test_an_accuracy_that_says_nothing_is_left_out() -> None:
    """Of four classes the label is always among the first five."""
    for classes, is_shown in ((4, False), (10, True)):
        data = {**result()["data"], "classes": classes}
        student = {**result()["student"], "top5_accuracy": 1.0}
        card = model_card(CardSources(result(data=data, student=student), SETTINGS, {}, INPUT))
        assert ("top-5 accuracy" in card) == is_shown


def test_exported_files_have_a_row_each() -> None:
    record = {
        "format": "onnx", "quantize": "int8", "bytes": 12_345,
        "check": {"runtime": "ort", "accuracy": 0.89, "agreement": 0.99, "latency": {"1": 0.0004, "64": "x"}},
        "metadata": {"input": "bytes, uint8"},
    }  # fmt: skip
    card = model_card(CardSources(result(), SETTINGS, {}, INPUT, {"student_last.int8.onnx": record}))
    row = "| student_last.int8.onnx | onnx | int8 | 12.3 kB | 89.00 % | 99.00 % | ort | 0.4 ms | – | bytes, uint8 |"
    assert row in card.splitlines()
    assert 'session = onnxruntime.InferenceSession("student_last.int8.onnx")' in card.splitlines()
    assert "With ONNX Runtime alone, where `images` are bytes, uint8:" in card.splitlines()
    assert "onnxruntime" not in model_card(CardSources(result(), SETTINGS, {}, INPUT))
    assert "Exported files" not in model_card(CardSources(result(), SETTINGS, {}, INPUT))


def test_seeds_of_a_sweep_have_an_interval_of_their_mean() -> None:
    card = model_card(CardSources(result(), SETTINGS, {}, INPUT, accuracies=[0.89, 0.90, 0.91]))
    # Student's t with 2 degrees of freedom: 4.3027 · 0.01 / √3 = 0.02484
    assert (
        "- over 3 seeds: mean 90.00 %, standard deviation 1.00 points, 95 % interval of the mean 87.52 % to 92.48 % "
        "(Student's t)"
    ) in card.splitlines()


def test_texts_of_others_stand_in_one_line_without_markup() -> None:
    settings = {**SETTINGS, "dataset": {"_target_": "x.y", "name": HOSTILE}, HOSTILE: HOSTILE}
    settings["student"] = {"_target_": f"a.{HOSTILE}", "depth": HOSTILE}
    changes = {"overrides": [HOSTILE, "a=```"], "environment": {HOSTILE: HOSTILE, "device": HOSTILE}, "seed": HOSTILE}
    hostile_input = INPUT.model_copy(update={"classes": (HOSTILE, "dog")})
    card = model_card(CardSources(result(**changes), settings, {"classes": [HOSTILE]}, hostile_input))
    assert card.count("\n---\n") == 1
    assert "\x1b" not in card
    assert "\u202e" not in card
    body = card.split("\n---\n")[1]
    headings = [line for line in body.splitlines() if line.startswith("#")]
    assert len(headings) == 13
    prose = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", body, flags=re.M | re.S)
    assert not re.search(r"(?<!\\)<script", prose)
    assert not re.search(r"(?<!\\)\[x|[^\\]\[31m", prose)
    assert set(front_matter(card)) == {
        "license", "license_name", "library_name", "pipeline_tag", "tags", "datasets", "metrics", "model-index",
    }  # fmt: skip


def test_a_card_of_an_old_or_poor_run_says_what_is_not_known() -> None:
    poor = {"status": "completed", "student": {"accuracy": 0.5}, "teacher": None, "baseline": None}
    card = model_card(CardSources(poor, {}, {}))
    assert "# student, distilled on unknown" in card
    assert "The file of the weights does not say it" in card
    assert "- NLL – nats, ECE – (15 bins), on the test images" in card
    assert card.count("Not measured.") == 2


def test_the_hub_reads_the_card() -> None:
    hub = pytest.importorskip("huggingface_hub")
    content = hub.ModelCard(model_card(CardSources(result(), SETTINGS, {}, INPUT))).data
    assert content.library_name == "kd-runner"
    (accuracy, *_) = content.eval_results
    assert (accuracy.metric_type, accuracy.metric_value, accuracy.dataset_split) == ("accuracy", 0.9, "test")
