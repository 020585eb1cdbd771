"""The score that networks are compared by: accuracy, or mAP where an image may have several labels.

A run with several labels an image writes its scores under names of their own (`map`, `val_map`), and `metric: map`
beside its stages. Whatever compares runs reads one score, under `accuracy` and `val_accuracy`, where `with_scores` puts
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kd_runner.files.stages import STAGES

METRIC, MAP = "metric", "map"  # the key of a result that names its score, and its value for several labels
VAL_SCORES = ("val_accuracy", "val_map")  # of an epoch, which has one of them
KEPT = "kept"  # in the metrics of the epoch whose weights a stage keeps, where that may be another than the last
COPIED = {MAP: "accuracy", "val_map": "val_accuracy", "val_maps": "val_accuracies"}


@dataclass(frozen=True)
class ScoreWords:
    """The words for a score.

    Args:
        name: Its name, such as in 'validation accuracy'.
        verb: The words before the number, such as in 'is right on 93.20 % of the test images'.
        of: The word between its number and its images.
        short: The word before a second number in the same sentence.
    """

    name: str
    verb: str
    of: str
    short: str

    def __call__(self, number: str, images: str = "test images") -> str:
        """The end of a sentence about a network, such as 'is right on 93.20 % of the test images'."""
        return f"{self.verb} {number} {self.of} the {images}"

    @property
    def title(self) -> str:
        """Its name at the beginning of a sentence."""
        return f"{self.name[0].upper()}{self.name[1:]}" if self is not MEAN_AVERAGE_PRECISION else self.name

    def instead(self, text: str) -> str:
        """A text about accuracies that speaks of this score instead."""
        if self is ACCURACY:
            return text
        return text.replace("Accuracy", self.title).replace("accuracy", self.name)


ACCURACY = ScoreWords("accuracy", "is right on", "of", "on")
MEAN_AVERAGE_PRECISION = ScoreWords("mAP", "has an mAP of", "on", "of")
EITHER = ScoreWords("accuracy or mAP", "has a score of", "on", "of")  # of runs that do not all have the same


def words_of(result: Mapping[str, Any]) -> ScoreWords:
    """The words for the score of a run, by its result."""
    return MEAN_AVERAGE_PRECISION if has_map(result) else ACCURACY


def words_of_all(results: Iterable[Mapping[str, Any]]) -> ScoreWords:
    """The words for the scores of several runs."""
    return common_words(map(words_of, results))


def common_words(words: Iterable[ScoreWords]) -> ScoreWords:
    """The words that all have in common; those for either score where they are not the same."""
    kinds = set(words)
    return kinds.pop() if len(kinds) == 1 else EITHER if kinds else ACCURACY


def has_map(result: Mapping[str, Any]) -> bool:
    """True for the result of a run whose images may have several labels, so that its score is mAP."""
    return result.get(METRIC) == MAP


def val_score(metrics: Mapping[str, float]) -> float:
    """The score of an epoch on the validation images, of its metrics.

    Raises:
        KeyError: they have none.
    """
    return metrics[name_of_val_score(metrics) or VAL_SCORES[0]]


def name_of_val_score(metrics: Mapping[str, float]) -> str | None:
    """The name of the score among the metrics of an epoch; None where they have none."""
    return next((name for name in VAL_SCORES if name in metrics), None)


def kept_metrics(epochs: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The metrics of the epoch whose weights a stage keeps: the last one, unless early stopping kept another."""
    return epochs[kept_epoch(epochs) - 1]


def kept_epoch(epochs: Sequence[Mapping[str, float]]) -> int:
    """The number, from 1, of the epoch whose weights a stage keeps."""
    return next((number for number, metrics in enumerate(epochs, 1) if metrics.get(KEPT)), len(epochs))


def has_val_map(epochs: Sequence[Mapping[str, float]]) -> bool:
    """True where the score of epochs is mAP."""
    return bool(epochs) and name_of_val_score(epochs[0]) == "val_map"


def with_scores(result: dict[str, Any]) -> dict[str, Any]:
    """The result with the score of each stage under `accuracy` and `val_accuracy`, too; as it is where it is there."""
    if not has_map(result):
        return result
    return {key: _with_scores(value) if key in STAGES else value for key, value in result.items()}


def _with_scores(content: Any) -> Any:
    """Copies of scores beside them, in an object of JSON and those in it."""
    if not isinstance(content, dict):
        return content
    copied = {COPIED[name]: value for name, value in content.items() if name in COPIED}
    return {name: _with_scores(value) for name, value in content.items()} | copied
