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
    """Mean absolute difference of student's and teacher's factors, each image's of length 1 (equation 4, p = 1).

    For a first share of the stage the paraphraser, an autoencoder, learns to rebuild the teacher's layer (equation 1),
    while the student learns from labels and other modes; then it is frozen and the translator and student follow it.

    Args:
        rate: Factors for each channel of the teacher.
        paraphraser_share: Of the stage.

    Raises:
        ValueError: a rate of 0 or less, or a share outside 0 to 1.
    """

    needs = Needs(student="map", teacher="map")

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
        theirs = maps(deepest(teacher))
        if student.progress < self.paraphraser_share:
            # Nothing of the student's moves yet; its loss is there, so that the gradient is 0 and not missing.
            return F.mse_loss(self.decoder(self.encoder(theirs)), theirs) + 0 * deepest(student).sum()
        self.encoder.eval()
        with torch.no_grad():
            wanted = self.encoder(theirs)
        ours, wanted = same_size(self.translator(maps(deepest(student))), wanted)
        return (unit(ours.flatten(1)) - unit(wanted.flatten(1))).abs().mean()


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)]
