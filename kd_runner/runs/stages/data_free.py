"""A student that sees no training image: it is taught on images that are made from its teacher."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from kd_runner.clock import run_seconds
from kd_runner.config.build import build, source_digest
from kd_runner.config.fingerprint import digest
from kd_runner.config.settings import Settings
from kd_runner.datasets.labels.unlabelled import UNLABELLED, TransferSet
from kd_runner.datasets.made_images import ImageMaker, Source
from kd_runner.datasets.splits import Split
from kd_runner.errors import SettingsError
from kd_runner.files.home import with_home
from kd_runner.input_pipeline.view import View
from kd_runner.networks import checkpoints
from kd_runner.networks.layers import layers_of
from kd_runner.randomness import seeded_generator
from kd_runner.runs.data import Data
from kd_runner.runs.parts import Parts
from kd_runner.runs.stages.cached_outputs import weights_digest
from kd_runner.runs.stages.teacher_student import noise
from kd_runner.store.entries import trained_once
from kd_runner.training.resume_state import ResumeState

log = logging.getLogger(__name__)
ROLE = "images"  # in the store, beside 'teacher' and 'student'


@dataclass(frozen=True)
class ToBeMade(TransferSet):
    """The images before they are made: their number and shape, and nothing that anybody may look at.

    Args:
        name: The digest of the settings by which they will be made.
    """

    is_blank: ClassVar[bool] = True
    name: str = ""

    @functools.cached_property
    def digest(self) -> str:
        """The digest of how they will be made, in place of theirs."""
        return digest([self.name, self.of])


def maker_of(settings: Settings) -> ImageMaker | None:
    """The maker of images that the settings ask for; None where the student sees training images.

    Raises:
        SettingsError: it cannot be built.
    """
    if settings.data_free is None:
        return None
    maker: ImageMaker = build(settings.data_free, "data_free", settings.trust)
    if not callable(maker) or not isinstance(getattr(maker, "images", None), int):
        raise SettingsError(f"data_free: must be a maker of images, got {type(maker).__name__}")
    return maker


def images_to_be_made(settings: Settings, image_shape: tuple[int, int, int]) -> ToBeMade | None:
    """The place of the images that will be made; None where none are."""
    maker = maker_of(settings)
    if maker is None:
        return None
    count = maker.images
    images = Split(torch.zeros(1, *image_shape, dtype=torch.uint8).expand(count, -1, -1, -1), no_labels(count))
    log.info(
        "student   is taught on %s images that are made from its teacher (data_free); validation and test images are "
        "real",
        f"{count:,}",
    )
    return ToBeMade(images, torch.arange(count), count, True, digest(settings.data_free))


def no_labels(count: int) -> Tensor:
    """int64 [count]"""
    return torch.full((count,), UNLABELLED)


def check_data_free(parts: Parts) -> None:
    """Raise SettingsError where the student would need training images all the same, or the teacher gives none."""
    settings, maker = parts.settings, maker_of(parts.settings)
    if maker is None:
        return
    if settings.finetune.epochs:
        raise SettingsError(
            "finetune.epochs: must be 0 with data_free, as it learns from training images, got "
            f"{settings.finetune.epochs}"
        )
    for key, value, off in (
        ("dataset.unlabelled", settings.dataset.unlabelled, None),
        ("student.unlabelled_fraction", settings.student.unlabelled_fraction, 0),
    ):
        if value:
            raise SettingsError(f"{key}: must be {'null' if off is None else off} with data_free, got {value}")
    if settings.trainer.process_count > 1:
        count = settings.trainer.process_count
        raise SettingsError(f"data_free: must be null where {count} devices share the run")
    try:
        maker.check(parts.teacher)
    except ValueError as error:
        raise SettingsError(f"data_free: {error}, got {type(maker).__name__}") from error


class MadeImages(nn.Module):
    """Images as a network's weights, so that the store keeps them as it keeps networks.

    Args:
        images: uint8 [N, C, H, W].
    """

    images: Tensor

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.register_buffer("images", images)


def with_made_images(parts: Parts) -> tuple[Parts, dict[str, Any]]:
    """The parts with the images that are made from the teacher, and a record of these for the result.

    They come from the store, or are made now and put there: whoever has the same teacher and settings has the same.
    """
    settings, maker = parts.settings, maker_of(parts.settings)
    assert maker is not None
    assert settings.data_free is not None
    started = run_seconds()

    def make(_: ResumeState) -> tuple[nn.Module, list[dict[str, float]]]:
        with seeded_generator(settings.seed, "data_free"):
            return MadeImages(maker(source_of_images(parts))), []

    info = parts.data.describe(settings.data_free) | {"images": maker.images}
    root = with_home(settings.store)
    stored = trained_once(root, ROLE, ingredients(parts), info, make)
    images = checkpoints.read_checkpoint(stored.path)[0]["images"]
    count = len(images)
    transfer = TransferSet(Split(images, no_labels(count)), torch.arange(count), count, is_made=True)
    record = {
        "method": settings.data_free["_target_"].rpartition(".")[2],
        "images": count,
        "reused": stored.reused,
        "seconds": round(run_seconds() - started, 3),
    }
    return replace(parts, data=with_transfer(parts.data, transfer)), record


def with_transfer(data: Data, transfer: TransferSet) -> Data:
    """The data with other images to teach on; the sources of the splits stay those that there are."""
    new_data = replace(data, transfer=transfer)
    new_data._sources.update({split: source for split, source in data._sources.items() if split != "transfer"})
    return new_data


def source_of_images(parts: Parts) -> Source:
    """The teacher as a maker sees it."""
    data, network = parts.data, parts.teacher.to(parts.data.device)
    shape = data.splits.image_shape
    return Source(
        network,
        functools.partial(normalise, data.view),
        shape,
        data.splits.num_classes,
        layers_of(network, noise(shape), data.splits.num_classes).head,
        data.device,
        lambda line: log.info("images    %s", line),
    )


def normalise(view: View, pixels: Tensor) -> Tensor:
    """Pixels [N, C, H, W] in [0, 1] as networks see them."""
    mean, std = (values.to(pixels.device).view(1, -1, 1, 1) for values in (view.mean, view.std))
    return ((pixels - mean) / std).contiguous(memory_format=view.memory_format)


def ingredients(parts: Parts) -> dict[str, Any]:
    """Everything that the images depend on, as plain data."""
    settings, data = parts.settings, parts.data
    assert settings.data_free is not None
    return {
        "role": ROLE,
        "network": settings.data_free,
        "source": source_digest(settings.data_free, "data_free", settings.trust),
        "teacher": digest([[node.node for node in settings.all_teachers.values()], parts.teacher_weights]),
        "weights": weights_digest(parts.teacher),
        "image_shape": list(data.splits.image_shape),
        "num_classes": data.splits.num_classes,
        "mean": data.view.mean.tolist(),
        "std": data.view.std.tolist(),
        "channels_last": settings.trainer.channels_last,
        "seed": settings.seed,
        "device": data.device.type,
    }
