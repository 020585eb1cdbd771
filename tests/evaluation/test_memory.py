"""The memory of a pass, against sums by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kd_runner.evaluation.memory import peak_memory


def test_weights_images_and_what_is_there_at_the_same_time_are_counted() -> None:
    """Layers of 4, 8 and 2 numbers: both outputs live when the last one is made; float32 has 4 bytes."""
    network = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    weights = 4 * (4 * 8 + 8 + 8 * 2 + 2)
    assert peak_memory(network, torch.zeros(1, 4)) == weights + 4 * (4 + 8 + 2)
    assert peak_memory(network, torch.zeros(10, 4)) == weights + 40 * (4 + 8 + 2)


def test_what_is_freed_on_the_way_is_not_counted_and_views_take_nothing() -> None:
    class Chain(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            for _ in range(5):  # two of them live at a time
                images = images.flatten(1).t().t() + 1
            return images

    assert peak_memory(Chain(), torch.zeros(2, 3, 1, 1)) == 4 * 6 * (1 + 2)


def test_a_network_that_cannot_be_watched_has_no_number() -> None:
    class Shy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if torch.utils._python_dispatch._get_current_dispatch_mode() is not None:
                raise RuntimeError("not while somebody watches")
            return images

    assert peak_memory(Shy(), torch.zeros(1, 1)) is None
