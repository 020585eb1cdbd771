"""Predictions of a stored network whose pictures may have several labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from kd_runner import load
from kd_runner.datasets.digit_tiles import digit_tiles
from kd_runner.deploy.evaluate_command import main as evaluate
from kd_runner.deploy.multi_label_answers import MultiLabelAnswer, labels_as_csv, labels_as_json, labels_as_table
from kd_runner.deploy.predict_command import main as predict
from kd_runner.files.run_folder import ANALYSIS, RESULT
from kd_runner.networks import checkpoints
from kd_runner.proof.verify import verify

ANSWERS = [
    MultiLabelAnswer("a.png", [("cat", 0.9), ("dog", 0.6)], [0.9, 0.6, 0.2]),
    MultiLabelAnswer("b.png", [], [0.1, 0.3, 0.2]),
    MultiLabelAnswer("c.png", error="it is no picture"),
]
CLASSES = ["cat", "dog", "eel"]


def test_answers_as_text() -> None:
    rows = [line.split(maxsplit=1) for line in labels_as_table(ANSWERS, CLASSES, 80).splitlines() if ".png" in line]
    assert [row[0] for row in rows] == ["a.png", "b.png"]
    assert [" ".join(row[1].split()) for row in rows] == ["cat 90.00 %, dog 60.00 % eel 20.00 %", "none dog 30.00 %"]
    assert labels_as_table(ANSWERS[2:], CLASSES, 80) == ""
    assert labels_as_csv(ANSWERS, CLASSES).splitlines() == [
        "image,labels,probability of cat,probability of dog,probability of eel,error",
        "a.png,cat|dog,0.9,0.6,0.2,",
        "b.png,,0.1,0.3,0.2,",
        "c.png,,,,,it is no picture",
    ]
    content = json.loads(labels_as_json(ANSWERS, CLASSES, "m"))
    assert content["images"][0]["labels"] == [
        {"label": "cat", "probability": 0.9},
        {"label": "dog", "probability": 0.6},
    ]
    assert content["images"][1] == {"image": "b.png", "labels": [], "probabilities": [0.1, 0.3, 0.2]}
    assert content["unreadable"] == [{"image": "c.png", "reason": "it is no picture"}]


def test_a_stored_network_says_each_label(label_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = digit_tiles(0, 120, 40, 60).test
    pixels = test.images[0]
    Image.fromarray(pixels[0].numpy()).save(tmp_path / "tile.png")
    predictor = load(label_run)
    answer = predictor(tmp_path / "tile.png")
    assert torch.equal(answer.probabilities, answer.logits.sigmoid())
    expected = [name for name, p in zip(predictor.classes, answer.probabilities[0].tolist(), strict=True) if p > 0.5]
    assert sorted(name for name, _ in answer.labels[0]) == expected
    assert answer.names == ["|".join(name for name, _ in answer.labels[0])]
    assert predict([str(label_run), str(tmp_path / "tile.png"), "--format", "json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["images"]
    assert said["probabilities"] == pytest.approx(answer.probabilities[0].tolist(), abs=1e-6)
    assert predict([str(label_run), str(tmp_path / "tile.png"), "--top", "5"]) == 2
    assert "--top: has no effect" in capsys.readouterr().err


def test_a_stored_run_is_measured_again(label_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = json.loads((label_run / RESULT).read_text())
    assert result["metric"] == "map"
    assert not {"accuracy", "nll", "correct"} & set(result["student"])
    assert result["data"]["labels_per_image"] > 2
    assert evaluate([str(label_run), "--format", "json"]) == 0
    content = json.loads(capsys.readouterr().out)
    for stage in ("teacher", "baseline", "student"):
        for name in ("map", "f1", "micro_f1", "label_accuracy", "exact_match", "bce", "brier"):
            assert content["networks"][stage][name] == pytest.approx(result[stage][name], abs=1e-6)
    precisions = json.loads((label_run / ANALYSIS).read_text())["labels"]["student"]["average_precision"]
    assert content["networks"]["student"]["label_average_precision"] == pytest.approx(precisions, abs=1e-6)
    assert verify(label_run).holds
    capsys.readouterr()
    assert evaluate([str(label_run)]) == 0
    assert "Average precision of each label:" in capsys.readouterr().out
    assert evaluate([str(label_run), str(tmp_path)]) == 2
    assert "DATA: must be a table with a column of labels, or left out, for" in capsys.readouterr().err
    info = checkpoints.read_checkpoint(label_run / "student_last.safetensors")[1]
    assert info is not None
    assert info["input"]["several_labels"] is True
    assert 0 < info["val_map"] < 1
