"""The measures of networks on images that have one label each, and on images that may have several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kd_runner.datasets.splits import has_several_labels
from kd_runner.evaluation.metrics import classification_metrics, pair_metrics
from kd_runner.evaluation.multi_label_metrics import multi_label_metrics, multi_label_pair_metrics
from kd_runner.files.scores import MAP


@dataclass(frozen=True)
class Measures:
    """The metrics of networks, and their names in result.json.

    Args:
        score: The name of the score among the measures, by which networks are compared.
        of_network: The measures of logits [N, K] for labels.
        of_pair: The measures of a student's logits beside its teacher's.
    """

    score: str
    of_network: Callable[[Tensor, Tensor], dict[str, float]]
    of_pair: Callable[[Tensor, Tensor], dict[str, Any]]

    @property
    def val_score(self) -> str:
        """The name of the score on the validation images."""
        return f"val_{self.score}"

    @property
    def record(self) -> dict[str, str]:
        """The entry of result.json that names the score; empty where it is the accuracy."""
        return {} if self.score == "accuracy" else {"metric": self.score}


OF_ONE_LABEL = Measures("accuracy", classification_metrics, pair_metrics)
OF_SEVERAL_LABELS = Measures(MAP, multi_label_metrics, multi_label_pair_metrics)


def measures_for(labels: Tensor) -> Measures:
    """The measures for labels int64 [N], or for those of images that may have several, uint8 [N, K]."""
    return OF_SEVERAL_LABELS if has_several_labels(labels) else OF_ONE_LABEL
