"""The judge of a run's networks on the validation images: one contract, by accuracy or by mAP.

A teacher is judged before a student learns from it: what it says wrongly, the student would learn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import nn

from kd_runner.config.field_types import Node
from kd_runner.config.settings import Settings
from kd_runner.runs.companions import Companions
from kd_runner.runs.data import Data
from kd_runner.runs.judging.judgement import Judgement
from kd_runner.runs.judging.multi_label import MultiLabelJudge
from kd_runner.runs.judging.one_label import OneLabelJudge
from kd_runner.training.mode import Mode
from kd_runner.training.recipe import Schedule


class Judge(Protocol):
    """The judge of a run: it judges networks on the validation images, and notes what is in doubt.

    A network that gives logits that are not finite numbers raises RunFailed.
    """

    def judge_given(self, name: str, network: nn.Module, path: Path) -> Judgement:
        """Judge a teacher whose weights are from the file `path`, and note what is wrong with it."""

    def judge_ensemble(self, network: nn.Module, node: Node) -> Judgement:
        """Judge the mean of several teachers, which `node` builds, and which is what the student learns from."""

    def judge_trained(self, name: str, network: nn.Module, epochs: Sequence[Mapping[str, float]]) -> Judgement:
        """Judge a teacher or a baseline that was trained here, and note where it has not learned.

        Args:
            epochs: The metrics of each epoch that it trained.
        """

    def note_no_gap(self, teacher: Judgement, baseline: Judgement) -> None:
        """Note where the teacher is no better than the student without it on the validation images."""

    def note_student(
        self,
        modes: Sequence[Mode],
        temperature: Schedule,
        epochs: Mapping[str, Sequence[Mapping[str, float]]],
        judgements: Mapping[str, Judgement],
    ) -> None:
        """Note where the student has not learned, or nothing from its teacher.

        Args:
            epochs: The metrics of each epoch, by stage.
            judgements: The judgements of the teachers and the baseline.
        """


def judge_of(settings: Settings, data: Data, companions: Companions) -> Judge:
    """The judge of a run: by mAP where an image may have several labels, else by accuracy."""
    judge = MultiLabelJudge if data.splits.several_labels else OneLabelJudge
    return judge(settings, data, companions)
