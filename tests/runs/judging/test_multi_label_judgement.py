"""Judgements by mAP where an image may have several labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from kd_runner.config.settings import Settings
from kd_runner.notes import collected_notes
from kd_runner.runs.companions import Companions
from kd_runner.runs.judging import multi_label
from kd_runner.runs.judging.multi_label import MultiLabelJudge, MultiLabelJudgement

LABELS = (torch.arange(60)[:, None] % torch.tensor([2, 3, 5]) == 0).to(torch.uint8)


def knowing(name: str, score: float) -> MultiLabelJudgement:
    return MultiLabelJudgement(name, torch.ones(60, dtype=torch.bool), 0.3, score=score)


def judged(monkeypatch: pytest.MonkeyPatch, logits: torch.Tensor, settings: Settings) -> MultiLabelJudgement:
    monkeypatch.setattr(multi_label, "validation_logits", lambda *_: (logits, LABELS))
    judge = MultiLabelJudge(settings, None, Companions())  # type: ignore[arg-type]
    judgement = judge.judge_trained("baseline", torch.nn.Identity(), [])
    assert isinstance(judgement, MultiLabelJudgement)
    return judgement


def test_a_network_that_knows_nothing_is_doubted(
    settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with collected_notes() as notes:
        right = judged(monkeypatch, LABELS * 2.0 - 1, settings())
        assert (right.accuracy, right.warning, notes) == (1.0, None, [])
        assert right.summary() == {
            "val_map": 1.0,
            "guessing_map": pytest.approx((30 + 20 + 12) / 180),
            "recorded_map": None,
            "warning": None,
        }
        constant = judged(monkeypatch, torch.zeros(60, 3), settings())
    assert constant.accuracy == pytest.approx((30 + 20 + 12) / 180)
    assert constant.warning == notes[0]
    assert notes[0].startswith(
        "the baseline has an mAP of 34.4 % on 60 validation images: it has not learned; its answers"
    )
    assert "(student.epochs, now 1)" in notes[0]


def test_no_gap_is_noted(settings: Callable[..., Settings], tmp_path: Path) -> None:
    judge = MultiLabelJudge(settings(), None, Companions())  # type: ignore[arg-type]
    with collected_notes() as notes:
        judge.note_no_gap(knowing("teacher", 0.8), knowing("baseline", 0.7))
        judge.note_no_gap(knowing("teacher", 0.96), knowing("baseline", 0.97))
        assert notes == []
        judge.note_no_gap(knowing("teacher", 0.6), knowing("baseline", 0.7))
    assert notes[0].startswith(
        "the teacher (mAP 60.0 %) is no better than the baseline (70.0 %) on 60 validation images"
    )
