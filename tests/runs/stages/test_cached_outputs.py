"""Runs whose teacher's logits are kept: the numbers of an online run, from the store, under a key that decides."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kd_runner.config.settings import Settings
from kd_runner.runs import parts as parts_module
from kd_runner.runs.assembly import assemble
from kd_runner.runs.run import run
from kd_runner.runs.stages.cached_outputs import ingredients, is_augmented, weights_digest
from kd_runner.store.entries import LOGITS, key_of
from kd_runner.training.cached_teacher import CachedTeacher
from kd_runner.training.distiller import Distiller
from kd_runner.training.teacher_outputs import OnlineTeacher

RunIt = Callable[..., dict[str, Any]]
SHORT = ("student.epochs=3", "baseline=false", "batch_size=100")
AUGMENTED = ("dataset.crop_padding=1", "dataset.flip=true")


def student(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "student_last.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "words",
    [pytest.param(("teacher_outputs=cache",), marks=pytest.mark.slow), ("teacher_outputs=views:2", *AUGMENTED)],
)
def test_a_run_with_kept_logits_equals_an_online_run_bit_for_bit(
    result_of: RunIt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    kept = result_of(*SHORT, *words)

    with monkeypatch.context() as patch:  # the batches replay the views, and the teacher runs in every step
        patch.setattr(parts_module, "teacher_outputs", lambda online, *_: online)
        patch.setattr("kd_runner.runs.stages.stage_runner.outputs_record", lambda *_: {"source": "online"})
        online_result = result_of(*SHORT, *words)
    assert equal(student(tmp_path / "run0"), student(tmp_path / "run1"))
    for key in ("nll", "kl_to_teacher", "val_accuracies"):
        assert kept["student"][key] == online_result["student"][key]

    images = kept["data"]["train"]
    views = 2 if "teacher_outputs=views:2" in words else 1
    record = kept["teacher_outputs"]
    assert (record["reused"], record["passes"], record["largest_difference"]) == (False, views * images, 0.0)
    assert record["passes_saved"] == (3 - views) * images
    again = result_of(*SHORT, *words, "distillation=logits_l2")["teacher_outputs"]  # another mode shares the logits
    assert (again["reused"], again["passes"], again["passes_saved"]) == (True, 0, 3 * images)
    assert again["key"] == record["key"]
    page = (tmp_path / "run2" / "report.html").read_text()
    assert f"were in the store: {3 * images:,} images did not pass through the teacher again." in page


def test_without_augmentation_cache_equals_online(result_of: RunIt, tmp_path: Path) -> None:
    online = result_of(*SHORT)
    kept = result_of(*SHORT, "teacher_outputs=cache")
    assert online["teacher_outputs"] == {"source": "online"}
    assert equal(student(tmp_path / "run0"), student(tmp_path / "run1"))
    assert online["fingerprint"] != kept["fingerprint"]


@pytest.mark.slow
def test_the_first_view_is_that_of_the_first_epoch(result_of: RunIt, tmp_path: Path) -> None:
    result_of(*AUGMENTED, "baseline=false")
    result_of(*AUGMENTED, "baseline=false", "teacher_outputs=views:1")
    assert equal(student(tmp_path / "run0"), student(tmp_path / "run1"))


@pytest.mark.slow
def test_float16_is_within_rounding(result_of: RunIt, tmp_path: Path) -> None:
    exact = result_of(*SHORT, "teacher_outputs=cache")
    rounded = result_of(*SHORT, "teacher_outputs=cache", "teacher_outputs_dtype=float16")
    assert not equal(student(tmp_path / "run0"), student(tmp_path / "run1"))
    assert rounded["student"]["nll"] == pytest.approx(exact["student"]["nll"], rel=2e-3)
    assert rounded["teacher_outputs"]["bytes"] < 0.6 * exact["teacher_outputs"]["bytes"]


@pytest.mark.slow
def test_a_part_of_the_images_and_several_teachers(result_of: RunIt, tmp_path: Path) -> None:
    words = (*SHORT, "student.fraction=0.3", "+teacher@teachers.second=mlp")
    result_of(*words)
    kept = result_of(*words, "teacher_outputs=cache")
    assert equal(student(tmp_path / "run0"), student(tmp_path / "run1"))
    assert kept["teacher_outputs"]["passes"] == kept["data"]["student"] < kept["data"]["train"]


def test_an_interrupted_run_goes_on_to_the_same_bits(
    settings: Callable[..., Settings], result_of: RunIt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*SHORT, *AUGMENTED, "teacher_outputs=views:2")
    result_of(*words)
    folder = tmp_path / "cut"
    losses = Distiller.losses

    def stopping(self: Distiller, *arguments: Any) -> Any:
        if self.epoch == 2:
            raise KeyboardInterrupt
        return losses(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Distiller, "losses", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(settings(*words), folder, words)
    resumed = run(settings(*words, f"resume={folder}"), folder, words)
    assert equal(student(tmp_path / "run0"), student(folder))
    assert resumed["teacher_outputs"]["reused"]


@pytest.mark.slow
def test_a_run_that_is_cut_off_after_the_student_says_the_same_of_its_logits(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*SHORT, "teacher_outputs=cache", "finetune.epochs=1")
    undisturbed = run(settings(*words, f"store={tmp_path / 'other'}"), tmp_path / "whole", words)
    folder = tmp_path / "cut"

    def stop(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("kd_runner.runs.stages.stage_runner.train_on_labels", stop)  # finetuning alone, here
        with pytest.raises(KeyboardInterrupt):
            run(settings(*words), folder, words)
    cut = json.loads((folder / "result.json").read_text())
    resumed = run(settings(*words, f"resume={folder}"), folder, words)
    assert resumed["teacher_outputs"] == undisturbed["teacher_outputs"]
    assert (resumed["teacher_outputs"]["source"], resumed["teacher_outputs"]["reused"]) == ("cache", False)
    assert equal(student(folder), student(tmp_path / "whole"))
    assert resumed["seconds"]["teacher"] >= cut["seconds"]["teacher"]  # which had ended
    assert not (folder / "unfinished").exists()


@pytest.mark.slow
def test_broken_logits_are_computed_anew_with_the_same_result(result_of: RunIt, tmp_path: Path) -> None:
    first = result_of(*SHORT, "teacher_outputs=cache")
    path = tmp_path / "store" / first["teacher_outputs"]["key"] / LOGITS
    content = bytearray(path.read_bytes())
    content[-1] ^= 64
    path.write_bytes(content)
    assert not result_of(*SHORT, "teacher_outputs=cache")["teacher_outputs"]["reused"]
    assert equal(student(tmp_path / "run0"), student(tmp_path / "run1"))


def key_for(settings: Settings, change: Callable[[torch.nn.Module], None] = lambda _: None) -> str:
    parts = assemble(settings)
    change(parts.teacher)
    return key_of(ingredients(parts.teacher, settings, parts.data, parts.recipes["student"], settings.batch_size))


@pytest.mark.slow
def test_whatever_decides_the_logits_gives_another_key(settings: Callable[..., Settings]) -> None:
    words = ("teacher_outputs=cache",)
    first = key_for(settings(*words))
    for same in ("student=mlp", "student.epochs=5", "distillation=dkd", "optimizer.lr=0.2", "store=elsewhere"):
        assert key_for(settings(*words, same)) == first

    def change_one_weight(network: torch.nn.Module) -> None:
        with torch.no_grad():
            next(network.parameters()).view(-1)[0] += 1

    def change_a_statistic(network: torch.nn.Module) -> None:
        next(network.buffers())[0] += 1

    others = [key_for(settings(*words), change) for change in (change_one_weight, change_a_statistic)]
    for other in (
        "seed=1",  # the teacher's weights
        "data_seed=1",
        "student.fraction=0.5",
        "dataset.mean=[0.1]",
        "dataset.crop_padding=1",
        "teacher_outputs=views:2",
        "teacher_outputs_dtype=float16",
        "batch_size=32",
        "trainer.precision=bf16-mixed",
        "trainer.channels_last=false",
        "trainer.deterministic=false",
        "trainer.compile=true",
    ):
        others.append(key_for(settings(*words, other)))
    assert len({first, *others}) == 1 + len(others)


def test_the_seed_decides_where_images_are_augmented(settings: Callable[..., Settings]) -> None:
    keys = set()
    for seed in (0, 1):
        made = settings("teacher_outputs=views:2", "dataset.flip=true", f"seed={seed}")
        parts = assemble(made)
        network = torch.nn.Linear(2, 2)
        torch.nn.init.ones_(network.weight), torch.nn.init.ones_(network.bias)
        keys.add(key_of(ingredients(network, made, parts.data, parts.recipes["student"], 64)))
    assert len(keys) == 2


def test_the_digest_of_weights_knows_names_types_and_every_byte() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    first = weights_digest(network)
    assert weights_digest(copy.deepcopy(network)) == first
    assert weights_digest(copy.deepcopy(network).double()) != first
    assert weights_digest(torch.nn.Sequential(torch.nn.Identity(), *network)) != first
    network[1].running_mean[1] += 1
    assert weights_digest(network) != first


def test_the_teacher_runs_where_no_mode_looks_at_it(settings: Callable[..., Settings]) -> None:
    for words, kind in (((), CachedTeacher), (("distillation=label_smoothing",), OnlineTeacher)):
        parts = assemble(settings("teacher_outputs=cache", *words))
        assert type(parts.distiller(parts.teacher_student_pair()).teacher) is kind


def test_the_magnitude_of_no_operations_is_no_augmentation(settings: Callable[..., Settings]) -> None:
    assert not is_augmented(assemble(settings("dataset.rand_augment_magnitude=3")).data.view.augmentation)
    for word in ("flip=true", "cutout=2", "random_erasing=0.5", "mixup=1", "rand_augment=1"):
        assert is_augmented(assemble(settings(f"dataset.{word}")).data.view.augmentation)


def test_the_baseline_replays_the_views_that_the_student_does(settings: Callable[..., Settings]) -> None:
    words = (*AUGMENTED, "student.epochs=4", "teacher_outputs=views:2")
    parts = assemble(settings(*words))
    for role in ("student", "finetune"):
        assert parts.data.training_batches(role, parts.recipes["student"]).views == 2
    assert parts.data.training_batches("teacher", parts.recipes["teacher"]).views is None
    from kd_runner.runs.stages.labels_only import ingredients as of_network

    def views(*more: str) -> list[Any]:
        made = assemble(settings(*words, *more))
        return [of_network(made.labels_only(s), made.settings, made.data).get("views") for s in ("teacher", "baseline")]

    assert views() == [None, 2]
    assert views("teacher_outputs=views:4") == [None, None]  # as if each epoch drew a view
    assert views("teacher_outputs=online") == [None, None]


def test_hidden_values_are_not_written_into_the_store(result_of: RunIt, tmp_path: Path) -> None:
    from kd_runner import redaction

    redaction.hide({}, ["dataset.flip"])
    result = result_of("baseline=false", "dataset.flip=true", "teacher_outputs=views:1")
    made_of = json.loads((tmp_path / "store" / result["teacher_outputs"]["key"] / "made_of.json").read_text())
    assert made_of["augmentation"]["flip"] == redaction.MASK
    assert result_of("baseline=false", "dataset.flip=true", "teacher_outputs=views:1")["teacher_outputs"]["reused"]
