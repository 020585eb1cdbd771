"""The accuracy under attack of a network whose worst images are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from kd_runner.datasets.splits import Split
from kd_runner.evaluation.attacked import accuracy_under_attack
from kd_runner.input_pipeline.batches import PlainBatches
from kd_runner.input_pipeline.sources import MemorySource
from kd_runner.input_pipeline.view import View

CPU = torch.device("cpu")


class Brightness(nn.Module):
    """Says 1 where the mean pixel is above a half, and is the surer the further it is from that."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, affine=False)  # a mean of 0 and a variance of 1 unless an attack changes them

    def forward(self, images: Tensor) -> Tensor:
        brightness = self.norm(images).mean((1, 2, 3))
        return torch.stack([-brightness, brightness], 1)


@pytest.mark.parametrize(("eps", "right"), [(0.05, 1.0), (0.15, 0.8), (0.25, 0.6), (1.0, 0.0)])
def test_images_that_are_near_another_class_fall(eps: float, right: float) -> None:
    """Means of 0.1 to 0.4 and 0.6 to 1.0, of which those closer than eps to a half are lost."""
    pixels = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 0.0])
    images = (255 * pixels).round().to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 2, 2, 2)[..., :1].contiguous()
    images = images.permute(0, 3, 1, 2).contiguous()
    source = MemorySource(Split(images, (pixels > 0.5).long()), CPU, CPU)
    batches = PlainBatches(source, View(torch.tensor([0.5]), torch.tensor([0.25])), 4)
    network = Brightness().train()
    before = network.norm.running_mean.clone()
    found = accuracy_under_attack(network, batches, CPU, eps, 0)
    assert found == {"pgd_accuracy": pytest.approx(right), "fgsm_accuracy": pytest.approx(right)}
    assert torch.equal(network.norm.running_mean, before)
