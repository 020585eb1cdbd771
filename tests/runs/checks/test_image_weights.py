"""Weights of the images of a manifest: each has its own in every batch of every stage; what cannot be is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from manifests import labelled_images, write_manifest

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.networks.observed import Observed
from kd_runner.notes import collected_notes
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.stages.labels_only import ingredients
from kd_runner.store.entries import key_of
from kd_runner.training.classifier import Classifier

Make = Callable[..., Settings]


@pytest.fixture
def words(tmp_path: Path) -> Callable[..., list[str]]:
    """The words for a manifest whose image N has the weight 1 + N, made of rows that a function may change."""

    def make(change: Callable[[int, list[object]], list[object]] = lambda _, row: row) -> list[str]:
        rows = [
            change(number, [*row, 1 + number, "test" if number > 20 else "train"])
            for number, row in enumerate(labelled_images(tmp_path))
        ]
        file = write_manifest(tmp_path / "m.csv", rows, ("path", "label", "weight", "split"))
        small = ("dataset.image_size=6", "dataset.cache=null", "student=tiny_mlp", "teacher=mlp", "batch_size=4")
        return ["dataset=manifest", f"dataset.root={file}", *small, "trainer.accelerator=cpu"]

    return make


@pytest.mark.parametrize(("role", "mixing"), [("teacher", ""), ("student", "dataset.mixup=1.0")])
def test_each_image_has_its_weight_in_every_epoch(
    settings: Make, words: Callable[..., list[str]], role: str, mixing: str
) -> None:
    parts = assemble(settings(*words(), "student.fraction=0.6", *filter(None, [mixing])))
    data = parts.data
    assert data.splits.survey is not None
    numbers = [int(Path(path).stem) for path in data.splits.survey.files["train"].paths]
    learned = torch.tensor(numbers) if role == "teacher" or data.chosen is None else torch.tensor(numbers)[data.chosen]
    wanted = (1 + learned).double()
    wanted = (wanted / wanted.mean()).float()
    batches = data.training_batches(role, parts.recipes[role])
    module = Classifier(role, Observed(parts.student), batches, parts.recipes[role])
    for epoch in (0, 3):
        batches.epoch = epoch
        for batch in batches.batches():
            assert batch.weights is not None
            assert torch.equal(batch.weights, wanted[batch.indices])
            with torch.no_grad():
                logits = module.network_outputs(batch.images).logits
                losses = F.cross_entropy(logits, batch.labels, reduction="none") * batch.weights
                if mixing:
                    assert torch.equal(batch.partner_weights, batch.weights.roll(1))
                    others = F.cross_entropy(logits, batch.labels.roll(1), reduction="none") * batch.weights.roll(1)
                    losses = batch.share * losses + (1 - batch.share) * others
                assert float(module.losses(batch, 0.0)[0]["loss"]) == pytest.approx(float(losses.mean()), rel=1e-5)


@pytest.mark.slow  # four runs are put together
def test_weights_are_part_of_what_a_network_is_made_of_but_not_their_scale(
    settings: Make, words: Callable[..., list[str]]
) -> None:
    def key(change: Callable[[int, list[object]], list[object]]) -> str:
        parts = assemble(settings(*words(change)))
        return key_of(ingredients(parts.labels_only("teacher"), parts.settings, parts.data))

    def more_for_image_23(number: int, row: list[object]) -> list[object]:
        return [*row[:2], 1000 if number == 23 else row[2], row[3]]

    plain, weighted = key(lambda _, row: [*row[:2], 1, row[3]]), key(lambda _, row: row)
    assert plain != weighted
    assert key(lambda _, row: [*row[:2], 3, row[3]]) == plain  # all alike
    assert key(more_for_image_23) == weighted


def test_weights_that_no_stage_could_use_are_refused(settings: Make, words: Callable[..., list[str]]) -> None:
    with pytest.raises(SettingsError, match=r"^teacher.head: must be trained where images have weights, .*got probe$"):
        assemble(settings(*words(), "teacher.head=probe"))

    def half_weigh_nothing(number: int, row: list[object]) -> list[object]:
        return [*row[:2], number % 2, row[3]]

    with pytest.raises(
        SettingsError, match=r"^dataset.weight: must be above 0 for one of the \d+ images that the stud"
    ):
        assemble(settings(*words(half_weigh_nothing), "student.without_classes=[b]"))
    with pytest.raises(
        SettingsError, match=r"^dataset.class_weights: .*labels count for the student, got 0 for all .*a"
    ):
        assemble(settings(*words(half_weigh_nothing), "dataset.class_weights=[1,0]"))


def a_third_without(number: int, row: list[object]) -> list[object]:
    return [row[0], "", 1, "train"] if number % 3 == 0 and number < 21 else row


def test_images_without_labels_go_to_the_student_alone(settings: Make, words: Callable[..., list[str]]) -> None:
    asked = words(a_third_without)
    parts = assemble(settings(*asked))
    rehearse(parts)
    data = parts.data
    assert data.transfer is not None
    assert (data.transfer.unlabelled_count, len(data.transfer.images), len(data.student_images)) == (7, 19, 12)
    taught = data.training_batches("student", parts.recipes["student"], taught=True)
    weights = torch.cat([batch.weights[batch.labels >= 0] for batch in taught.batches() if batch.weights is not None])
    assert float(weights.mean()) == pytest.approx(1, abs=0.2)  # a last batch of one image is left out


@pytest.mark.slow  # three runs are put together
def test_images_without_labels_are_refused_or_left_out_where_none_can_use_them(
    settings: Make, words: Callable[..., list[str]]
) -> None:
    asked = words(a_third_without)
    with pytest.raises(SettingsError, match=r"have none \(dataset.on_empty_label=unlabelled\), such as soft, got DKD$"):
        rehearse(assemble(settings(*asked, "distillation=dkd")))
    left_out = assemble(settings(*asked, "dataset.on_empty_label=skip"))
    assert (left_out.data.transfer, len(left_out.data.splits.train)) == (None, 12)
    with collected_notes() as notes:
        assemble(settings(*asked, "data_free=deep_inversion", "data_free.images=8"))
    assert "7 images without a label not used, as data_free makes its own" in notes
