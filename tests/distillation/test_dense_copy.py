"""A copy of a teacher's last layer gives what the layer gives, goes along, and is neither trained nor saved."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.distillation.dense_copy import DenseCopy


class Cosine(nn.Linear):
    """A classifier of normalised features, with dropout."""

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = F.dropout(inputs, 0.5, self.training)
        return 20 * F.linear(F.normalize(inputs, dim=1), F.normalize(self.weight, dim=1))


@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.Linear(4, 3, bias=False), Cosine(4, 3)])
def test_gives_what_the_layer_gives_and_goes_along(layer: nn.Linear) -> None:
    found, inputs = DenseCopy(layer), torch.randn(5, 4)
    wanted = layer.eval()(inputs)
    assert torch.equal(found(inputs), wanted)
    assert not found(inputs).requires_grad
    mode = nn.Sequential(found)
    assert (list(mode.parameters()), list(mode.state_dict())) == ([], [])
    mode.to(torch.float64)
    assert layer.weight.dtype == torch.float32
    assert torch.allclose(found(inputs.double()), wanted.double(), atol=1e-6)
    assert (found.weight.dtype, found.bias is None) == (torch.float64, layer.bias is None)
