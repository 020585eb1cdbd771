"""Networks between teacher and student: assistants and earlier generations."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import kd_runner
from kd_runner.config.settings import Settings, check
from kd_runner.datasets.digits import digits
from kd_runner.datasets.splits import Splits
from kd_runner.errors import SettingsError
from kd_runner.networks.checkpoints import load
from kd_runner.reports.summary import sentences
from kd_runner.runs import assembly
from kd_runner.runs.assembly import assemble
from kd_runner.runs.run import run
from kd_runner.runs.stages.chain import ingredients_of_link, untrained_parts
from kd_runner.store.entries import key_of
from kd_runner.training.classifier import Classifier

SMALL = ("teacher=mlp", "teacher.hidden=[12]", "student=mlp", "student.hidden=[6]", "student.epochs=2")
CHAIN = ("assistants=[{hidden: [8], epochs: 1}]", "generations=2")


def test_links_take_from_the_student_what_they_lack(settings: Callable[..., Settings]) -> None:
    chain = settings(*SMALL, *CHAIN, "student.pruning.amount=0.5", "student.layers=['1']").chain
    assert list(chain) == ["assistants.1", "generations.1"]
    assistant, generation = chain.values()
    assert assistant.node == {"_target_": "kd_runner.models.mlp.mlp", "hidden": [8], "dropout": None}
    assert (assistant.epochs, assistant.layers, generation.epochs, generation.layers) == (1, [], 2, ["1"])
    assert generation.pruning.amount == 0.0  # the last generation alone is pruned
    named = settings(*SMALL, "+student@assistants.cnn=small_cnn", "student.fraction=0.5").chain["assistants.cnn"]
    assert "hidden" not in named.node or named.node["hidden"] != [6]
    assert (named.target, named.epochs, named.fraction) == ("kd_runner.models.plain_cnn.plain_cnn", 2, 0.5)


CNN = "+student@assistants.cnn=small_cnn"


@pytest.mark.parametrize(("words", "length"), [
    ((CNN,), (4, 30)),
    ((CNN, "+assistants.cnn.epochs=3"), (3, None)),
    ((CNN, "+assistants.cnn.steps=12"), (4, 12)),
    (("assistants=[{hidden: [8]}]",), (4, 30)),
    (("assistants=[{hidden: [8], epochs: 3}]",), (3, None)),
    (("assistants=[{hidden: [8], epochs: 3, steps: 12}]",), (3, 12)),
])  # fmt: skip
def test_an_assistant_trains_for_the_steps_of_the_student_unless_its_length_is_its_own(
    settings: Callable[..., Settings], words: tuple[str, ...], length: tuple[int, int | None]
) -> None:
    made = settings(*SMALL, "student.steps=30", "student.epochs=4", *words)
    (assistant,) = made.chain.values()
    assert (assistant.epochs, assistant.steps) == length
    parts = assemble(made)
    (link,) = parts.chain
    assert (link.recipe.epochs, link.recipe.steps) == length
    # Where earlier versions trained it for another length, the run has another name.
    assert bool(parts.corrections) == (words in {(CNN,), ("assistants=[{hidden: [8], epochs: 3}]",)})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("generations=0",), "generations: must be greater than or equal to 1, got 0"),
        (
            ("generations=3", "distillation=label_smoothing"),
            "generations: must be 1 with modes that look at no teacher, got 3",
        ),
        (
            (*CHAIN, "student.init=inject"),
            "student.init: must be random with assistants, whose students begin with weights of their own, got inject",
        ),
        (("assistants=[{hiden: [8]}]",), "assistants.1.hiden: no such setting (did you mean hidden?)"),
        (("assistants=[{epochs: 0}]",), "assistants.1.epochs: must be greater than or equal to 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    settings: Callable[..., Settings], words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        assemble(settings(*SMALL, *words))


def first_link(made: Settings, splits: Splits) -> dict[str, Any]:
    """The ingredients of the first link of a run's chain, before its teacher has learned."""
    parts = next(untrained_parts(assemble(made, splits)))
    return ingredients_of_link(parts, parts.teacher_student_pair())


def test_a_link_is_another_one_where_the_images_that_it_is_taught_on_are_others(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    splits, words = digits(0), (*SMALL, "generations=2", "student.fraction=0.2")
    hidden = [first_link(settings(*words, f"student.unlabelled_fraction={share}"), splits) for share in (0, 0.5, 1)]
    folder = tmp_path / "more"
    folder.mkdir()
    for number in range(2):
        Image.new("L", (8, 8), 40 * number).save(folder / f"{number}.png")
        hidden.append(first_link(settings(*words, f"dataset.unlabelled={folder}"), splits))
    assert len({key_of(made_of) for made_of in hidden}) == 5
    assert "transfer" not in hidden[0]  # so that networks in stores of earlier versions are found
    others = [{name: value for name, value in made_of.items() if name != "transfer"} for made_of in hidden]
    assert all(other == others[0] for other in others)
    stopping = first_link(settings(*words, "student.early_stopping={metric: val_agreement}"), splits)
    assert stopping["validation"] == splits.val_fingerprint
    assert "validation" not in hidden[0]


@pytest.mark.slow
def test_what_is_said_of_a_reused_link_is_about_the_images_of_the_run(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings(*SMALL, "generations=2", "student.fraction=0.2", "student.unlabelled_fraction=0.5")
    first = run(made, tmp_path / "first")
    splits = digits(0)
    wrong = (splits.val.labels + 1) % 10
    monkeypatch.setattr(assembly, "read_data", lambda _: replace(splits, val=replace(splits.val, labels=wrong)))
    second = run(made, tmp_path / "second")
    links = [result["chain"]["links"][0] for result in (first, second)]
    assert [link["reused"] for link in links] == [False, True]
    noted = [[note.split(" are of the validation images")[0] for note in result["notes"]] for result in (first, second)]
    curves = {f"the curves of the {stage}" for stage in ("teacher", "baseline", "generations.1")}
    assert not curves & set(noted[0])
    assert curves <= set(noted[1])
    taught = first["data"]["student"] + first["data"]["unlabelled"]
    assert {link["images_seen"] for link in links} == {2 * (taught - (taught % 64 == 1))}
    assert links[0]["images_seen"] == first["budget"]["chain"]["generations.1"]["images"]
    images = next(iter(assemble(made).data.plain_batches("val"))).images
    with torch.inference_mode():
        classes = load(tmp_path / "first" / "generations.1.safetensors")[0](images).argmax(1)
    shares = [float((classes == labels).double().mean()) for labels in (splits.val.labels, wrong)]
    assert shares[0] != shares[1]
    assert [link["val_accuracy"] for link in links] == pytest.approx(shares)


@pytest.mark.slow
def test_each_link_learns_from_the_one_before_and_goes_on_to_the_bit_where_it_was_cut_off(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = run(settings(*SMALL, *CHAIN), tmp_path / "whole")
    check_chain(whole, tmp_path / "whole")
    cut = settings(*SMALL, *CHAIN, f"store={tmp_path / 'other'}")
    end_of_epoch = Classifier.on_validation_epoch_end

    def killed(self: Classifier) -> None:
        if self.stage == "generations.1" and self.epoch == 1:
            raise KeyboardInterrupt
        end_of_epoch(self)

    monkeypatch.setattr(Classifier, "on_validation_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        run(cut, tmp_path / "cut")
    monkeypatch.setattr(Classifier, "on_validation_epoch_end", end_of_epoch)
    caplog.set_level("INFO", "kd_runner")
    caplog.clear()
    resumed = run(cut.model_copy(update={"resume": str(tmp_path / "cut")}), tmp_path / "cut")
    assert "generations.1 goes on after epoch 1 of 2" in caplog.text
    assert [link["reused"] for link in resumed["chain"]["links"]] == [True, False]
    for name in ("assistants.1.safetensors", "generations.1.safetensors", "student_last.safetensors"):
        states = [kd_runner.load(tmp_path / folder / name)[0].state_dict() for folder in ("whole", "cut")]
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    harder = run(settings(*SMALL, *CHAIN, "temperature.value=2"), tmp_path / "harder")
    assert [link["reused"] for link in harder["chain"]["links"]] == [False, False]  # another distillation


def check_chain(result: dict[str, Any], folder: Path) -> None:
    """The numbers of a chain beside those of its files, computed again."""
    first, second = result["chain"]["links"]
    assert [(link["stage"], link["taught_by"]) for link in (first, second)] == [
        ("assistants.1", "teacher"),
        ("generations.1", "assistants.1"),
    ]
    assert (first["parameters"], second["parameters"]) == (8 * 65 + 90, result["student"]["parameters"])
    parts = assemble(check(read_settings(folder)))
    batch = next(iter(parts.data.plain_batches("test")))
    names = ("teacher", "assistants.1", "generations.1", "student_last")
    with torch.inference_mode():
        logits = {name: load(folder / f"{name}.safetensors")[0](batch.images) for name in names}
    classes = {name: values.argmax(1) for name, values in logits.items()}
    for link, teacher in ((first, "teacher"), (second, "assistants.1")):
        agreement = (classes[link["stage"]] == classes[teacher]).double().mean()
        assert link["agreement"] == pytest.approx(float(agreement))
        assert link["accuracy"] == pytest.approx(float((classes[link["stage"]] == batch.labels).double().mean()))
    mean = logits["generations.1"].softmax(1) + logits["student_last"].softmax(1)
    expected = float((mean.argmax(1) == batch.labels).double().mean())
    assert result["chain"]["ensemble"]["accuracy"] == pytest.approx(expected, abs=1e-3)
    images = result["data"]["train"] - (result["data"]["train"] % 64 == 1)
    assert [link["images_seen"] for link in (first, second)] == [images, 2 * images]
    assert result["student"]["images_seen"] == 5 * images
    budget = result["budget"]
    forwards = [section["student_forwards"] for section in (*budget["chain"].values(), budget["student"])]
    assert forwards == [images, 2 * images, 2 * images]
    sums = [section["macs"]["sum"] for section in (*budget["chain"].values(), budget["student"])]
    assert budget["times_baseline"] == pytest.approx(sum(sums) / budget["baseline"]["macs"]["sum"])
    of_generation = budget["chain"]["generations.1"]
    assert of_generation["macs"]["teacher"] == first["macs"] * of_generation["teacher_forwards"]
    text = " ".join(sentences(result, 0))
    assert re.search(r"The teacher \(\S+ %\) taught assistants\.1 \(\S+ %\), which taught generations\.1 \(", text)
    assert "The mean of the predictions of all 2 generations is right on" in text


@pytest.mark.slow
def test_the_temperature_that_the_student_learned_is_the_one_that_is_reported(
    settings: Callable[..., Settings], tmp_path: Path
) -> None:
    """A link before the student learns one of its own, from the same first value."""
    words = ("temperature=learned", "optimizer=sgd", "optimizer.lr=0.5", "scheduler=constant", "student.fraction=0.2")
    result = run(settings(*SMALL, *words, "generations=2", "baseline=false"), tmp_path / "run")
    analysed = json.loads((tmp_path / "run" / "analysis.json").read_text())
    learned = analysed["epochs"]["student"]
    reported = result["teacher"]["on_training_images"]["temperature"]
    assert analysed["soft_targets"]["temperature"] == reported
    assert reported == pytest.approx(learned[-1]["temperature"])
    assert abs(reported - 15.621) > 0.1  # the temperature at the first value


def read_settings(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "settings.json").read_text())
    return content


def test_a_run_that_goes_on_counts_the_seconds_of_links_that_were_finished(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*SMALL, "generations=2", "baseline=false")
    folder = tmp_path / "cut"
    losses = Classifier.validation_step

    def stopping(self: Classifier, *arguments: Any) -> Any:
        if self.stage == "student":
            raise KeyboardInterrupt
        return losses(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "validation_step", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(settings(*words), folder, words)
    spent = json.loads((folder / "unfinished" / "seconds.json").read_text())["networks"]["generations.1"]
    spent += 100  # so that no clock decides
    (folder / "unfinished" / "seconds.json").write_text(json.dumps({"networks": {"generations.1": spent}}))
    resumed = run(settings(*words, f"resume={folder}"), folder, words)
    assert spent <= resumed["chain"]["links"][0]["seconds"] + 1e-3
    assert resumed["chain"]["links"][0]["seconds"] <= resumed["seconds"]["student"]
