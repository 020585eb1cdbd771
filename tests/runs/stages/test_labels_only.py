"""Networks trained on labels alone are trained once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from kd_runner.config.fingerprint import digest
from kd_runner.datasets.digit_tiles import digit_tiles
from kd_runner.datasets.digits import digits
from kd_runner.errors import LossNotFinite, SettingsError
from kd_runner.files.locks import lock_of
from kd_runner.files.run_folder import GRID, LOCK
from kd_runner.runs.assembly import assemble
from kd_runner.runs.resume.resuming import earlier_result
from kd_runner.runs.stages.labels_only import ingredients, train_or_load
from kd_runner.store.entries import key_of
from kd_runner.tracking.logger import RunLogger

RunIt = Callable[..., dict[str, Any]]


def test_the_store_trains_once(result_of: RunIt, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    result_of("distillation=soft")
    assert "reused" not in caplog.text
    result_of("distillation=hard", "temperature.value=2")
    assert caplog.text.count("reused from") == 2
    assert len(list((tmp_path / "store").iterdir())) == 2
    result_of("optimizer.lr=0.01")
    assert len(list((tmp_path / "store").iterdir())) == 4


def test_the_number_of_threads_does_not_decide_which_network_it_is(settings: Callable[..., Any]) -> None:
    keys = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        parts = assemble(settings())
        keys.append(
            [
                key_of(ingredients(parts.labels_only(stage), parts.settings, parts.data))
                for stage in ("teacher", "baseline")
            ]
        )
    torch.set_num_threads(1)
    assert keys[0] == keys[1] == keys[2]


def test_jobs_of_a_sweep_do_not_repeat_a_training_whose_loss_was_not_finite(
    settings: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "kd_runner")
    (tmp_path / GRID).write_text("{}")
    words = ("teacher=mlp", "optimizer=sgd", "scheduler=constant", "teacher.optimizer={lr: 1e30}")
    texts = []
    with lock_of(tmp_path / LOCK):
        for mode in ("soft", "dkd"):
            made = settings(*words, f"distillation={mode}")
            parts, folder = assemble(made), tmp_path / mode
            with pytest.raises(LossNotFinite, match=r"lower teacher\.optimizer\.lr, now 1e\+30$") as failed:
                train_or_load(parts.labels_only("teacher"), made, parts.data, RunLogger(folder), folder)
            texts.append(str(failed.value))
            assert ("not trained again" in caplog.text) == (mode == "dkd")
    assert texts[0] == texts[1]


@pytest.mark.parametrize(("words", "differs"), [
    ((), False),
    (("student.freeze=['1']",), False),
    (("student.pruning.amount=0.5", "student.freeze=['1']"), False),
    (("student.pruning={amount: 0.5, structured: true}",), False),
    (("student.pruning={amount: 0.5, structured: true}", "student.freeze=['1']"), True),
])  # fmt: skip
def test_only_a_network_that_lost_channels_of_frozen_layers_has_another_name_than_before(
    settings: Callable[..., Any], words: tuple[str, ...], differs: bool
) -> None:
    made, splits = settings(*words, "teacher=mlp", "student=mlp"), digits(0)
    if made.student.pruning.structured:
        pytest.importorskip("torch_pruning", reason="needs torch-pruning")
    parts = assemble(made, splits)
    assert ("channels_of_frozen_layers" in ingredients(parts.labels_only("baseline"), made, parts.data)) == differs


@pytest.mark.parametrize(("words", "follows"), [
    ((), False),
    (("scheduler=onecycle", "student.ema=0.9"), False),
    (("early_stopping.metric=val_loss",), True),
    (("scheduler=plateau",), True),
    (("student.early_stopping={metric: val_agreement}",), False),  # by which these stages do not stop
])  # fmt: skip
def test_validation_images_are_in_the_name_of_a_network_whose_training_follows_them(
    settings: Callable[..., Any], words: tuple[str, ...], follows: bool
) -> None:
    splits, made = digits(0), settings(*words, "teacher=mlp", "student=mlp")
    other_labels = replace(splits, val=replace(splits.val, labels=(splits.val.labels + 1) % 10))
    for stage in ("teacher", "baseline"):
        first, second = (
            ingredients(parts.labels_only(stage), parts.settings, parts.data)
            for parts in (assemble(made, splits), assemble(made, other_labels))
        )
        assert (first != second) == follows
        assert ("validation" in first) == follows  # else networks in stores of earlier versions are found


TWICE = ("dataset.balanced_sampling=true", "dataset.flip=true")
STEPS = ("student.steps=45", "student.epochs=2")  # 18 batches of a pass


@pytest.mark.parametrize(("words", "added"), [
    (TWICE, {"drawn_twice": "anew"}),
    ((*TWICE, "teacher_outputs=views:2", "student.epochs=3"), {"views": 2}),  # as before
    ((*TWICE, "teacher_outputs=views:3", "student.epochs=3"), {"views": 3}),
    ((*TWICE, "teacher_outputs=views:9", "student.epochs=3"), {"views": 3}),
    ((*TWICE, *STEPS), {"drawn_twice": "counted_in_the_pass"}),
    ((*TWICE, "student.steps=36", "student.epochs=2"), {}),  # a part is a pass
    (("dataset.balanced_sampling=true", *STEPS), {}),
    (("dataset.flip=true", *STEPS), {}),
    (("dataset.flip=true", "teacher_outputs=views:3", "student.epochs=3"), {}),
    (("student.label_smoothing=0.1",), {}),
    (("dataset.class_weights=balanced",), {}),
    (("dataset.class_weights=balanced", "student.label_smoothing=0.1"), {"smoothed_labels": "weighted_by_image"}),
])  # fmt: skip
def test_only_networks_that_earlier_versions_trained_otherwise_have_other_names(
    settings: Callable[..., Any], words: tuple[str, ...], added: dict[str, Any]
) -> None:
    made = settings("teacher=mlp", "student=mlp", "batch_size=64", "student.fraction=1", *words)
    parts = assemble(made, digits(0))
    names = {"drawn_twice", "views", "smoothed_labels"}
    found = ingredients(parts.labels_only("baseline"), made, parts.data)
    assert {name: value for name, value in found.items() if name in names} == added
    assert not names & set(ingredients(parts.labels_only("teacher"), made, parts.data))


@pytest.mark.parametrize(("words", "is_common", "is_other"), [
    (("dataset.class_weights=balanced",), True, True),
    (("dataset.class_weights=balanced",), False, False),
    (("dataset.class_weights=[1,1,1,1,1,1,1,1,1,1]",), True, False),
    ((), True, False),
    (("dataset.class_weights=balanced", "baseline=false", "distillation.label_weight=0"), True, True),  # by its teacher
])  # fmt: skip
def test_a_label_of_all_images_that_nothing_taught_changes_the_names_of_what_was_trained_so(
    settings: Callable[..., Any], words: tuple[str, ...], is_common: bool, is_other: bool
) -> None:
    splits = digit_tiles(0, 12, 4, 4)
    labels = splits.train.labels.clone()
    labels[:, 3], labels[0, :4] = 1, 0
    labels[0, 3] = int(is_common)
    splits = replace(splits, train=replace(splits.train, labels=labels))
    parts = assemble(settings("teacher=mlp", "student=mlp", "temperature.value=1", *words), splits)
    for stage in ("teacher", "baseline"):
        found = ingredients(parts.labels_only(stage), parts.settings, parts.data)
        assert found.get("label_of_all_images") == ("counts_once" if is_other else None)
    of_earlier_version = digest([parts.settings.decisive(), splits.fingerprint, [None]])[:16]
    assert (parts.fingerprint() != of_earlier_version) == is_other
    assert ("student" in parts.corrections) == (is_other and "baseline=false" not in words)


@pytest.mark.parametrize("has_dropout", [True, False])
def test_the_number_of_devices_names_networks_that_draw_random_numbers(
    settings: Callable[..., Any], has_dropout: bool
) -> None:
    words = ("teacher=mlp", "student=mlp", "batch_size=64", "trainer.accelerator=cpu")
    words += ("teacher.dropout=[0.2,0.5]",) if has_dropout else ()
    one, two = (assemble(settings(*words, f"trainer.devices={count}"), digits(0)) for count in (1, 2))
    of_one, of_two = (
        {stage: ingredients(parts.labels_only(stage), parts.settings, parts.data) for stage in ("teacher", "baseline")}
        for parts in (one, two)
    )
    assert "processes" not in of_one["teacher"]
    assert of_two["teacher"].pop("processes", None) == (2 if has_dropout else None)
    assert of_one == of_two
    assert (one.fingerprint() != two.fingerprint()) == has_dropout
    assert one.fingerprint() == digest([one.settings.decisive(), one.data.splits.fingerprint, [None]])[:16]


@pytest.mark.parametrize(("words", "is_other"), [
    ((), False),
    (TWICE, False),  # the store alone mistook one network for another
    ((*TWICE, *STEPS), True),
    (("dataset.class_weights=balanced",), False),
    (("dataset.class_weights=balanced", "student.label_smoothing=0.1"), True),
    (("dataset.class_weights=balanced", "teacher.label_smoothing=0.1"), True),
    (("optimizer=dot",), False),
    (("optimizer=dot", "distillation.label_weight=0"), True),
    (("distillation.label_weight=0",), False),
    (("dataset.label_noise=0.2",), False),
    (("student.without_classes=[3]",), False),
    (("student.without_classes=[3]", "dataset.label_noise=0.2"), True),
])  # fmt: skip
def test_a_run_that_earlier_versions_trained_otherwise_has_another_fingerprint(
    settings: Callable[..., Any], words: tuple[str, ...], is_other: bool, tmp_path: Path
) -> None:
    parts = assemble(settings("teacher=mlp", "student=mlp", "batch_size=64", *words), digits(0))
    of_earlier_version = digest([parts.settings.decisive(), parts.data.splits.fingerprint, [None]])[:16]
    assert (parts.fingerprint() != of_earlier_version) == is_other
    if is_other:
        (tmp_path / "result.json").write_text(f'{{"fingerprint": "{of_earlier_version}", "status": "completed"}}')
        with pytest.raises(SettingsError, match="or by an earlier version, which trained otherwise under these"):
            earlier_result(tmp_path, parts.fingerprint(), is_corrected=bool(parts.corrections))
