"""Where a run's event files are, what its jobs are called, and that nothing stands in them twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from kd_runner.files import atomic
from kd_runner.files.run_folder import GRID
from kd_runner.runs.run import run
from kd_runner.sweeps.folder import legend
from kd_runner.tracking import event_files
from kd_runner.training.callbacks import SaveResumeState


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["distillation=dkd", "temperature.value=4", "seed=0"], "3_dkd_T4_s0"),
        (["teacher.depth=56", "student.depth=20"], "3_teacher.depth=56_student.depth=20"),
        (["optimizer.lr=0.1", "+plus.at.weight=5"], "3_lr=0.1_weight=5"),
        (["student.hidden=[32, 64]", "dataset.root=~/a b"], "3_hidden=32,64_root=-ab"),
        ([], "3"),
    ],
)
def test_names_of_jobs(words: list[str], name: str) -> None:
    assert legend(3, words) == name


def test_long_names_are_cut() -> None:
    assert legend(3, ["seed=1"], digits=2) == "03_s1"
    assert len(legend(3, ["student.hidden=" + "1" * 300])) <= 80


def test_a_run_has_its_own_place_and_jobs_are_beside_each_other(tmp_path: Path) -> None:
    assert event_files.event_folder_of(tmp_path / "run") == tmp_path / "run" / "tensorboard"
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    atomic.write_json(sweep / GRID, {"jobs": ["a", "b"], "folders": ["0", "x/1"], "names": ["0_dkd", "1_soft"]})
    assert event_files.event_folder_of(sweep / "x" / "1") == sweep / "tensorboard" / "1_soft"
    assert event_files.event_folder_of(sweep / "networks" / "teacher_ab") == sweep / "tensorboard" / "teacher_ab"
    assert event_files.event_folder_of(sweep / "elsewhere") == sweep / "elsewhere" / "tensorboard"
    atomic.write_json(sweep / GRID, {"jobs": ["a"], "folders": ["0"]})  # an older version's
    assert event_files.event_folder_of(sweep / "0") == sweep / "0" / "tensorboard"


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_forgetting(tmp_path: Path) -> None:
    with SummaryWriter(tmp_path) as writer:
        for step in range(1, 4):
            writer.add_scalar("student/val_loss", step, step)
            writer.add_scalar("teacher/val_loss", step, step)
    (path,) = event_files.in_folder(tmp_path)
    path.write_bytes(path.read_bytes()[:-7])  # as a killed process leaves it
    event_files.remove_records([path], lambda tag, step: tag.startswith("student/") and step > 1)
    assert scalars(tmp_path) == {"student/val_loss": [(1, 1)], "teacher/val_loss": [(1, 1), (2, 2)]}


def test_a_run_that_goes_on_has_everything_once(
    settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("student.epochs=3", "student=tiny_mlp", "trainer.log_every=5", "tracking.embedding=true")
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    run(settings(*words), tmp_path / "whole")

    kept = SaveResumeState.on_train_epoch_end

    def broken(self: SaveResumeState, trainer: Any, module: Any) -> None:
        if module.stage == "student" and module.epoch == 1:  # what it logged is on the disk, its state is not
            trainer.logger.experiment.flush()
            raise RuntimeError("broken")
        kept(self, trainer, module)

    monkeypatch.setattr(SaveResumeState, "on_train_epoch_end", broken)
    with pytest.raises(RuntimeError, match="broken"):
        run(settings(*words, f"store={tmp_path / 'other'}"), tmp_path / "broken")
    monkeypatch.undo()
    before = scalars(tmp_path / "broken" / "tensorboard")
    assert [step for step, _ in before["student/val_loss"]] == [1, 2]
    assert "student/test_accuracy" not in before

    folder = tmp_path / "broken"
    run(settings(*words, f"store={tmp_path / 'other'}", f"resume={folder}"), folder)
    whole, mended = (scalars(tmp_path / name / "tensorboard") for name in ("whole", "broken"))
    timed = {tag for tag in whole if tag.endswith("images_per_second")}
    assert len(timed) == 3
    assert {tag: values for tag, values in mended.items() if tag not in timed} == {
        tag: values for tag, values in whole.items() if tag not in timed
    }
    assert set(mended) == set(whole)
    texts = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert len(texts.Tensors("run/command/text_summary")) == 1
    assert (folder / "tensorboard" / "projector_config.pbtxt").read_text().count("embeddings {") == 1
