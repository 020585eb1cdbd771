"""What training images go through, and a batch of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from kd_runner.input_pipeline import operations
from kd_runner.randomness import derived_seed, keyed_uniform


@dataclass(frozen=True)
class Batch:
    """What a step trains on.

    Args:
        images: float32 [N, C, H, W], normalised.
        labels: int64 [N].
        indices: int64 [N], on the CPU: positions in the split.
        partners: int64 [N]: the labels of what was mixed into the images; None where nothing was.
        share: How much of each image is its own, 0 to 1.
        strong: The same images through RandAugment as well, for modes that ask for a second view.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    partners: Tensor | None = None
    share: float = 1.0
    strong: Tensor | None = None


@dataclass(frozen=True)
class Augmentation:
    """What training images go through; every random number is a function of (seed, epoch, index) alone.

    The index is the image's; where a batch draws together (mixup, cutmix), that of its first image.

    Args:
        crop_padding: Pad by this many black pixels on each side and crop at a random place.
        flip: Mirror every second image left to right.
        resized_crop: The smallest share of an image's area that a random window takes, which is then enlarged to the
            image's size; 0 for no such window.
        rand_augment: How many of RandAugment's operations an image goes through.
        rand_augment_magnitude: How strong they are, 0 to 30.
        cutout: Side in pixels of a square that is set to the mean.
        random_erasing: Share of the images that lose a random rectangle to the mean.
        mixup, cutmix: Concentration of the Beta distribution that a batch's share is drawn from, 0 for none.
            With both, every batch draws one of them.
    """

    crop_padding: int = 0
    flip: bool = False
    resized_crop: float = 0.0
    rand_augment: int = 0
    rand_augment_magnitude: int = 9
    cutout: int = 0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def of_bytes(self, images: Tensor, indices: Tensor, seed: int) -> Tensor:
        """uint8 [N, H, W, C]: cropped, flipped, and through RandAugment."""
        if self.resized_crop:
            draws = 2 + 2 * operations.ATTEMPTS
            numbers = keyed_uniform(indices, derived_seed(seed, "resized_crop"), draws)
            boxes = operations.crop_boxes(numbers, self.resized_crop, *images.shape[1:3])
            images = operations.resized_crop(images, *boxes)
        if self.crop_padding or self.flip:
            down, right, mirror = keyed_uniform(indices, seed, draws=3)
            places = 2 * self.crop_padding + 1
            images = operations.crop_and_flip(
                images,
                self.crop_padding,
                (down * places).long(),
                (right * places).long(),
                mirror < 0.5 if self.flip else None,
            )
        if self.rand_augment:
            numbers = keyed_uniform(indices, derived_seed(seed, "rand_augment"), draws=2 * self.rand_augment)
            images = operations.rand_augment(
                images, numbers.view(self.rand_augment, 2, -1), self.rand_augment_magnitude
            )
        return images

    def of_floats(self, images: Tensor, indices: Tensor, seed: int) -> Tensor:
        """float32 [N, C, H, W], normalised: with squares and rectangles taken out."""
        height, width = images.shape[2:]
        if self.cutout:
            numbers = keyed_uniform(indices, derived_seed(seed, "cutout"), draws=2)
            images = operations.erase(images, *operations.cutout_boxes(numbers, self.cutout, height, width))
        if self.random_erasing:
            draws = 3 + 2 * operations.ATTEMPTS
            numbers = keyed_uniform(indices, derived_seed(seed, "random_erasing"), draws)
            images = operations.erase(images, *operations.erasing_boxes(numbers, self.random_erasing, height, width))
        return images

    def mix(self, batch: Batch, seed: int) -> Batch:
        """The batch with each image mixed with the one before it; drawn for the batch by its first index."""
        if not self.mixup and not self.cutmix:
            return batch
        which, across, down = keyed_uniform(batch.indices[:1], derived_seed(seed, "mix"), draws=3).flatten().tolist()
        key = derived_seed(seed, "share", int(batch.indices[0]))
        views = [batch.images] if batch.strong is None else [batch.images, batch.strong]
        if self.mixup and (not self.cutmix or which < 0.5):
            share = operations.mixing_share(self.mixup, key)
            images = [operations.mixup(view, share) for view in views]
        else:
            drawn = operations.mixing_share(self.cutmix, key)
            pasted = [operations.cutmix(view, drawn, across, down) for view in views]
            images, share = [view for view, _ in pasted], pasted[0][1]
        return replace(
            batch,
            images=images[0],
            strong=images[1] if len(images) > 1 else None,
            partners=batch.labels.roll(1, 0),
            share=share,
        )


STRONG = Augmentation(rand_augment=2, rand_augment_magnitude=10)  # what the second view goes through as well
