"""Networks with layers that learn their sizes from the first images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.networks.checkpoints import load
from kd_runner.networks.lazy_layers import settle_lazy_layers
from kd_runner.runs.assembly import assemble

OWN = (f"trust=[{__name__}]", "~student", "teacher=mlp", "teacher.hidden=[4]")


def plain(num_classes: int, image_shape: Sequence[int]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(image_shape[0], 3, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(108, num_classes))


def lazy(num_classes: int, image_shape: Sequence[int]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(image_shape[0], 3, 3), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(num_classes))


class Faulty(nn.Module):
    def __init__(self, num_classes: int, image_shape: Sequence[int]) -> None:
        super().__init__()
        self.head = nn.LazyLinear(num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(2))["scale"]  # type: ignore[call-overload]


def test_lazy_layers_get_the_sizes_and_the_weights_of_others(settings: Callable[..., Settings]) -> None:
    """They are seeded by the run, and the network stays in training mode."""
    student, other = (
        assemble(settings(*OWN, f"+student={{_target_: {__name__}.{name}, epochs: 1}}")).student
        for name in ("lazy", "plain")
    )
    assert type(student[-1]) is nn.Linear
    assert student.training
    state, expected = student.state_dict(), other.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_a_run_of_a_lazy_student_is_stored_and_loaded(result_of: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    results = {}
    for name in ("lazy", "plain"):
        results[name] = result_of(*OWN, f"+student={{_target_: {__name__}.{name}, epochs: 1}}")
        assert results[name]["student"]["parameters"] == 30 + 1090
    assert results["lazy"]["student"]["nll"] == results["plain"]["student"]["nll"]
    network, _ = load(results["lazy"]["student"]["checkpoint"], [__name__])
    other, _ = load(results["plain"]["student"]["checkpoint"], [__name__])
    images = torch.randn(3, 1, 8, 8)
    assert torch.equal(network(images), other(images))
    assert not network.training


def test_a_network_without_lazy_layers_is_not_called() -> None:
    class Uncalled(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise AssertionError

    settle_lazy_layers(Uncalled(), (1, 8, 8))


def test_a_lazy_network_that_fails_is_one_line(settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=r"^student: failed on images of 1x8x8: \w+Error: .*test_lazy_layers\.py:"):
        assemble(settings(*OWN, f"+student={{_target_: {__name__}.Faulty, epochs: 1}}"))
