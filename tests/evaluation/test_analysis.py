"""What is seen in predictions, against numbers worked out by hand and by other libraries."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_cases import some_logits
from conftest import softmax
from PIL import Image

from kd_runner.datasets.splits import Split
from kd_runner.evaluation import analysis
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files import run_folder
from kd_runner.tracking.dashboard import FIGURES


def test_of_many_classes_the_most_confused_are_shown() -> None:
    matrix = 9 * torch.eye(200, dtype=torch.int64)
    matrix[150, 7] = matrix[3, 150] = 5
    shown = analysis.most_confused([matrix])
    assert len(shown) == analysis.CONFUSED
    assert {3, 7, 150} <= set(shown.tolist())
    assert shown.tolist() == sorted(shown.tolist())
    assert analysis.most_confused([matrix[:100, :100]]).tolist() == list(range(100))


def predictions(count: int = 40, classes: int = 4, baseline: bool = True) -> tuple[Predictions, Split]:
    roles = ("teacher", "baseline", "student") if baseline else ("teacher", "student")
    logits = {role: some_logits(count, classes, seed)[0] for seed, role in enumerate(roles)}
    pixels = torch.arange(count * 3 * 4 * 5).view(count, 3, 4, 5).to(torch.uint8)
    labels = some_logits(count, classes)[1]
    return Predictions(logits, labels), Split(pixels, labels)


def test_disagreements_are_the_largest_differences() -> None:
    test, images = predictions()
    found = analysis.disagreements(test, images)
    teacher, student = (softmax(test.logits[role].double().numpy()) for role in ("teacher", "student"))
    distances = np.abs(teacher - student).sum(1) / 2
    assert [each["index"] for each in found] == np.argsort(-distances)[: analysis.DISAGREEMENTS].tolist()
    first = found[0]
    assert first["distance"] == pytest.approx(distances.max(), abs=1e-6)
    assert first["student"]["class"] == student[first["index"]].argmax()
    assert first["teacher"]["probability"] == pytest.approx(teacher[first["index"]].max(), abs=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_thumbnails_show_the_pixels(channels: int) -> None:
    pixels = torch.randint(0, 256, (3, channels, 4, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    pictures = analysis.thumbnails(Split(pixels, torch.zeros(3, dtype=torch.int64)), torch.tensor([2, 0]))
    for picture, image in zip(pictures, (pixels[2], pixels[0]), strict=True):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))
        expected = image.permute(1, 2, 0).numpy() if channels == 3 else image[0].numpy()
        assert np.array_equal(shown, expected)


def test_large_images_are_shown_small() -> None:
    images = Split(torch.zeros(1, 3, 200, 400, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    (picture,) = analysis.thumbnails(images, torch.tensor([0]))
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (96, 48)


def test_soft_targets_are_the_teachers_softmax_at_the_temperature() -> None:
    logits, labels = some_logits(2, 6)
    _, images = predictions()
    found = analysis.soft_targets(logits, labels, torch.tensor([3, 9]), images, 4.0)
    expected = np.sort(softmax(logits.double().numpy(), 4.0))[:, ::-1]
    for each, row in zip(found["examples"], expected, strict=True):
        assert [guess["probability"] for guess in each["top"]] == pytest.approx(row[:5], abs=1e-6)
    assert [each["index"] for each in found["examples"]] == [3, 9]


def test_spread_indices() -> None:
    assert analysis.spread(100, 4).tolist() == [0, 25, 50, 75]
    assert analysis.spread(3, 8).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("classes", "baseline"), [(2, False), (10, True), (40, True), (120, True)])
def test_every_figure_of_any_number_of_classes(classes: int, baseline: bool) -> None:
    test, images = predictions(3 * classes, classes, baseline)
    taught = analysis.soft_targets(*some_logits(8, classes), torch.arange(8) % len(images), images, 4.0)
    names = [f"class {number} with a long name" for number in range(classes)]
    seen: dict[str, Any] = analysis.analysis(test, test, images, names, taught)
    seen["epochs"] = {"student": [{"val_agreement": 0.5, "val_kl_to_teacher": 1.0}] * 3}
    seen = json.loads(json.dumps(seen, allow_nan=False))
    drawn = {title: figure_of(seen) for title, figure_of in FIGURES.items()}
    missing = {title for title, figure in drawn.items() if figure is None}
    assert missing == ({"Per-class change against the baseline"} if not baseline else set())
    assert all(figure is None or figure.charts for figure in drawn.values())


def test_a_run_leaves_its_analysis(result_of: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    result = result_of("student.epochs=2", "finetune.epochs=1")
    seen = json.loads((tmp_path / "run0" / run_folder.ANALYSIS).read_text())
    assert seen["classes"] == [str(digit) for digit in range(10)]
    for role in ("teacher", "baseline", "student"):
        network = seen["networks"][role]
        confusion = np.array(network["confusion"])
        assert confusion.sum(1).tolist() == seen["test_images"]
        assert np.trace(confusion) / confusion.sum() == pytest.approx(result[role]["accuracy"])
        assert network["before"]["ece"] == pytest.approx(result[role]["ece"], abs=1e-6)
        assert network["before"]["nll"] == pytest.approx(result[role]["nll"])
    assert [len(seen["epochs"][stage]) for stage in ("teacher", "baseline", "student", "finetune")] == [1, 2, 2, 1]
    assert set(seen["epochs"]["student"][0]) >= {"val_agreement", "val_kl_to_teacher", "val_accuracy", "temperature"}
    assert len(seen["disagreements"]) == 16
    assert len(seen["soft_targets"]["examples"]) == 8
