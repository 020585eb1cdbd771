"""The augmentation of training images, and a batch of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from kd_runner.input_pipeline import operations
from kd_runner.process_group import Rows
from kd_runner.randomness import derived_seed, keyed_uniform


@dataclass(frozen=True)
class Batch:
    """The images and labels of one training step.

    Args:
        images: float32 [N, C, H, W], normalised.
        labels: int64 [N], or uint8 [N, K] of zeros and ones where an image may have several.
        indices: Positions among the images that the network learns from, int64 [N], on the CPU.
        partners: Labels of the images that were mixed in, shaped as `labels`; None where nothing was mixed in.
        share: Weight of the image itself after mixing, 0 to 1; that of the image mixed in is `1 - share`.
        strong: The same images with RandAugment as well, for modes that ask for a second view.
        view: The number of the view that the images are shown in, where the batches replay some views; else 0.
        teacher_logits: The teacher's logits for the images, [N, K], where they are kept; None where the teacher runs.
        rows: The rows that these images are of a batch that several processes share; None: the batch is whole.
        weights: Weights of the images in the label loss, float32 [N]; None: all count alike.
        partner_weights: Weights of the images that were mixed in.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    partners: Tensor | None = None
    share: float = 1.0
    strong: Tensor | None = None
    view: int = 0
    teacher_logits: Tensor | None = None
    rows: Rows | None = None
    weights: Tensor | None = None
    partner_weights: Tensor | None = None


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images; every random number is a function of (seed, epoch, index) alone.

    The index is that of the image. Mixup and cutmix draw once for a batch, with the index of its first image.

    Args:
        crop_padding: Pad by this many black pixels on each side and crop at a random position.
        flip: Mirror each image left to right with a probability of 0.5.
        resized_crop: The smallest share of an image's area that a random window takes, which is then enlarged to the
            image's size; 0 for no such window.
        rand_augment: Number of RandAugment's operations on each image.
        rand_augment_magnitude: Strength of these operations, 0 to 30.
        cutout: Side in pixels of a square that is set to the mean.
        random_erasing: Share of the images that lose a random rectangle to the mean.
        mixup, cutmix: Concentration of the Beta distribution from which the share of a batch is drawn; 0 turns it off.
            With both, every batch draws one of the two.
        random_resized_crop: The smallest share, as `resized_crop` has it, but of the area of the whole picture in the
            image's file: the source of the images cuts the window when it decodes them (`random_resized_crop`).
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
    random_resized_crop: float = 0.0

    def record(self) -> dict[str, Any]:
        """All settings as plain data, as older versions wrote them where what they did not have is off."""
        content = asdict(self)
        if not self.random_resized_crop:
            del content["random_resized_crop"]
        return content

    @property
    def mixes(self) -> bool:
        """True where images are mixed with others of their batch."""
        return bool(self.mixup or self.cutmix)

    def augment_bytes(self, images: Tensor, indices: Tensor, seed: int) -> Tensor:
        """The images uint8 [N, H, W, C], cropped, flipped, and changed by RandAugment."""
        if self.resized_crop:
            draws = 2 + 2 * operations.ATTEMPTS
            numbers = keyed_uniform(indices, derived_seed(seed, "resized_crop"), draws)
            boxes = operations.crop_boxes(numbers, self.resized_crop, *images.shape[1:3])
            images = operations.resized_crop(images, *boxes)
        if self.crop_padding or self.flip:
            down, right, mirror = keyed_uniform(indices, seed, draws=3)
            offsets = 2 * self.crop_padding + 1
            images = operations.crop_and_flip(
                images,
                self.crop_padding,
                (down * offsets).long(),
                (right * offsets).long(),
                mirror < 0.5 if self.flip else None,
            )
        if self.rand_augment:
            numbers = keyed_uniform(indices, derived_seed(seed, "rand_augment"), draws=2 * self.rand_augment)
            images = operations.rand_augment(
                images, numbers.view(self.rand_augment, 2, -1), self.rand_augment_magnitude
            )
        return images

    def augment_floats(self, images: Tensor, indices: Tensor, seed: int) -> Tensor:
        """The normalised images float32 [N, C, H, W], with squares and rectangles set to zero, the mean."""
        height, width = images.shape[2:]
        if self.cutout:
            numbers = keyed_uniform(indices, derived_seed(seed, "cutout"), draws=2)
            images = operations.erase(images, *operations.cutout_boxes(numbers, self.cutout, height, width))
        if self.random_erasing:
            draws = 3 + 2 * operations.ATTEMPTS
            numbers = keyed_uniform(indices, derived_seed(seed, "random_erasing"), draws)
            images = operations.erase(images, *operations.erasing_boxes(numbers, self.random_erasing, height, width))
        return images

    def mix(self, batch: Batch, seed: int, numbers: Tensor | None = None) -> Batch:
        """The batch with each image mixed with the one before it. The number of its first image decides the draw.

        Args:
            numbers: The images' numbers, int64 [N]; None: their indices.
        """
        if not self.mixes:
            return batch
        numbers = batch.indices if numbers is None else numbers
        choice, across, down = keyed_uniform(numbers[:1], derived_seed(seed, "mix"), draws=3).flatten().tolist()
        key = derived_seed(seed, "share", int(numbers[0]))
        views = [batch.images] if batch.strong is None else [batch.images, batch.strong]
        if self.mixup and (not self.cutmix or choice < 0.5):
            share = operations.mixing_share(self.mixup, key)
            images = [operations.mixup(view, share) for view in views]
        else:
            drawn_share = operations.mixing_share(self.cutmix, key)
            pasted = [operations.cutmix(view, drawn_share, across, down) for view in views]
            images, share = [view for view, _ in pasted], pasted[0][1]
        return replace(
            batch,
            images=images[0],
            strong=images[1] if len(images) > 1 else None,
            partners=batch.labels.roll(1, 0),
            partner_weights=None if batch.weights is None else batch.weights.roll(1, 0),
            share=share,
        )


STRONG = Augmentation(rand_augment=2, rand_augment_magnitude=10)  # for the second view, after the first view's
