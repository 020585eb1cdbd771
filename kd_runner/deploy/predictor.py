"""A saved network as a function from pictures to probabilities, with all that it must know in one file.

predict = kd_runner.load("outputs/runs/…")
predict("cat.jpg").top(3)
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd_runner.datasets.decoding.image_file import MAX_PIXELS
from kd_runner.datasets.decoding.image_input import ImageInput, input_of_metadata
from kd_runner.deploy.given_images import GivenImages, ReadImage, read_file, read_images
from kd_runner.deploy.model_files import model_file
from kd_runner.errors import SettingsError, one_line
from kd_runner.input_pipeline.batches import evaluation_batch
from kd_runner.input_pipeline.view import View
from kd_runner.networks import checkpoints
from kd_runner.networks.weight_files import unreadable_file
from kd_runner.notes import note


@dataclass(frozen=True)
class Prediction:
    """The answer of a network for N images.

    Args:
        classes: The K class names, in the order of the columns.
        logits: float32 [N, K], on the CPU.
        several_labels: True where an image may have several labels.
    """

    classes: Sequence[str]
    logits: Tensor
    several_labels: bool = False

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def probabilities(self) -> Tensor:
        """The probability of each class, float32 [N, K]; a row sums to 1 where an image has one label."""
        return self.logits.sigmoid() if self.several_labels else self.logits.softmax(1)

    @property
    def labels(self) -> list[list[tuple[str, float]]]:
        """The labels of each image whose probability is above 0.5, each with it, the most probable first; maybe none.

        Of a network that gives each image one class, that class alone where its probability is above 0.5.
        """
        return [[pair for pair in row if pair[1] > 0.5] for row in self.top(len(self.classes))]

    @property
    def names(self) -> list[str]:
        """The most probable class of each image; where it may have several labels, their names with '|' between."""
        if self.several_labels:
            return ["|".join(name for name, _ in row) for row in self.labels]
        return [self.classes[number] for number in self.logits.argmax(1).tolist()]

    def top(self, count: int = 5) -> list[list[tuple[str, float]]]:
        """The `count` most probable classes of each image, each with its probability, the most probable first.

        Raises:
            ValueError: a count that is no whole number of 1 or more.
        """
        count = min(_whole_number("count", count), len(self.classes))
        values, numbers = self.probabilities.topk(count, dim=1)
        return [
            [(self.classes[number], value) for number, value in zip(*row, strict=True)]
            for row in zip(numbers.tolist(), values.tolist(), strict=True)
        ]


def _whole_number(name: str, value: Any) -> int:
    """The value, also one of NumPy's.

    Raises:
        ValueError: it is no whole number of 1 or more.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
    return number


class Predictor:
    """A network with its input: called with images, it gives a `Prediction`.

    `network, about = predictor` are the bare network and what its file says, as plain data.

    Args:
        network: The network; images go to the device that it is on.
        about: The metadata of its file.
        image_input: The rule by which a picture becomes its input.
        name: The name of its file, for messages.
        max_pixels: The most pixels of a picture, width times height.
    """

    def __init__(
        self,
        network: nn.Module,
        about: Mapping[str, Any],
        image_input: ImageInput,
        name: str = "the file",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.network, self.about, self.input = network.eval(), dict(about), image_input
        self.name, self.max_pixels = name, max_pixels
        self._view = View(torch.tensor(image_input.mean), torch.tensor(image_input.std))
        self._has_noted = False

    def __call__(self, images: GivenImages, batch_size: int | None = None) -> Prediction:
        """The probabilities of each class for each of the images, in their order.

        Args:
            images: A path, an image of Pillow, an array or tensor of uint8 ([H, W], [H, W, C] or [C, H, W]), a list of
                these, or a batch [N, H, W, C] or [N, C, H, W]. Images of another size are resized and cropped as those
                of training were.
            batch_size: The number of images that go through the network at once; None: as in the evaluation of a run.

        Raises:
            ValueError: an image that cannot be read, or of a kind that the network does not take; a batch size that
                is no whole number of 1 or more.
        """
        size = self.batch_size if batch_size is None else _whole_number("batch_size", batch_size)
        logits: list[Tensor] = []
        waiting: list[Tensor] = []
        for image in read_images(images, self.input, self.max_pixels):
            waiting.append(self.pixels_with_note(image))
            if len(waiting) == size:
                logits.append(self.logits_of(torch.stack(waiting)))
                waiting.clear()
        if waiting:
            logits.append(self.logits_of(torch.stack(waiting)))
        return self.prediction(torch.cat(logits) if logits else torch.empty(0, len(self.classes)))

    def prediction(self, logits: Tensor) -> Prediction:
        """The prediction that follows from logits [N, K] of the network."""
        return Prediction(self.classes, logits, self.input.several_labels)

    def __iter__(self) -> Iterator[Any]:
        yield self.network
        yield self.about

    def __getitem__(self, number: int) -> Any:
        return (self.network, self.about)[number]

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.input.image_shape))
        return f"Predictor({self.name}: {len(self.classes)} classes, images of {shape})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the network's outputs."""
        return self.input.classes

    @property
    def batch_size(self) -> int:
        """The number of images that go through the network at once, where the call does not say."""
        return evaluation_batch(self.input.height, self.input.width)

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(
            (value.device for value in (*self.network.parameters(), *self.network.buffers())), torch.device("cpu")
        )

    def batch(self, images: GivenImages) -> Tensor:
        """The images as the bare network wants them: float32 [N, C, H, W], normalised, on the network's device."""
        pixels = [self.pixels_with_note(image) for image in read_images(images, self.input, self.max_pixels)]
        none = torch.empty(0, *self.input.image_shape, dtype=torch.uint8)
        return self._normalise(torch.stack(pixels) if pixels else none)

    def read(self, path: Path) -> Tensor:
        """The picture in a file as bytes in the network's shape, uint8 [C, H, W].

        Raises:
            ValueError: it cannot be read; the message names the file.
        """
        return self.pixels_with_note(read_file(path, self.input, self.max_pixels))

    def refuse_no_pictures(self) -> None:
        """Raise SettingsError where the network takes arrays alone, as it has neither one nor three channels."""
        try:
            self.input.pixel_settings(self.max_pixels)
        except ValueError as error:
            raise SettingsError(f"{self.name}: {error}") from None

    def logits_of(self, pixels: Tensor) -> Tensor:
        """The logits, float32 [N, K] on the CPU, of bytes in the network's shape, uint8 [N, C, H, W]."""
        try:
            with torch.inference_mode():
                logits = self.network(self._normalise(pixels)).float().cpu()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # a network that its file does not describe well
            shape = list(self.input.image_shape)
            raise SettingsError(f"{self.name}: it cannot take images of {shape}: {one_line(error)}") from error
        if logits.shape != (len(pixels), len(self.classes)):
            raise ValueError(
                f"{self.name}: the network must give [{len(pixels)}, {len(self.classes)}], one number for each of its "
                f"classes, got {list(logits.shape)}"
            )
        return logits

    def _normalise(self, pixels: Tensor) -> Tensor:
        return self._view.normalise(pixels.to(self.device).permute(0, 2, 3, 1).contiguous())

    def pixels_with_note(self, image: ReadImage) -> Tensor:
        """The bytes of an image; once, a note where they became so by a rule that the file does not hold."""
        if image.resized and self.input.origin != "files" and not self._has_noted:
            self._has_noted = True
            note("data", f"{self.name} {_assumption(self.input)}")
        return image.pixels


def _assumption(image_input: ImageInput) -> str:
    """The assumption about resizing where the file does not say how the pictures of training were resized."""
    size = f"{image_input.height} x {image_input.width} (height x width)"
    rule = f"a picture of another size is resized so that it just covers {size}, and its middle is cut out"
    if image_input.origin == "arrays":
        return f"was trained on images that came as arrays of this size: {rule}"
    return f"does not say how its pictures were resized (it is of an earlier version); assumed: {rule}, on white"


def load(
    path: str | Path, trust: Iterable[str] = (), max_pixels: int = MAX_PIXELS, network: str | None = None
) -> Predictor:
    """The network that kd-runner saved at `path`, as a predictor.

    `network, about = load(path)` are the bare network in evaluation mode, and the information saved with it: a
    dictionary with `network` (the settings it was built from), `num_classes`, `image_shape` [C, H, W], `classes`
    (names), `mean` and `std` (per channel, of pixels scaled to [0, 1]; the network wants images normalised with them),
    and `input` (how pictures become such images; not in files of earlier versions).

    Args:
        path: A file of weights, or a run's folder.
        trust: Packages of a person's own that the file may name networks of.
        max_pixels: The most pixels of a picture, width times height.
        network: The network of a run that is meant: 'student', 'student_best', 'baseline' or 'teacher'; None: the
            student after its last epoch, of which the run's result speaks.

    Raises:
        SettingsError: no such file, or not one that kd-runner saved.
    """
    file = model_file(path, network)
    module, about = checkpoints.load(file, trust)
    image_input, outputs = input_of_metadata(about), about["num_classes"]
    if len(image_input.classes) != outputs:
        reason = f"classes must be {outputs} names, one for each output, got {len(image_input.classes)}"
        raise unreadable_file(file, f"{checkpoints.DAMAGED} ({reason})")
    return Predictor(module, about, image_input, str(file), max_pixels)
