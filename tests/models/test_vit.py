"""The vision transformer against a restatement in NumPy, and its messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_runner.models.vit import ViT


def numpy_of(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def dense(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    return x @ numpy_of(layer.weight).T + numpy_of(layer.bias)


def normed(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


def restated(network: ViT, image: np.ndarray, patch: int, heads: int) -> list[np.ndarray]:
    """Logits of one image [C, H, W] by each token's head."""
    channels, height, width = image.shape
    squares = [
        image[:, y : y + patch, x : x + patch].ravel() for y in range(0, height, patch) for x in range(0, width, patch)
    ]
    kernel = numpy_of(network.patches.weight).reshape(-1, channels * patch**2)
    tokens = np.concatenate(
        [numpy_of(network.tokens)[0], np.array(squares) @ kernel.T + numpy_of(network.patches.bias)]
    )
    tokens = tokens + numpy_of(network.positions)[0]
    for block in network.blocks:
        queries, keys, values = np.split(dense(block.attention.qkv, normed(tokens)), 3, axis=1)
        size = queries.shape[1] // heads
        seen = []
        for start in range(0, queries.shape[1], size):
            part = slice(start, start + size)
            scores = np.exp(queries[:, part] @ keys[:, part].T / math.sqrt(size))
            seen.append(scores / scores.sum(1, keepdims=True) @ values[:, part])
        tokens = tokens + dense(block.attention.out, np.concatenate(seen, axis=1))
        inner = dense(block.widen, normed(tokens))
        erf = np.vectorize(math.erf)
        tokens = tokens + dense(block.narrow, inner * (1 + erf(inner / math.sqrt(2))) / 2)
    heads_of_tokens = [network.head] if network.head_of_token is None else [network.head, network.head_of_token]
    return [dense(head, normed(tokens)[number]) for number, head in enumerate(heads_of_tokens)]


@pytest.mark.parametrize("token", [True, False])
def test_logits_are_the_mean_of_the_tokens_heads(token: bool) -> None:
    torch.manual_seed(0)
    network = ViT(5, (3, 4, 8), patch=2, width=6, depth=2, heads=3, distillation_token=token).double().eval()
    images = torch.randn(2, 3, 4, 8, dtype=torch.float64)
    wanted = [np.mean(restated(network, image.numpy(), 2, 3), axis=0) for image in images]
    np.testing.assert_allclose(network(images).detach().numpy(), wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((3, 8, 1, 2), "patch must divide the images, 8x8, got 3"),
        ((4, 8, 0, 2), "depth and heads must be 1 or more, and width a multiple of heads, got 0, 2 and 8"),
        ((4, 9, 1, 2), "depth and heads must be 1 or more, and width a multiple of heads, got 1, 2 and 9"),
    ],
)
def test_refuses_sizes_that_do_not_fit(sizes: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViT(5, (1, 8, 8), *sizes)
