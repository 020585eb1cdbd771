"""Prime-aware distillation: the student also learns on which images and numbers it cannot follow its teacher.

Zhang et al. 2020, "Prime-Aware Adaptive Distillation" (ECCV 2020), arXiv:2008.01458.
"""

from __future__ import annotations

from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest
from kd_runner.tensors import vectors

EPSILON = 1e-6  # added to the variances


class PAD(nn.Module):
    """Mean over images and dimensions of (student's embedding − teacher's)² / variance + log variance.

    Embeddings are the last layers, as vectors [N, C]; a dense layer brings the student's to the teacher's width, where
    it has another. The log variance of each number comes from the student's embedding by a dense layer with batch
    norm. An image of which the student expects large variances, as it is hard, counts less: the others are the
    prime samples. The loss has no least value.
    """

    needs = Needs(student="embedding", teacher="embedding")

    def adapt(self, example: AdapterExample) -> None:
        """Builds the dense layer to the teacher's width, and that of the variances."""
        inputs, width = (vectors(deepest(outputs)).shape[1] for outputs in (example.student, example.teacher))
        self.connector = nn.Identity() if inputs == width else nn.Linear(inputs, width)
        self.log_variance = nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width))

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        embeddings = self.connector(vectors(deepest(student)))
        log_variances = self.log_variance(embeddings)
        distances = (embeddings - vectors(deepest(teacher))).square()
        return (distances / (log_variances.exp() + EPSILON) + log_variances).mean()
