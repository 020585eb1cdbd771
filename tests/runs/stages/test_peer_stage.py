"""Runs whose students learn from one another."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from image_folders import noisy_folder

from kd_runner.config.settings import Settings, check
from kd_runner.deploy.card import model_card
from kd_runner.deploy.hub_folder import card_sources
from kd_runner.files import result_schema, tolerant_json
from kd_runner.input_pipeline import batches
from kd_runner.input_pipeline.sources import FileSource, Loader
from kd_runner.interface.result import RunResult
from kd_runner.networks.checkpoints import load
from kd_runner.reports.run_page import read_folder, run_page
from kd_runner.runs.assembly import assemble
from kd_runner.runs.run import run
from kd_runner.training.classifier import Classifier

SMALL = ("student=mlp", "student.hidden=[6]", "distillation=dml", "student.epochs=2")
PEERS = ("+student@peers.wide=mlp", "peers.wide.hidden=[12]", "+peers.wide.optimizer={lr: 0.02}", "+peers.same={}")
STAGES = ("peers.wide", "peers.same")


def test_peers_take_from_the_student_what_they_lack(settings: Callable[..., Settings]) -> None:
    made = settings(*SMALL, *PEERS, "student.steps=7", "early_stopping.metric=val_loss")
    wide, same = made.peer_students.values()
    assert tuple(made.peer_students) == STAGES
    assert (wide.node["hidden"], same.node["hidden"]) == ([12], [6])
    assert (wide.epochs, wide.steps, same.steps) == (2, 7, 7)
    assert (made.rate_key("peers.wide"), made.rate_key("peers.same")) == ("peers.wide.optimizer.lr", "optimizer.lr")
    assert (made.peer_views, made.peer_updates, made.all_teachers) == ("shared", "in_turn", {})
    counted = made.model_copy(update={"peers": check({**made.plain(), "peers": 3}).peers})
    first, second = (link.network.state_dict() for link in assemble(counted).peers)
    assert not any(torch.equal(value, second[name]) for name, value in first.items() if "weight" in name)


def test_what_peers_do_is_in_the_fingerprint_of_their_runs_alone(settings: Callable[..., Settings]) -> None:
    plain = settings(*SMALL, "peers=1", "distillation=soft").plain()

    def decisive(**changes: Any) -> dict[str, Any]:
        return check({**plain, **changes}).decisive()

    assert decisive(peer_views="own", peer_updates="together") == decisive()
    with_peers = decisive(peers=2)
    other_teacher = {**plain["teacher"], "epochs": 3}
    assert decisive(peers=2, teacher=other_teacher) == with_peers
    assert decisive(teacher=other_teacher) != decisive()
    for changes in ({"peers": 3}, {"peers": 2, "peer_views": "own"}, {"peers": 2, "peer_updates": "together"}):
        assert decisive(**changes) != with_peers


def test_a_run_has_its_peers_in_result_files_and_report(result_of: Callable[..., dict[str, Any]]) -> None:
    result = result_of(*SMALL, *PEERS, "teacher=resnet", "peer_views=own")
    folder = Path(result["student"]["checkpoint"]).parent
    assert (result["teacher"], result["gap_closed"], result["seconds"]["teacher"]) == (None, None, None)
    check_networks(result, folder)
    check_budget(result)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", run_page(read_folder(folder))))
    assert re.search(r"Learning with 2 peers gave \S+ points over the baseline", text)
    assert re.search(r"stands beside peers\.wide \(\S+ %\) and peers\.same \(\S+ %\)", text)
    assert "without its peers on" in text
    assert "teacher has no effect: there is no teacher, peers learn from one another" in result["notes"]
    assert (
        tolerant_json.remove_misshapen(json.loads((folder / "result.json").read_text()), result_schema.RESULT)[1] == []
    )
    assert RunResult.of(folder).teacher is None
    assert "learned beside 2 other students (DML)" in model_card(card_sources(folder)[0])
    assert not (folder / "teacher.safetensors").exists()


def check_networks(result: dict[str, Any], folder: Path) -> None:
    """The numbers of the peers beside those of their files, computed again."""
    batch = next(iter(assemble(check(json.loads((folder / "settings.json").read_text()))).data.plain_batches("test")))
    names = {"student": "student_last", **{stage: stage for stage in STAGES}}
    with torch.inference_mode():
        logits = {stage: load(folder / f"{name}.safetensors")[0](batch.images) for stage, name in names.items()}
    classes = {stage: values.argmax(1) for stage, values in logits.items()}

    def share(right: torch.Tensor) -> Any:
        return pytest.approx(float(right.double().mean()))

    records = {peer["stage"]: peer for peer in result["peers"]["networks"]}
    assert tuple(records) == STAGES
    for stage, record in records.items():
        assert record["accuracy"] == share(classes[stage] == batch.labels)
        assert record["agreement"] == share(classes[stage] == classes["student"])
    mean = sum(values.softmax(1) for values in logits.values())
    assert isinstance(mean, torch.Tensor)
    assert result["peers"]["ensemble"]["networks"] == 3
    assert result["peers"]["ensemble"]["accuracy"] == share(mean.argmax(1) == batch.labels)
    assert records["peers.wide"]["parameters"] == 12 * 65 + 130


def check_budget(result: dict[str, Any]) -> None:
    """All students go once through each image and, updated in turn, all but the last once more."""
    images = 2 * (result["data"]["train"] - (result["data"]["train"] % 64 == 1))
    budget = result["budget"]
    sections = [budget["student"], *(budget["peers"][stage] for stage in STAGES)]
    assert [section["student_forwards"] for section in sections] == [2 * images, 2 * images, images]
    assert [section["student_backwards"] for section in sections] == [images] * 3
    assert [section["teacher_forwards"] for section in sections] == [0] * 3
    sums = [section["macs"]["sum"] for section in sections]
    assert budget["times_baseline"] == pytest.approx(sum(sums) / budget["baseline"]["macs"]["sum"])
    assert result["student"]["images_seen"] == 3 * images


@pytest.mark.slow
def test_peers_with_views_of_their_own_see_the_same_in_files_as_in_memory(
    result_of: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy_folder(tmp_path / "images", count=40)
    monkeypatch.setattr(batches, "CHUNK_BYTES", 1)  # many chunks in an epoch, as large images have
    loaders: list[int] = []
    new_loader = FileSource._new_loader

    def counted(self: FileSource, count: int) -> Loader:
        loaders.append(count)
        return new_loader(self, count)

    monkeypatch.setattr(FileSource, "_new_loader", counted)
    words = ("peers=3", "peer_views=own", "dataset=image_folder", f"dataset.root={tmp_path / 'images'}")
    words += ("dataset.image_size=8", "dataset.cache=null", "dataset.workers=1", "batch_size=4", "finetune.epochs=1")
    memory, streamed = (result_of(*SMALL, *words, f"dataset.residency={place}") for place in ("host", "stream"))
    assert loaders.count(4) == 3  # one for each student in all epochs; finetuning takes one of them
    assert streamed["student"]["nll"] == memory["student"]["nll"]
    assert streamed["peers"]["ensemble"] == memory["peers"]["ensemble"]


@pytest.mark.slow
def test_a_run_that_was_cut_off_ends_at_the_same_bits(
    settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    words = (*SMALL, *PEERS, "distillation=kdcl", "peer_updates=in_turn", "dataset.crop_padding=1")
    run(settings(*words), tmp_path / "whole")
    cut, end_of_epoch = settings(*words), Classifier.on_validation_epoch_end

    def killed(self: Classifier) -> None:
        if self.stage == "student" and self.epoch == 1:
            raise KeyboardInterrupt
        end_of_epoch(self)

    monkeypatch.setattr(Classifier, "on_validation_epoch_end", killed)
    with pytest.raises(KeyboardInterrupt):
        run(cut, tmp_path / "cut")
    monkeypatch.setattr(Classifier, "on_validation_epoch_end", end_of_epoch)
    caplog.set_level("INFO", "kd_runner")
    run(cut.model_copy(update={"resume": str(tmp_path / "cut")}), tmp_path / "cut")
    assert "student   goes on after epoch 1 of 2" in caplog.text
    for name in ("student_last", "student_best", *STAGES):
        states = [load(tmp_path / folder / f"{name}.safetensors")[0].state_dict() for folder in ("whole", "cut")]
        assert all(torch.equal(value, states[1][key]) for key, value in states[0].items()), name


@pytest.mark.slow
def test_any_mode_of_logits_finetuning_pruning_and_averages_go_with_peers(
    result_of: Callable[..., dict[str, Any]],
) -> None:
    words = ("student.ema=0.9", "trainer.accumulate_grad_batches=2", "dataset.mixup=0.2", "evaluate.corruptions=true")
    two_modes = ("distillation=dkd", "+distillation@plus.second=logit_discriminator")
    result = result_of(*SMALL, *two_modes, "peers=3", "finetune.epochs=1", "peer_updates=together", *words)
    assert len(result["peers"]["networks"]) == 2
    assert result["student"]["ema"]["accuracy"] > 0
    assert "agreement" not in result["student"]["corruptions"]
    again = result_of(*SMALL, "distillation=none", "peers=2", "student.pruning.amount=0.5")
    assert again["student"]["sparsity"] == pytest.approx(0.5, abs=0.02)
    for name in ("accuracy", "nll"):  # the student of a run whose peers say nothing to each other is its baseline
        assert again["student"][name] == again["baseline"][name]
    unlabelled = result_of(*SMALL, "peers=2", "student.fraction=0.2", "student.unlabelled_fraction=0.5")
    assert unlabelled["data"]["unlabelled"] > 0
