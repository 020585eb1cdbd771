"""Masked generative distillation: from part of the student's channels, a generator restores the teacher's layer.

Yang et al. 2022, "Masked Generative Distillation" (ECCV 2022), arXiv:2205.01529.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest
from kd_runner.tensors import maps, same_size


class MGD(nn.Module):
    """Mean over the images of Σ over channels and pixels of (generator(masked student's layer) − teacher's layer)².

    Layers are the last maps [N, C, H, W], averaged to the smaller size of the two. A 1x1 convolution brings the
    student's to the teacher's channels, where it has others; then each channel of each image is set to 0 with
    probability `masked`, as the authors do for classification. The generator is a 3x3 convolution, a ReLU and a 3x3
    convolution.

    Args:
        masked: Share of the channels that are hidden from the generator, 0 or more and below 1: λ of the paper.

    Raises:
        ValueError: a share outside its range.
    """

    # The whole batch, so that processes that share it draw the masks of all images together.
    needs = Needs(student="map", teacher="map", whole_batch=True)

    def __init__(self, masked: float = 0.15) -> None:
        super().__init__()
        if not 0 <= masked < 1:
            raise ValueError(f"masked must be 0 or more and below 1, got {masked:g}")
        self.masked = masked

    def adapt(self, example: AdapterExample) -> None:
        """Builds the 1x1 convolution and the generator."""
        inputs, channels = (maps(deepest(outputs)).shape[1] for outputs in (example.student, example.teacher))
        self.align = nn.Identity() if inputs == channels else nn.Conv2d(inputs, channels, 1)
        self.generator = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        student_maps, teacher_maps = same_size(maps(deepest(student)), maps(deepest(teacher)))
        aligned = self.align(student_maps)
        visible = torch.rand(*aligned.shape[:2], 1, 1, device=aligned.device) >= self.masked
        restored = self.generator(aligned * visible)
        return (restored - teacher_maps).square().sum() / len(restored)
