"""Pictures of any size cut to the network's, inside an exported graph, as `datasets.decoding.pixels.middle_of` does it.

Pillow's bilinear filter averages over all pixels that a new one covers. In a graph it is two products with matrices of
weights, first along rows and then along columns, both rounded to whole bytes as Pillow rounds. The weights come from
the size of the pictures, so they are computed in the graph, of operations that every format has. The formats' own
resize operations differ from Pillow's in how they average, round and cut.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Resized(nn.Module):
    """Bytes [N, C, height, width] of pictures, all of one size, to whole numbers 0 to 255, float32 [N, C, H, W].

    The picture is resized so that it just covers H and W, and the middle is kept.

    Args:
        height, width: H and W.
        shorter: The pixels that the shorter side is resized to before the middle is cut out; None: as many as cover.
    """

    def __init__(self, height: int, width: int, shorter: int | None = None) -> None:
        super().__init__()
        self.height, self.width, self.shorter = height, width, shorter

    def forward(self, images: Tensor) -> Tensor:
        rows = torch.arange(images.shape[2], device=images.device)
        columns = torch.arange(images.shape[3], device=images.device)
        stored_height, stored_width = rows[-1] + 1, columns[-1] + 1  # tensors, which every format computes with
        if self.shorter is None:
            resized_height = _at_least(self.height, self.width * stored_height, stored_width)
            resized_width = _at_least(self.width, self.height * stored_width, stored_height)
        else:
            resized_height = _at_least(self.shorter, self.shorter * stored_height, stored_width)
            resized_width = _at_least(self.shorter, self.shorter * stored_width, stored_height)
        along_rows = weights(columns, stored_width, resized_width, self.width)
        along_columns = weights(rows, stored_height, resized_height, self.height)
        narrowed = _whole_bytes(images.float() @ along_rows.T)
        return _whole_bytes(along_columns @ narrowed)


def weights(positions: Tensor, stored: Tensor, resized: Tensor, size: int) -> Tensor:
    """The share of each stored pixel in each new one, float32 [size, stored]; each row sums to 1.

    Args:
        positions: 0, 1, … for the stored pixels of a row or column, int64 [stored].
        stored: The number of stored pixels.
        resized: The number of pixels that the row becomes, of which the middle `size` are kept; int64.
    """
    excess = resized - size
    half = torch.div(excess, 2, rounding_mode="floor")
    start = torch.div(excess + half % 2, 2, rounding_mode="floor")  # of two middles the even one, as `round` has it
    scale = stored.float() / resized.float()
    centres = (torch.arange(size, device=positions.device) + start + 0.5) * scale
    distances = (positions.float() + 0.5 - centres[:, None]).abs() / scale.clamp_min(1)
    shares = (1 - distances).clamp_min(0)
    return shares / shares.sum(1, keepdim=True)


def _at_least(size: int, numerator: Tensor, denominator: Tensor) -> Tensor:
    """The whole part of a fraction, or `size` where that is more."""
    return torch.div(numerator, denominator, rounding_mode="floor").clamp_min(size)


def _whole_bytes(values: Tensor) -> Tensor:
    return (values + 0.5).floor().clamp(0, 255)
