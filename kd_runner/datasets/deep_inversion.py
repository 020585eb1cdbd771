"""DeepInversion: noise is optimised until a network sees images of its classes, with the statistics of its training.

H. Yin et al. 2020, Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion, arXiv:1912.08795, equations 2
to 4. The adaptive variant, in which images are also made for student and teacher to differ on, is left out: images do
not depend on the student, so that several students can use them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.datasets.made_images import MakingCost, Source, as_bytes, frozen, inputs_of, is_told

BatchNorm = nn.modules.batchnorm._BatchNorm


class DeepInversion:
    """Images that are optimised for a network with batch norms.

    Args:
        images: The number of images, 2 or more.
        steps: The steps of each batch of images.
        batch_size: The number of images that are optimised together, 2 or more.
        lr: Learning rate of Adam, in pixels of [0, 1].
        bn_weight: Weight of the distance to the batch norms' statistics (the paper's α_f).
        tv_weight: Weight of the total variation (α_tv).
        l2_weight: Weight of the size of the normalised images (α_l2).
        jitter: Pixels, at most, by which images are shifted around their edges in each step.

    Raises:
        ValueError: a number outside its range.
    """

    def __init__(
        self,
        images: int,
        steps: int,
        batch_size: int,
        lr: float,
        bn_weight: float,
        tv_weight: float,
        l2_weight: float,
        jitter: int,
    ) -> None:
        for name, value, least in (("images", images, 2), ("batch_size", batch_size, 2), ("steps", steps, 1)):
            if value < least:
                raise ValueError(f"{name} must be {least} or more, got {value}")
        self.images, self.steps, self.batch_size, self.lr = images, steps, batch_size, lr
        self.bn_weight, self.tv_weight, self.l2_weight, self.jitter = bn_weight, tv_weight, l2_weight, jitter

    def check(self, network: nn.Module) -> None:
        """Raise ValueError where the network has no batch norms that know the statistics of its training."""
        if not batch_norms(network):
            raise ValueError("must be a method that needs no batch norms, such as dafl, as the teacher has none")

    def __call__(self, source: Source) -> Tensor:
        """The images, uint8 [images, C, H, W], on the CPU; a batch has all classes equally often, up to an image."""
        sizes = [self.batch_size] * (self.images // self.batch_size)
        last_size = self.images - sum(sizes)
        sizes += [last_size] if last_size else []
        made = []
        with frozen(source.network), inputs_of(batch_norms(source.network)) as inputs:
            for number, size in enumerate(sizes, 1):
                pixels, loss = self._optimise_batch(size, source, inputs)
                made.append(as_bytes(pixels).cpu())
                if is_told(number, len(sizes)):
                    source.tell(f"batch {number:,} of {len(sizes):,}: loss {float(loss):.4f}")
        return torch.cat(made)

    def cost(self, image_shape: Sequence[int]) -> MakingCost:
        """The passes of all steps: each image goes through the network in each of them."""
        return MakingCost(self.images * self.steps)

    def _optimise_batch(self, size: int, source: Source, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """A batch of images as pixels in [0, 1], and its last loss."""
        pixels = (0.5 + 0.25 * torch.randn(size, *source.image_shape, device=source.device)).clamp_(0, 1)
        pixels.requires_grad_()
        labels = (torch.randperm(size, device=source.device)) % source.num_classes
        optimizer = torch.optim.Adam([pixels], lr=self.lr)
        norms, loss = batch_norms(source.network), pixels.new_zeros(())
        for _ in range(self.steps):
            inputs.clear()
            images = source.normalise(self._shift(pixels))
            logits = source.network(images)
            loss = self.loss(logits, labels, images, inputs, norms)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                pixels.clamp_(0, 1)
        return pixels, loss.detach()

    def _shift(self, pixels: Tensor) -> Tensor:
        """The images, shifted by up to `jitter` pixels down and right, or up and left; what leaves comes in again."""
        if not self.jitter:
            return pixels
        down, right = torch.randint(-self.jitter, self.jitter + 1, (2,)).tolist()
        return pixels.roll((down, right), (2, 3))

    def loss(
        self, logits: Tensor, labels: Tensor, images: Tensor, inputs: Sequence[Tensor], norms: Sequence[BatchNorm]
    ) -> Tensor:
        """CE(logits, labels) + α_tv · TV + α_l2 · ‖images‖ + α_f · Σ (‖μ − running mean‖ + ‖σ² − running variance‖).

        Args:
            logits: [N, K]; labels: int64 [N].
            images: [N, C, H, W], normalised.
            inputs: The input of each of the batch norms `norms`, [N, C, …], in the order of the pass.
        """
        across, down = images.diff(dim=3), images.diff(dim=2)
        rising, falling = images[..., 1:, 1:] - images[..., :-1, :-1], images[..., 1:, :-1] - images[..., :-1, 1:]
        variation = sum((change.norm() for change in (across, down, rising, falling)), images.new_zeros(()))
        loss = F.cross_entropy(logits, labels) + self.tv_weight * variation + self.l2_weight * images.norm()
        return loss + self.bn_weight * statistics_distance(inputs, norms)


def batch_norms(network: nn.Module) -> list[BatchNorm]:
    """The batch norms that know the mean and the variance of their inputs while the network was trained."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    return [norm for norm in norms if norm.running_mean is not None]


def statistics_distance(inputs: Sequence[Tensor], norms: Sequence[BatchNorm]) -> Tensor:
    """The sum over batch norms of the distances of mean and variance of their inputs to what they know (equation 4).

    Args:
        inputs: [N, C, …] for each batch norm.
    """
    distances = []
    for maps, norm in zip(inputs, norms, strict=True):
        channels = maps.transpose(0, 1).flatten(1)
        mean, variance = channels.mean(1), channels.var(1, unbiased=False)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        distances.append((mean - norm.running_mean).norm() + (variance - norm.running_var).norm())
    return torch.stack(distances).sum()
