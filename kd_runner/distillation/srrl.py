"""Softmax regression: the teacher's classifier must give for the student's features what it gives for the teacher's.

Yang et al. 2021, "Knowledge Distillation via Softmax Regression Representation Learning" (ICLR 2021, openreview
ZzwDy_wiWv).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.distillation.dense_copy import DenseCopy
from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest
from kd_runner.tensors import maps, vectors


class SRRL(nn.Module):
    """MSE(e, teacher's embedding) + classifier_weight · MSE(teacher's classifier of e, teacher's logits).

    e [N, C] is the student's last layer [N, C', H, W] through the connector, averaged over the pixels. The connector is
    a 1x1 convolution with batch norm, and a ReLU where the teacher's embedding has no negative numbers
    (equations 2 and 4).

    Args:
        classifier_weight: β of the paper, 0 or more: 1 there.

    Raises:
        ValueError: a teacher that does not end in a dense layer.
    """

    needs = Needs(student="map", teacher="embedding", teacher_logits=True)

    def __init__(self, classifier_weight: float = 1.0) -> None:
        super().__init__()
        self.classifier_weight = classifier_weight

    def adapt(self, example: AdapterExample) -> None:
        """Builds the connector, and copies the teacher's classifier, which is neither trained nor saved here.

        Raises:
            ValueError: the teacher does not end in a dense layer, or another layer than its input is given.
        """
        if example.teacher_head is None:
            raise ValueError("the teacher must end in a dense layer whose input is its last feature")
        embedding = vectors(deepest(example.teacher))
        width = embedding.shape[1]
        if width != example.teacher_head.in_features:
            raise ValueError(
                f"must have the input of the teacher's last dense layer, {example.teacher_head.in_features} wide, "
                f"for its layer, got {width}"
            )
        layers: list[nn.Module] = [
            nn.Conv2d(maps(deepest(example.student)).shape[1], width, 1, bias=False),
            nn.BatchNorm2d(width),
        ]
        if bool(embedding.min() >= 0):
            layers.append(nn.ReLU())
        self.connector = nn.Sequential(*layers)
        self.teacher_head = DenseCopy(example.teacher_head)

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        embeddings = vectors(self.connector(maps(deepest(student))))
        features = F.mse_loss(embeddings, vectors(deepest(teacher)))
        return features + self.classifier_weight * F.mse_loss(self.teacher_head(embeddings), teacher.logits)
