"""Logits of several networks for the same images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_runner.datasets.splits import Split
from kd_runner.evaluation.predictions import predict
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.input_pipeline.sources import MemorySource
from kd_runner.input_pipeline.view import View

CPU = torch.device("cpu")


class Brightness(nn.Module):
    """One logit: the sum of an image's values, times a factor; in training mode it is no number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return (torch.nan if self.training else self.factor) * images.double().sum((1, 2, 3)).unsqueeze(1)


def test_every_network_sees_every_image_in_order_and_in_evaluation_mode() -> None:
    pixels = torch.arange(5 * 4, dtype=torch.uint8).view(5, 1, 2, 2)
    data = MemorySource(Split(pixels, torch.tensor([2, 0, 1, 2, 0])), CPU, CPU)
    batches = PlainBatches(data, View(torch.tensor([0.5]), torch.tensor([0.25]), Augmentation()), 2)
    networks = {"one": Brightness(1).train(), "two": Brightness(2).train()}
    predictions = predict(networks, batches, CPU)
    sums = ((pixels.double() / 255 - 0.5) / 0.25).sum((1, 2, 3)).unsqueeze(1)
    for name, factor in (("one", 1), ("two", 2)):
        torch.testing.assert_close(predictions.logits[name], (factor * sums).float(), rtol=1e-5, atol=1e-5)
        assert predictions.logits[name].dtype == torch.float32
    assert predictions.labels.tolist() == [2, 0, 1, 2, 0]
