"""A student that sees no training image."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from jobs import Job
from torch import Tensor, nn

from kd_runner.config.settings import Settings
from kd_runner.datasets.dafl import Generator
from kd_runner.datasets.deep_inversion import DeepInversion
from kd_runner.datasets.labels.unlabelled import TransferSet
from kd_runner.errors import SettingsError
from kd_runner.evaluation.macs import counted_macs, multiply_accumulates
from kd_runner.input_pipeline.sources import MemorySource
from kd_runner.reports import run_page
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.data import Data
from kd_runner.runs.results.making_cost import making_cost
from kd_runner.runs.stages.data_free import maker_of, source_of_images, with_transfer
from kd_runner.runs.stages.teacher_student import noise

Make = Callable[..., Settings]
RunIt = Callable[..., dict[str, Any]]
DAFL = ("data_free=dafl", "data_free.images=70", "data_free.steps=4", "data_free.batch_size=20", "data_free.width=4")
INVERSION = ("data_free=deep_inversion", "data_free.images=70", "data_free.steps=3", "data_free.batch_size=40")
ALONE = ("baseline=false", "student=tiny_mlp", "trainer.accelerator=cpu")


@pytest.mark.parametrize("words", [DAFL, INVERSION], ids=["dafl", "deep inversion"])
def test_a_student_is_taught_on_made_images_and_asks_for_no_training_image(
    result_of: RunIt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Its teacher is in the store by then, so that nobody has a reason to ask for one."""
    first = result_of(*words, *ALONE)
    asked: list[str] = []
    read, source = MemorySource.read_chunks, Data.source
    names: dict[int, str] = {}

    def named(self: Data, split: Any) -> Any:
        found = source(self, split)
        names[id(found)] = split
        return found

    def noted(self: MemorySource, order: Tensor, count: int, *windows: Any) -> Iterator[Any]:
        asked.append(names[id(self)])
        return read(self, order, count, *windows)

    monkeypatch.setattr(Data, "source", named)
    monkeypatch.setattr(MemorySource, "read_chunks", noted)
    result = result_of(*words, *ALONE)
    assert set(asked) == {"transfer", "val", "test"}
    assert result["student"]["nll"] == first["student"]["nll"]
    assert (result["student"]["images_seen"], result["data"]["made"]) == (70, 70)
    assert [run["student"]["made_images"]["reused"] for run in (first, result)] == [False, True]
    assert "on_training_images" not in result["teacher"]
    folder = tmp_path / "run1"
    targets = json.loads((folder / "analysis.json").read_text())["soft_targets"]
    assert targets["made"] is True
    assert {example["label"] for example in targets["examples"]} == {None}
    page = run_page.run_page(run_page.read_folder(folder))
    method = "DAFL" if words is DAFL else "DeepInversion"
    assert f"it was taught on 70 images that were made from its teacher by {method}. The validation" in page
    assert "the most probable classes of images that were made from it" in page
    assert page.count("image that was made") == len(targets["examples"])


@pytest.mark.slow
def test_cached_logits_of_made_images_give_the_same_bits(result_of: RunIt) -> None:
    online, cached = (result_of(*DAFL, *ALONE, f"teacher_outputs={source}") for source in ("online", "cache"))
    assert online["student"]["nll"] == cached["student"]["nll"]
    assert cached["teacher_outputs"]["passes"] == 70


def test_the_maker_and_its_settings_are_part_of_the_fingerprint(settings: Make) -> None:
    words: list[tuple[str, ...]] = [(), DAFL, INVERSION, (*DAFL, "data_free.lr=0.1"), (*DAFL, "data_free.images=71")]
    assert len({assemble(settings(*these)).fingerprint() for these in words}) == 5
    data = assemble(settings(*DAFL)).data
    assert len(data.images_of("student")) == 70
    assert len(data.images_of("baseline")) == 1132
    assert bool((data.taught_images.labels == torch.full((70,), -1)).all())


@pytest.mark.parametrize(("words", "message"), [
    ((*DAFL, "distillation=dkd"), "distillation: must be a mode that looks at no labels where images have none (data_"),
    ((*DAFL, "finetune.epochs=2"), "finetune.epochs: must be 0 with data_free, as it learns from training images"),
    ((*DAFL, "student.unlabelled_fraction=1"), "student.unlabelled_fraction: must be 0 with data_free"),
    ((*DAFL, "data_free.images=1"), "data_free.images must be 2 or more, got 1"),
    ((*INVERSION, "teacher=mlp"), "data_free: must be a method that needs no batch norms, such as dafl"),
])  # fmt: skip
def test_what_needs_training_images_is_refused(settings: Make, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        rehearse(assemble(settings(*words)))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    ["generations=2", "assistants=[{hidden: [8]}]"],
)
def test_a_command_with_networks_in_between_ends_before_anything_trains(tmp_path: Path, words: str) -> None:
    """They would be trained on the zeros that stand where the images will be."""
    command = Job(tmp_path, *DAFL, "baseline=false", "student=mlp", words, "teacher.epochs=1", "store=here")
    assert command.wait() == 2
    (line,) = command.text("err").splitlines()
    assert "with data_free, which makes images from one teacher for one student, got" in line
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize(("words", "message"), [
    (("generations=2",), "generations: must be 1 with data_free, which makes images from one teacher for one student, "
     "got 2"),
    (("student=mlp", "assistants=[{hidden: [8]}]"), "assistants: must be none with data_free, which makes images from "
     "one teacher for one student, got 1"),
])  # fmt: skip
def test_networks_in_between_are_refused_before_anything_is_built(
    settings: Make, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        assemble(settings(*DAFL, *words))


def test_nobody_learns_from_images_that_are_yet_to_be_made(settings: Make) -> None:
    parts = assemble(settings(*DAFL, *ALONE))
    with pytest.raises(AssertionError, match="images are made before they are learned from"):
        parts.distiller(parts.teacher_student_pair())
    made = with_transfer(parts.data, TransferSet(parts.data.taught_images, torch.arange(70), 70, is_made=True))
    assert len(made.training_batches("student", parts.recipes["student"], taught=True)) == 1


@pytest.mark.parametrize(
    "words", [DAFL, (*DAFL, "data_free.kept_from=0.75"), INVERSION], ids=["few kept", "many kept", "deep inversion"]
)
def test_the_student_pays_for_the_images_that_are_made_for_it(settings: Make, words: tuple[str, ...]) -> None:
    """The passes as hooks count them while the images are made, and the products of matrices of all of them."""
    parts = assemble(settings(*words, *ALONE))
    maker = maker_of(parts.settings)
    assert maker is not None
    source = source_of_images(parts)
    teacher = multiply_accumulates(parts.teacher, noise(parts.data.splits.image_shape)[:1])
    seen: Counter[str] = Counter()

    def count(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        name = "generator" if isinstance(module, Generator) else "teacher" if module is parts.teacher else ""
        seen[name] += len(inputs[0]) if name else 0

    with nn.modules.module.register_module_forward_hook(count), counted_macs() as macs:
        maker(source)
    passes, total = making_cost(parts, teacher)
    assert passes is not None
    assert total is not None
    assert (passes["teacher_passes"], passes.get("generator_forwards", 0)) == (seen["teacher"], seen["generator"])
    assert passes["teacher_passes"] == (80 if words[0] == DAFL[0] else 210)
    assert macs() <= total < 1.01 * macs()  # the generator's first layer needs no gradient of its input


def test_a_maker_that_does_not_say_its_cost_leaves_the_budget_open(
    settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = assemble(settings(*INVERSION, *ALONE))
    monkeypatch.delattr(DeepInversion, "cost")
    assert making_cost(parts, 1000) == (None, None)


@pytest.mark.parametrize("cost", [3.0, lambda shape: 7, lambda: None], ids=["number", "other result", "no argument"])
def test_a_maker_of_ones_own_with_another_cost_ends_no_run(
    settings: Make, monkeypatch: pytest.MonkeyPatch, cost: object
) -> None:
    parts = assemble(settings(*INVERSION, *ALONE))
    monkeypatch.setattr(DeepInversion, "cost", cost)
    assert making_cost(parts, 1000) == (None, None)
