"""What TensorBoard shows of a run beside its curves."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.util import tensor_util

import kd_runner
from kd_runner.config.sections import TrackingSettings
from kd_runner.datasets.splits import Split
from kd_runner.evaluation.metrics import pair_metrics
from kd_runner.evaluation.predictions import Predictions, predict
from kd_runner.runs.assembly import assemble
from kd_runner.runs.run import run
from kd_runner.tracking import dashboard
from kd_runner.tracking.dashboard import FIGURES
from kd_runner.tracking.event_files import jobs_beside
from kd_runner.tracking.layouts import LAYOUT
from kd_runner.tracking.logger import RunLogger


def shown(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"tensors": 0}).Reload()


def text(events: EventAccumulator, tag: str) -> str:
    (event,) = events.Tensors(f"{tag}/text_summary")
    return tensor_util.make_ndarray(event.tensor_proto).item().decode()


def test_a_run_in_tensorboard(settings: Callable[..., Any], tmp_path: Path) -> None:
    words = ["student.epochs=2", "optimizer.lr=0.002"]
    result = run(settings(*words, "tracking.images=true"), tmp_path, words, secrets=["store"])
    events = shown(tmp_path)
    assert set(events.Tags()["images"]) == {f"images/{title}" for title in FIGURES}
    for tag in events.Tags()["images"]:
        (image,) = events.Images(tag)
        pixels = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB"))
        assert pixels.shape == (image.height, image.width, 3)
        assert pixels.std() > 1
    assert text(events, "run/command") == "```\nkd-runner student.epochs=2 optimizer.lr=0.002\n```"
    told = text(events, "run/settings")
    assert "student:\n" in told
    assert "store: '***'" in told
    assert f"{result['student']['accuracy']:.4f}" in text(events, "run/result")
    (event,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(tensor_util.make_ndarray(event.tensor_proto).item())
    assert [category.title for category in layout.category] == list(LAYOUT)
    curves = [tag for tag in events.Tags()["tensors"] if tag.startswith("precision_recall_student/")]
    assert len(curves) == 10
    (event,) = events.Tensors("precision_recall_student/3")
    counts = tensor_util.make_ndarray(event.tensor_proto)
    assert counts.shape == (6, 101)
    assert counts[:4].sum(0).tolist() == [539] * 101  # each test image is one of four things at each threshold
    scalars = events.Tags()["scalars"]
    assert {"student/val_agreement", "student/val_kl_to_teacher", "teacher/images_per_second"} <= set(scalars)


def test_the_last_epochs_closeness_is_that_of_the_saved_networks(settings: Callable[..., Any], tmp_path: Path) -> None:
    chosen = settings("student.epochs=2")
    run(chosen, tmp_path)
    parts = assemble(chosen)
    networks = {role: kd_runner.load(tmp_path / f"{role}.safetensors")[0] for role in ("teacher", "student_last")}
    found = predict(networks, parts.data.plain_batches("val"), parts.data.device).logits
    expected = pair_metrics(found["student_last"], found["teacher"])
    history = json.loads((tmp_path / "analysis.json").read_text())["epochs"]["student"]
    assert history[-1]["val_agreement"] == pytest.approx(expected["agreement"])
    assert history[-1]["val_kl_to_teacher"] == pytest.approx(expected["kl_to_teacher"], rel=1e-4)
    assert history[0]["val_kl_to_teacher"] > history[-1]["val_kl_to_teacher"]


def test_what_is_shown_on_request(settings: Callable[..., Any], tmp_path: Path) -> None:
    run(settings("tracking.graph=true", "tracking.embedding=true"), tmp_path)
    events = shown(tmp_path)
    assert events.Tags()["images"] == []
    assert events.Tags()["graph"]
    projected = next((tmp_path / "tensorboard").rglob("tensors.tsv")).read_text().splitlines()
    assert len(projected) == 500
    assert len(projected[0].split("\t")) == 10
    names = next((tmp_path / "tensorboard").rglob("metadata.tsv")).read_text().splitlines()
    assert names[0] == "label\tteacher\tstudent"
    assert len(names) == 501
    assert (tmp_path / "analysis.json").exists()


def test_peers_have_no_teacher_to_colour_the_points_by(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    images = Split(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1, 0]))
    logits = {"student": torch.eye(2)[torch.tensor([0, 1, 0, 1])], "baseline": torch.zeros(4, 2)}
    dashboard.project(logger, Predictions(logits, images.labels), images, ["cat", "dog"])
    logger.experiment.close()
    names = next(tmp_path.rglob("metadata.tsv")).read_text().splitlines()
    assert names == ["label\tstudent", "cat\tcat", "dog\tdog", "dog\tcat", "cat\tdog"]


def test_tracking_changes_no_result(settings: Callable[..., Any], tmp_path: Path) -> None:
    plain, tracked = settings(), settings("tracking.images=true", "tracking.graph=true", "tracking.loggers=[csv]")
    assert plain.decisive() == tracked.decisive()


@pytest.mark.parametrize("value", ["1", "yes"])
def test_images_are_asked_for_by_true_false_or_auto(settings: Callable[..., Any], value: str) -> None:
    with pytest.raises(ValueError, match=rf"tracking\.images: must be true, false or auto, got '?{value}"):
        settings(f"tracking.images={value}")


@pytest.mark.parametrize(
    ("asked", "expected"), [("auto", [True, False]), (True, [True, True]), (False, [False, False])]
)
def test_a_large_sweep_has_images_only_where_they_are_asked_for(asked: bool | str, expected: list[bool]) -> None:
    tracking = TrackingSettings(images=asked, graph=False, embedding=False)
    assert [tracking.has_images(jobs) for jobs in (50, 51)] == expected


def test_a_run_knows_how_many_jobs_its_sweep_has(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"folders": ["0", "1"], "names": ["0_s0", "1_s1"]}))
    assert [jobs_beside(tmp_path / name) for name in ("1", "elsewhere")] == [2, 1]
