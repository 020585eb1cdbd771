"""Factor transfer: a few factors paraphrase the teacher's layer, and a translator finds them in the student's.

Kim, Park and Kwak 2018, "Paraphrasing Complex Network: Network Compression via Factor Transfer", arXiv:1802.04977.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.outputs import AdapterExample, Needs, Outputs, deepest
from kd_runner.tensors import maps, same_size, unit


class FT(nn.Module):
    """Mean |factors of the student − factors of the teacher|, each image's factors of length 1 (equation 4, p = 1).

    Factors are maps [N, rate · C, H, W], made of the last layer [N, C, H, W] by convolutions: the teacher's by the
    paraphraser, the student's by the translator. In the first share of the stage the paraphraser, an autoencoder,
    learns to rebuild the teacher's layer (equation 1), while the student learns from labels and other modes. Then it is
    frozen, and translator and student imitate its factors.

    Args:
        rate: Factors for each channel of the teacher, above 0.
        paraphraser_share: Share of the stage in which the paraphraser learns, above 0 and below 1.

    Raises:
        ValueError: a rate or a share outside its range.
    """

    needs = Needs(student="map", teacher="map", varies=True)

    def __init__(self, rate: float = 0.5, paraphraser_share: float = 0.125) -> None:
        super().__init__()
        if rate <= 0 or not 0 < paraphraser_share < 1:
            raise ValueError(
                f"rate must be above 0 and paraphraser_share between 0 and 1, got {rate:g} and {paraphraser_share:g}"
            )
        self.rate, self.paraphraser_share = rate, paraphraser_share

    def adapt(self, example: AdapterExample) -> None:
        """Builds paraphraser and translator."""
        student, teacher = maps(deepest(example.student)), maps(deepest(example.teacher))
        channels = teacher.shape[1]
        factors = max(1, round(self.rate * channels))
        self.encoder = nn.Sequential(*_layer(channels, channels), *_layer(channels, factors), *_layer(factors, factors))
        self.decoder = nn.Sequential(*_layer(factors, factors), *_layer(factors, channels), *_layer(channels, channels))
        width = student.shape[1]
        self.translator = nn.Sequential(*_layer(width, width), *_layer(width, factors), *_layer(factors, factors))

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor, temperature: float) -> Tensor:
        teacher_maps = maps(deepest(teacher))
        if student.progress < self.paraphraser_share:
            rebuilt = self.decoder(self.encoder(teacher_maps))
            # The second term is 0: it gives the student, which does not move yet, a gradient of 0 rather than none.
            return F.mse_loss(rebuilt, teacher_maps) + 0 * deepest(student).sum()
        self.encoder.eval()
        with torch.no_grad():
            teacher_factors = self.encoder(teacher_maps)
        student_factors, teacher_factors = same_size(self.translator(maps(deepest(student))), teacher_factors)
        return (unit(student_factors.flatten(1)) - unit(teacher_factors.flatten(1))).abs().mean()


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)]
