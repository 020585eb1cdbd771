"""The log of a run: every record once, whether the run was interrupted or reused networks of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from logged_scalars import scalars
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kd_runner.runs.run import run
from kd_runner.training.callbacks import SaveResumeState


def test_a_run_that_goes_on_has_everything_once(
    settings: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("student.epochs=3", "student=tiny_mlp", "trainer.log_every=5", "tracking.embedding=true")
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    run(settings(*words), tmp_path / "whole")

    save = SaveResumeState.on_train_epoch_end

    def broken(self: SaveResumeState, trainer: Any, module: Any) -> None:
        if module.stage == "student" and module.epoch == 1:  # what it logged is on the disk, its state is not
            trainer.logger.experiment.flush()
            raise RuntimeError("broken")
        save(self, trainer, module)

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


def test_reused_networks_show_their_curves(result_of: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    words = ("teacher.epochs=2", "student.epochs=2", "student=tiny_mlp", "tracking.images=false")
    result_of(*words)
    result_of(*words, "distillation=none")
    first, second = (scalars(tmp_path / name / "tensorboard") for name in ("run0", "run1"))
    for tag in ("teacher/val_loss", "baseline/train_accuracy", "teacher/images_per_second"):
        assert first[tag] == second[tag]
        assert len(first[tag]) == 2
    seen = [json.loads((tmp_path / name / "analysis.json").read_text())["epochs"] for name in ("run0", "run1")]
    assert seen[0]["teacher"] == seen[1]["teacher"]
