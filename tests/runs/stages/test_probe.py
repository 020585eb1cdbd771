"""Backbones as teachers: with a last layer that is fitted to the labels, and without one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.networks.weight_files import Entry
from kd_runner.notes import collected_notes
from kd_runner.reports.summary import sentences, table
from kd_runner.runs.assembly import assemble
from kd_runner.runs.stages.probe import (
    STRENGTHS,
    best_regression,
    entries_without_head,
    image_weights,
    ingredients,
    regression,
    without_head,
)

RunIt = Callable[..., dict[str, Any]]
BACKBONE = ("teacher=mlp", "teacher.hidden=[12]", "student=tiny_mlp")


@pytest.mark.parametrize("has_bias", [True, False])
def test_the_fit_is_that_of_scikit_learn_with_the_best_strength(has_bias: bool) -> None:
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 6, generator=generator) * torch.tensor([1, 2, 5, 0.1, 1, 0]) + 3
    labels = (features[:, 0] + torch.randn(300, generator=generator) > 3).long() + (features[:, 1] > 4)
    train, val = (features[:200], labels[:200]), (features[200:], labels[200:])
    weight, bias, metrics = best_regression(train, val, 3, has_bias)
    mean = train[0].mean(0) if has_bias else torch.zeros(6)
    std = (train[0] - mean).square().mean(0).sqrt()
    seen, seen_val = (((x - mean) / std.clamp_min(1e-9) * (std > 1e-5)).double().numpy() for x in (train[0], val[0]))
    found = {}
    for strength in STRENGTHS:
        fit = LogisticRegression(C=1 / (strength * 200), fit_intercept=has_bias, tol=1e-8, max_iter=5000)
        found[strength] = fit.fit(seen, train[1].numpy())
    rights = {strength: fit.score(seen_val, val[1].numpy()) for strength, fit in found.items()}
    assert metrics["val_accuracy"] == pytest.approx(max(rights.values()), abs=0.011)
    expected = found[metrics["l2"]].predict_proba(seen_val)
    given = (val[0] @ weight.T + bias).softmax(1).numpy()
    np.testing.assert_allclose(given, expected, atol=0.02)
    assert has_bias or not bool(bias.any())


@pytest.mark.parametrize(("words", "expected"), [
    ((), None),
    (("dataset.class_weights=[4,1,1]",), [4.0, 1.0, 1.0]),
    (("dataset.class_weights=balanced",), [1 / 10, 1 / 60, 1 / 30]),
    (("dataset.balanced_sampling=true",), [1 / 10, 1 / 60, 1 / 30]),
    (("dataset.class_weights=[4,1,1]", "dataset.balanced_sampling=true"), [4 / 10, 1 / 60, 1 / 30]),
])  # fmt: skip
def test_images_count_by_their_classes_as_in_the_training_of_a_network(
    settings: Callable[..., Settings], words: tuple[str, ...], expected: list[float] | None
) -> None:
    labels = torch.tensor([0] * 10 + [1] * 60 + [2] * 30)
    weights = image_weights(settings(*words).dataset, labels, 3)
    if expected is None:
        assert weights is None
        return
    assert weights is not None
    by_class = weights[[0, 10, 70]]
    torch.testing.assert_close(by_class / by_class[0], torch.tensor(expected) / expected[0])
    assert torch.equal(weights, by_class[labels])


def test_a_weighted_fit_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 4, generator=generator)
    labels = (features[:, 0] + torch.randn(200, generator=generator) > 1).long()
    weights = torch.tensor([0.5, 3.0])[labels]
    found = regression(features, labels, torch.zeros(2, 5), 1e-2, True, weights)
    fit = LogisticRegression(C=2 / (1e-2 * 200), tol=1e-10, max_iter=5000)  # two classes have one vector there
    fit.fit(features.double().numpy(), labels.numpy(), sample_weight=weights.double().numpy())
    logits = torch.nn.functional.linear(features, found[:, :-1], found[:, -1])
    expected = fit.predict_proba(features.double().numpy())
    np.testing.assert_allclose(logits.softmax(1).numpy(), expected, atol=1e-3)


def test_only_probes_that_left_weights_aside_have_other_names(settings: Callable[..., Settings]) -> None:
    found = []
    for words in ((), ("dataset.class_weights=balanced",), ("dataset.balanced_sampling=true",)):
        made = settings(*BACKBONE, "teacher.head=probe", *words)
        parts = assemble(made)
        found.append(ingredients("teacher", parts.teacher, made.teacher, made, parts.data))
        assert bool(parts.corrections) == bool(words)
    assert found[1:] == [{**found[0], "class_weights": "balanced"}, {**found[0], "balanced_sampling": True}]


def test_other_layers_may_end_in_the_name_of_the_head() -> None:
    network = nn.Sequential()
    network.add_module("block", nn.Sequential())
    network.block.add_module("fc", nn.Linear(2, 2))
    network.add_module("fc", nn.Linear(2, 3))
    names = ["fc.weight", "block.fc.weight", "model.fc.bias", "model.block.fc.bias", "epoch"]
    entries = [Entry((name,), torch.zeros(1)) for name in names]
    kept = [entry.name for entry in entries_without_head(entries, without_head(network, "fc"), "fc")]
    assert kept == ["block.fc.weight", "model.block.fc.bias", "epoch"]


def test_a_backbone_of_other_classes_is_probed_once_and_keeps_its_weights(result_of: RunIt, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = {"1.weight": torch.randn(12, 64) / 8, "1.bias": torch.zeros(12)}
    head = {"3.weight": torch.zeros(1000, 12), "3.bias": torch.zeros(1000)}
    torch.save({"model": {**backbone, **head}}, tmp_path / "b.pth")
    words = (*BACKBONE, "baseline=false", f"teacher.checkpoint={tmp_path / 'b.pth'}", "teacher.head=probe")
    first = result_of(*words)
    assert first["teacher"]["accuracy"] > 0.5  # twelve random features tell the digits apart
    assert any(text.endswith("; its last layer is fitted to the labels") for text in first["notes"])
    assert first["teacher"]["images_seen"] is None
    assert first["budget"]["teacher"]["teacher_backwards"] == 0
    assert first["budget"]["teacher"]["teacher_forwards"] == first["data"]["train"]
    state = load_file(tmp_path / "run0" / "teacher.safetensors")
    assert all(torch.equal(state[name], value) for name, value in backbone.items())
    assert bool(state["3.weight"].any())
    assert result_of(*words)["teacher"]["nll"] == first["teacher"]["nll"]
    made = [path for path in (tmp_path / "store").glob("*/made_of.json") if '"probe"' in path.read_text()]
    assert len(made) == 1


def test_a_backbone_of_timm_says_which_images_its_published_weights_want(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    timm = pytest.importorskip("timm")
    save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "backbone.safetensors")
    wanted = (
        "timm's own weights of this network want images of 160x160 with mean [0.5, 0.5, 0.5] and std [0.5, 0.5, 0.5]"
    )
    words = ("teacher=timm", "teacher.name=test_resnet", f"teacher.checkpoint={tmp_path / 'backbone.safetensors'}")
    words = (*words, "teacher.head=probe", "teacher.input.channels=3")
    as_published = ("teacher.input.size=160", "teacher.input.mean=[0.5]", "teacher.input.std=[0.5]")
    for more, note in (
        (("teacher.input.size=32",), f"{wanted}; it is given 32x32 (teacher.input.size, .mean, .std)"),
        (as_published[:1], f"{wanted}; it is given 160x160 (teacher.input.size, .mean, .std)"),
        (as_published, None),
    ):
        with collected_notes() as notes:
            assemble(settings(*words, *more))
        assert [text for text in notes if text.startswith("timm's own")] == ([] if note is None else [note])


@pytest.mark.slow
def test_a_teacher_without_a_head_gives_features_and_no_classes(result_of: RunIt) -> None:
    result = result_of(*BACKBONE, "teacher.head=none", "distillation=rkd", "tracking.images=true")
    assert result["teacher"] is None
    assert result["gap_closed"] is None
    assert result["teacher_features"]["parameters"] == 12 * 65 + 10 * 13
    assert "agreement" not in result["student"]
    assert result["budget"]["student"]["teacher_forwards"] > 0
    learned = {**result, "student": {**result["student"], "accuracy": 0.9}}  # its two epochs are too few for that
    assert "from the features of a teacher without a head" in " ".join(sentences(learned, 0))
    assert "teacher " not in table(result).split("\n\n")[1]
    assert not [note for note in result["notes"] if "could not be shown" in note]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("teacher.head=none",),
            "teacher.head: must be probe or trained with distillation, which looks at the teacher's logits, got none",
        ),
        (("teacher.head=linear",), "teacher.head: must be 'trained', 'probe' or 'none', got 'linear'"),
        (
            ("teacher.head=none", "distillation=rkd", "early_stopping.metric=val_agreement"),
            "teacher.head: must be probe or trained with early_stopping.metric=val_agreement, got none",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    settings: Callable[..., Settings], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        assemble(settings(*BACKBONE, *words))
