"""Images as networks see them: augmented, normalised, in a memory format."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from kd_runner.input_pipeline.augmentation import Augmentation


@dataclass(frozen=True)
class View:
    """The step from bytes to the images that a network sees.

    Args:
        mean, std: Mean and standard deviation of each channel, of pixels scaled to [0, 1]; [C].
        augmentation: Random changes of training images.
        memory_format: Memory format of the batches. channels_last suits convolutions; the shape stays [N, C, H, W].
    """

    mean: Tensor
    std: Tensor
    augmentation: Augmentation = field(default_factory=Augmentation)
    memory_format: torch.memory_format = torch.contiguous_format
    _scales_and_shifts: dict[object, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def normalise(self, images: Tensor) -> Tensor:
        """The images float32 [N, C, H, W], of mean 0 and standard deviation 1, from uint8 [N, H, W, C]."""
        key = (images.shape[1:], images.device)
        if key not in self._scales_and_shifts:
            # As large as an image: numbers that change along the innermost dimension, the channels, would be slow.
            self._scales_and_shifts[key] = (
                (1 / (255 * self.std)).to(images.device).expand(images.shape[1:]).contiguous(),
                (self.mean / self.std).to(images.device).expand(images.shape[1:]).contiguous(),
            )
        scale, shift = self._scales_and_shifts[key]
        floats = images.to(torch.float32, memory_format=torch.contiguous_format).mul_(scale).sub_(shift)
        return floats.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)
