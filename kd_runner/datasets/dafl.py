"""DAFL: a generator learns to make images that a trained network takes for images of its classes.

H. Chen et al. 2019, Data-Free Learning of Student Networks, arXiv:1904.01186. The generator's loss, which knows no
student, is that of the paper (equation 6), and so is its shape. In the paper the student learns from each batch of the
generator while that learns; here it learns afterwards, from images that were kept along the way, so that any mode, any
augmentation and several students can use them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kd_runner.datasets.made_images import MakingCost, Source, as_bytes, frozen, inputs_of, is_told


class DAFL:
    """Images of a generator that is trained against a network.

    Args:
        images: The number of images that are kept, 2 or more.
        steps: The steps of the generator.
        batch_size: The number of images of a step, 2 or more.
        latent: The number of random numbers that an image is made of.
        lr: Learning rate of Adam.
        activation_weight: Weight of the features' size (the paper's α).
        entropy_weight: Weight of the evenness of the classes (the paper's β).
        kept_from: Share of the steps before the first one whose images are kept, in [0, 1).
        width: Channels of the generator's first maps, 2 or more; the paper's are 128.

    Raises:
        ValueError: a number outside its range.
    """

    def __init__(
        self,
        images: int,
        steps: int,
        batch_size: int,
        latent: int,
        lr: float,
        activation_weight: float,
        entropy_weight: float,
        kept_from: float,
        width: int,
    ) -> None:
        for name, value, least in (
            ("images", images, 2),
            ("batch_size", batch_size, 2),
            ("width", width, 2),
            ("steps", steps, 1),
        ):
            if value < least:
                raise ValueError(f"{name} must be {least} or more, got {value}")
        if not 0 <= kept_from < 1:
            raise ValueError(f"kept_from must be from 0 to below 1, got {kept_from:g}")
        self.images, self.steps, self.batch_size, self.latent, self.lr = images, steps, batch_size, latent, lr
        self.activation_weight, self.entropy_weight, self.kept_from = activation_weight, entropy_weight, kept_from
        self.width = width

    def check(self, network: nn.Module) -> None:
        """Any network will do."""

    def __call__(self, source: Source) -> Tensor:
        """The images, uint8 [images, C, H, W], on the CPU."""
        generator = Generator(self.latent, source.image_shape, self.width).to(source.device)
        optimizer = torch.optim.Adam(generator.parameters(), lr=self.lr)
        head = [] if source.head is None else [source.network.get_submodule(source.head)]
        first, of_a_step = self._kept_steps()
        batches: list[Tensor] = []
        with frozen(source.network), inputs_of(head) as features:
            for step in range(1, self.steps + 1):
                features.clear()
                pixels = generator(torch.randn(self.batch_size, self.latent, device=source.device))
                loss = self.loss(source.network(source.normalise(pixels)), features[-1] if features else None)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                if step > first:
                    batches += self._some(generator, pixels, of_a_step)
                if is_told(step, self.steps):
                    source.tell(f"generator at step {step:,} of {self.steps:,}: loss {float(loss.detach()):.4f}")
        return torch.cat(batches)[: self.images].cpu()

    def cost(self, image_shape: Sequence[int]) -> MakingCost:
        """The passes of all steps; the generator makes more images where a step's batch has too few to keep."""
        first, of_a_step = self._kept_steps()
        images = self.steps * self.batch_size
        more_batches = (self.steps - first) * (max(-(-of_a_step // self.batch_size), 1) - 1)
        with torch.random.fork_rng(devices=[]):
            generator = Generator(self.latent, image_shape, self.width)
        forwards = images + more_batches * self.batch_size
        return MakingCost(images, generator, torch.zeros(1, self.latent), forwards, images)

    def _kept_steps(self) -> tuple[int, int]:
        """The number of steps before the first one whose images are kept, and the images that are kept of each."""
        first = int(self.kept_from * self.steps)
        return first, -(-self.images // (self.steps - first))

    def loss(self, logits: Tensor, features: Tensor | None) -> Tensor:
        """The generator's loss: L_oh + α · L_a + β · L_ie (equations 2, 3, 5 and 6), in nats.

        L_a is the mean over features, where the paper has their sum: one weight then suits layers of any width.

        Args:
            logits: [N, K] of the network for the generated images.
            features: [N, D], the input of the network's last dense layer; None where there is none: L_a is 0 then.
        """
        one_hot = F.cross_entropy(logits, logits.argmax(1))
        mean = logits.softmax(1).mean(0)
        evenness = (mean * mean.clamp_min(1e-12).log()).sum()  # the negative entropy of the mean prediction
        loss = one_hot + self.entropy_weight * evenness
        return loss if features is None else loss - self.activation_weight * features.abs().mean()

    def _some(self, generator: nn.Module, pixels: Tensor, count: int) -> list[Tensor]:
        """Images of a step as bytes: of its batch, and of more batches where it has too few."""
        batches = [as_bytes(pixels[:count])]
        while sum(map(len, batches)) < count:
            with torch.no_grad():
                more = generator(torch.randn(self.batch_size, self.latent, device=pixels.device))
            batches.append(as_bytes(more[: count - sum(map(len, batches))]))
        return batches


class Generator(nn.Module):
    """Random numbers [N, latent] become pixels [N, C, H, W] in [0, 1].

    The layers are the paper's: a dense layer to maps of a quarter of the size, twice enlarged, with three convolutions.
    A sigmoid ends in pixels; the paper's tanh and batch norm end in normalised images, which no file could hold.
    """

    def __init__(self, latent: int, image_shape: Sequence[int], width: int) -> None:
        super().__init__()
        channels, self.height, self.width = image_shape
        self.low = -(-self.height // 4), -(-self.width // 4)
        self.dense = nn.Linear(latent, width * self.low[0] * self.low[1])
        self.first = nn.BatchNorm2d(width)
        self.middle = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2))
        self.last = nn.Sequential(
            nn.Conv2d(width, width // 2, 3, padding=1),
            nn.BatchNorm2d(width // 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width // 2, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.Sigmoid(),
        )

    def forward(self, numbers: Tensor) -> Tensor:
        maps = self.first(self.dense(numbers).view(len(numbers), -1, *self.low))
        maps = self.middle(F.interpolate(maps, size=(-(-self.height // 2), -(-self.width // 2))))
        pixels: Tensor = self.last(F.interpolate(maps, size=(self.height, self.width)))
        return pixels
