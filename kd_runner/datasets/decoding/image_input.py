"""The input of a network, as its file of weights says it: how a picture becomes the numbers that the network sees.

A network that is given pictures resized or scaled in another way than in its training answers, and is wrong. So the
rule travels with the weights, and whoever feeds the network (a prediction, an exported file) reads it here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.datasets.decoding.pixels import Color, parse_background

RECORD = "input"  # the item of a file's metadata that holds `ImageInput.record()`
COLORS: dict[int, Color] = {1: "gray", 3: "rgb"}
MOST_VALUES = 2**28  # channels times height times width; the largest published networks take a thousandth

Size = Annotated[int, Field(strict=True, ge=1, le=2**20)]
Text = Annotated[str, Field(strict=True, max_length=10_000)]
# Anyone's own data set may have numbers as names.
Name = Annotated[Text, BeforeValidator(lambda name: str(name) if type(name) in (int, float) else name)]
Mean = Annotated[float, Field(strict=True, ge=-1e30, le=1e30, allow_inf_nan=False)]
Std = Annotated[float, Field(strict=True, gt=0, le=1e30, allow_inf_nan=False)]
White = Annotated[float, Field(strict=True, gt=0, le=1e38, allow_inf_nan=False)]


def _affordable(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    channels, height, width = shape
    if channels * height * width > MOST_VALUES:
        raise ValueError(f"must have at most {MOST_VALUES:,} values")
    return shape


class ImageInput(BaseModel):
    """All that a person must know to feed a network.

    A picture is turned upright as its EXIF orientation says, laid on `background` where it is transparent, made RGB or
    gray, resized so that it just covers height and width, and the middle is cut out. Its bytes, 0 to 255, are divided
    by `divisor`; then `mean` is subtracted, and the result divided by `std`, channel by channel.

    Args:
        image_shape: Channels, height and width; [C, H, W].
        classes: The name of each class, in the order of the network's outputs.
        mean, std: Mean and standard deviation of each channel, of pixels divided by `divisor`.
        divisor: The value of white in the bytes.
        color: The kind of pixels; None: the network has neither one nor three channels, and takes arrays alone.
        resize: `cover`: the shorter side, measured against the network's, is resized to the network's; the ratio of
            the sides stays.
        interpolation: The filter of resizing; that of Pillow, which averages over all pixels that a new one covers.
        antialias: True where resizing averages, as Pillow's filters do.
        crop: `middle`: the middle of what is too long is kept.
        background: The colour below transparent pixels, '#rrggbb'.
        exif_rotation: True where pictures are turned as their EXIF orientation says.
        white: The value that is white in pictures of more than 8 bits; None: that of the picture's format.
        resize_size: The pixels that the shorter side is resized to; None: just as many as cover height and width.
        several_labels: True where an image may have several labels, whose probabilities are sigmoids.
        origin: `files`: the network's own images were read from files by this rule. `arrays`: its own images were
            arrays of this shape, and the rule is kd-runner's for any other picture. `unknown`: the file is of an
            earlier version, which did not write the rule; it is assumed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_shape: Annotated[tuple[Size, Size, Size], AfterValidator(_affordable)]
    classes: Annotated[tuple[Name, ...], Field(max_length=10_000_000)]
    mean: Annotated[tuple[Mean, ...], Field(max_length=2**20)]
    std: Annotated[tuple[Std, ...], Field(max_length=2**20)]
    divisor: Literal[255] = 255
    color: Literal["rgb", "gray"] | None
    resize: Literal["cover"] = "cover"
    interpolation: Literal["bilinear"] = "bilinear"
    antialias: Literal[True] = True
    crop: Literal["middle"] = "middle"
    background: Annotated[str, Field(strict=True, pattern="^#[0-9a-f]{6}$")] = "#ffffff"
    exif_rotation: Literal[True] = True
    white: White | None = None
    resize_size: Size | None = None
    several_labels: Annotated[bool, Field(strict=True)] = False
    origin: Literal["files", "arrays", "unknown"]

    def record(self) -> dict[str, Any]:
        """The rule for pictures as plain data, for a file's metadata, which has shape, classes, mean and std beside."""
        content = self.model_dump(mode="json", exclude={"image_shape", "classes", "mean", "std"})
        if self.resize_size is None:  # which versions before this setting can read
            del content["resize_size"]
        if not self.several_labels:
            del content["several_labels"]
        return content

    @property
    def height(self) -> int:
        return self.image_shape[1]

    @property
    def width(self) -> int:
        return self.image_shape[2]

    def pixel_settings(self, max_pixels: int) -> PixelSettings:
        """The settings by which a file becomes pixels.

        Args:
            max_pixels: The most pixels of a file; the reader's limit, which no file of weights may raise.

        Raises:
            ValueError: the network does not take pictures.
        """
        if self.color is None:
            raise ValueError(
                f"the network takes images of {self.image_shape[0]} channels, which no picture has: give it arrays "
                f"of {list(self.image_shape)}"
            )
        ground = parse_background(self.background)
        return PixelSettings(self.height, self.color, ground, max_pixels, self.white, self.width, self.resize_size)


def input_of_images(
    image_shape: tuple[int, int, int],
    classes: list[str],
    mean: list[float],
    std: list[float],
    pixels: PixelSettings | None = None,
    several_labels: bool = False,
) -> ImageInput:
    """The input of a network that is trained on these images.

    Args:
        pixels: The `PixelSettings` by which the images were read from files; None where they came as arrays.
        several_labels: True where an image may have several labels.
    """
    described: dict[str, Any] = {"image_shape": image_shape, "classes": tuple(classes)}
    described |= {"several_labels": several_labels}
    described |= {"mean": tuple(mean), "std": tuple(std)}
    if pixels is None:
        return ImageInput(**described, color=COLORS.get(image_shape[0]), origin="arrays")
    background = "#" + bytes(pixels.ground).hex()
    white = None if pixels.white is None else float(pixels.white)
    return ImageInput(
        **described,
        color=pixels.color,
        background=background,
        white=white,
        resize_size=pixels.resize_size,
        origin="files",
    )


def input_of_metadata(info: Mapping[str, Any]) -> ImageInput:
    """The input of the network whose file has the metadata `info`, which anyone may have written.

    Raises:
        ValueError: an item that is missing, unknown or beyond its limits; the message names it.
    """
    shape = info.get("image_shape")
    channels = shape[0] if isinstance(shape, list) and shape and type(shape[0]) is int else None
    assumed = {"color": COLORS.get(channels or 0), "origin": "unknown"}
    record = info.get(RECORD, assumed)
    if not isinstance(record, dict):
        raise ValueError(f"{RECORD} must be a record, got {type(record).__name__}")
    described = {name: info.get(name) for name in ("image_shape", "classes", "mean", "std")}
    try:
        checked = ImageInput.model_validate({**record, **described})
    except ValidationError as error:
        raise ValueError(_first_problem(error)) from None
    if not len(checked.mean) == len(checked.std) == checked.image_shape[0]:
        raise ValueError(f"mean and std must have one number for each of {checked.image_shape[0]} channels")
    shorter, longer = checked.resize_size, max(checked.image_shape[1:])
    most = math.isqrt(MOST_VALUES // checked.image_shape[0])  # whoever reads a picture pays for its pixels
    if shorter is not None and not longer <= shorter <= most:
        raise ValueError(f"{RECORD}.resize_size: must be from {longer} to {most}, got {shorter}")
    if checked.color is not None and COLORS.get(checked.image_shape[0]) != checked.color:
        raise ValueError(f"{RECORD}.color: must fit {checked.image_shape[0]} channels, got {checked.color}")
    return checked


def _first_problem(error: ValidationError) -> str:
    """The first wrong item of a record, unknown ones first: its name, what must hold, and what was given."""
    problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"{RECORD} has {name[:40]!r}, which this version of kd-runner does not know"
    rule = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return f"{name}: {rule}, got {repr(problem['input'])[:80]}"
