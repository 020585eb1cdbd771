"""The parts of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from kd_runner.config.settings import Settings
from kd_runner.networks import checkpoints
from kd_runner.runs.assembly import assemble
from kd_runner.runs.run import run

Make = Callable[..., Settings]


SMALL = (
    "teacher.channels=[10,12]",
    "teacher.hidden=[14]",
    "student.channels=[4,6]",
    "student.epochs=1",
    "batch_size=32",
)


def test_several_teachers_are_averaged_by_their_weights(settings: Make, tmp_path: Path) -> None:
    words = (*SMALL, "+teacher@teachers.second=mlp", "+teachers.second.weight=3", "teacher.label_smoothing=0.1")
    parts = assemble(settings(*words))
    images = torch.randn(2, *parts.data.splits.image_shape)
    one, other = (network.eval()(images) for network in parts.teachers.values())
    torch.testing.assert_close(parts.teacher.eval()(images), 0.25 * one + 0.75 * other)
    result = run(settings(*words), tmp_path)
    ensemble, _ = checkpoints.load(tmp_path / "teacher.safetensors")
    assert len(next(iter(ensemble.children()))) == 2
    assert result["teacher"]["parameters"] == sum(p.numel() for n in parts.teachers.values() for p in n.parameters())
    assert (tmp_path / "teachers.second.safetensors").is_file()


def test_a_fingerprint_changes_with_what_can_change_the_result(settings: Make) -> None:
    first, again, elsewhere, other = (
        assemble(settings(*SMALL, *words)).fingerprint()
        for words in ((), (), ("trainer.log_every=3", "tracking.graph=true"), ("seed=1",))
    )
    assert first == again == elsewhere
    assert first != other
    assert len(first) == 16


def test_a_baseline_starts_from_a_copy_of_the_student(settings: Make) -> None:
    parts = assemble(settings(*SMALL))
    baseline, teacher = parts.labels_only("baseline"), parts.labels_only("teacher")
    assert (baseline.role, teacher.role) == ("student", "teacher")
    assert baseline.recipe == parts.recipes["student"]
    assert teacher.network is parts.teacher
    for value, original in zip(baseline.network.parameters(), parts.student.parameters(), strict=True):
        assert torch.equal(value, original)
        assert value is not original
