"""Batch norms that several processes share give what PyTorch's give for the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from several_processes import in_processes
from torch import nn

from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup
from kd_runner.training.batch_norms import SharedBatchNorms

IMAGES = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 + 1


def _network(momentum: float | None) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=momentum), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(48))
    nn.init.uniform_(network[0].weight)
    return network


def _outcome(network: nn.Module, images: torch.Tensor, factors: torch.Tensor) -> dict[str, Any]:
    images = images.clone().requires_grad_()
    outputs = network(images)
    (outputs * factors).sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {"outputs": outputs.detach(), "images": images.grad, "gradients": gradients, "state": network.state_dict()}


@pytest.mark.parametrize("momentum", [0.1, None])
def test_two_processes_have_the_statistics_of_the_whole_batch(tmp_path: Path, momentum: float | None) -> None:
    factors = torch.randn(5, 48, generator=torch.Generator().manual_seed(1))

    def work(process_group: ProcessGroup) -> dict[str, Any]:
        network, norms, rows = _network(momentum), SharedBatchNorms(process_group), process_group.rows(5)
        norms.share([network])
        norms.rows = rows
        outcome = _outcome(network, IMAGES[rows.start : rows.end], factors[rows.start : rows.end])
        evaluated = network.eval()(IMAGES)
        norms.release()
        assert torch.equal(network(IMAGES), evaluated)
        assert "forward" not in vars(network[0])
        return outcome

    whole, answers = _outcome(_network(momentum), IMAGES, factors), in_processes(2, tmp_path, work)
    for name in ("outputs", "images"):
        torch.testing.assert_close(torch.cat([answer[name] for answer in answers]), whole[name], rtol=1e-4, atol=1e-5)
    for name, gradient in whole["gradients"].items():
        torch.testing.assert_close(sum(answer["gradients"][name] for answer in answers), gradient, rtol=1e-4, atol=1e-4)
    for answer in answers:
        for name, value in whole["state"].items():
            torch.testing.assert_close(answer["state"][name], value, rtol=1e-5, atol=1e-6)


def test_one_process_leaves_batch_norms_as_they_are() -> None:
    network = _network(0.1)
    SharedBatchNorms(SINGLE_PROCESS).share([network])
    assert "forward" not in vars(network[0])
