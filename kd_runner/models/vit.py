"""Vision transformer for small images, with or without a distillation token.

Dosovitskiy et al. 2021, arXiv:2010.11929; the token is that of Touvron et al. 2021, "Training data-efficient image
transformers & distillation through attention", arXiv:2012.12877.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Self-attention of tokens [N, L, width], by `heads` groups of channels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        queries, keys, values = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then a perceptron four times as wide, each behind a layer norm and with a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.narrow(F.gelu(self.widen(self.norm2(tokens))))


class ViT(nn.Module):
    """Logits [N, num_classes] of images [N, C, H, W]; layers patches, blocks, norm, head and head_of_token.

    Args:
        patch: Height and width of the squares that become tokens; it divides those of the images.
        width: Numbers in a token, a multiple of `heads`.
        depth: Number of blocks, 1 or more.
        heads: Number of attention heads, 1 or more.
        distillation_token: True for a second token beside that of the class, with a head of its own. The logits are
            the mean of the two heads.

    Raises:
        ValueError: a patch that does not divide the images, or a width that is no multiple of the heads.
    """

    def __init__(
        self,
        num_classes: int,
        image_shape: Sequence[int],
        patch: int,
        width: int,
        depth: int,
        heads: int,
        distillation_token: bool = True,
    ) -> None:
        super().__init__()
        if min(depth, heads) < 1 or width < 1 or width % heads:
            raise ValueError(
                f"depth and heads must be 1 or more, and width a multiple of heads, got {depth}, {heads} and {width}"
            )
        channels, height, image_width = image_shape
        if patch < 1 or height % patch or image_width % patch:
            raise ValueError(f"patch must divide the images, {height}x{image_width}, got {patch}")
        tokens = 2 if distillation_token else 1
        patch_count = height // patch * (image_width // patch)
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.tokens = nn.Parameter(torch.empty(1, tokens, width))
        self.positions = nn.Parameter(torch.empty(1, tokens + patch_count, width))
        for parameter in (self.tokens, self.positions):
            nn.init.trunc_normal_(parameter, std=0.02)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        self.head_of_token = nn.Linear(width, num_classes) if distillation_token else None

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.tokens.expand(len(patches), -1, -1), patches], dim=1) + self.positions
        tokens = self.norm(self.blocks(tokens))
        logits = self.head(tokens[:, 0])
        if self.head_of_token is None:
            return logits
        return (logits + self.head_of_token(tokens[:, 1])) / 2
